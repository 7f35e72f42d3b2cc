package ssh

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"isukit/infra/host"
)

// batchScript begins a script that does several things, with functions for it. What they say is in files until all are done: programs
// that print it after each would cost the host more than most things. finish prints the exit statuses, how many bytes of outputs and
// errors follow for each, and these.
const batchScript = enterScript + `export PATH
cd "$work" || exit 1
codes= said=
finish() {
	echo "$codes"
	[ -n "$said" ] || exit 0
	stat -c %%s $said
	head -qc %[2]d $said
	exit 0
}
answer() {
	codes="$codes $2" said="$said out$1 err$1"
	[ "$2" = 0 ] || [ -z "$3" ] || finish
}
get() {
	[ -e "$1" ] || exit 91
	head -c %[3]d -- "$1"
}
put() {
	file=$1 mode=$3
	if [ -n "$4" ]; then umask 022; else umask 077; fi
	[ -d "${file%%/*}/" ] || mkdir -p -- "${file%%/*}" || exit 1
	if [ -n "$4" ]; then
		[ ! -L "$file" ] || file=$(readlink -f -- "$file") || exit 1
		[ ! -e "$file" ] || mode=--reference=$file
	fi
	new=$file` + newFile + `
	trap '[ ! -e "$new" ] || rm -f -- "$new"' EXIT
	trap 'exit 1' HUP INT PIPE TERM
	umask 077
	head -c "$2" >"$new" || exit 1
	[ "$(stat -c %%s -- "$new")" -eq "$2" ] || exit 93
	chmod "$mode" -- "$new" && sync "$new" && mv -f -- "$new" "$file"
}
`

const (
	newFile    = ".isukit-new" // what a file is called until it is whole
	systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// batch is the script for ops, and its input.
func (n *node) batch(id string, ops []host.Op) (script string, input []byte) {
	var b strings.Builder
	fmt.Fprintf(&b, batchScript, id, maxText(ops), maxText(ops)+1)
	var dirs []string // of what was written, to be on disk before what follows
	for k, op := range ops {
		must := ""
		if op.Must || op.Put != nil {
			must = " must"
		}
		switch {
		case op.Put != nil:
			keep := ""
			if op.Put.Keep {
				keep = " keep"
			}
			fmt.Fprintf(&b, "( put %s %d %o%s ) >out%d 2>err%d\n", quote(op.Put.Path), len(op.Put.Data), op.Put.Mode.Perm(), keep, k, k)
			input = append(input, op.Put.Data...)
			dirs = append(dirs, path.Dir(op.Put.Path))
			if k+1 == len(ops) || ops[k+1].Put == nil || ops[k+1].Put.Keep != op.Put.Keep {
				fmt.Fprintf(&b, "[ $? = 0 ] && sync %s 2>>err%d\n", quoteAll(dirs), k)
				dirs = nil
			}
		case op.Run != nil:
			input = append(input, op.Run.Stdin...)
			argv := op.Run.Argv
			fmt.Fprintf(&b, "( %s\n{ %s; } || exit 126\n%s\ncommand -v %s >/dev/null || exit 90\n%s ) >out%d 2>err%d\n",
				wholeInput(op.Run.Stdin), changeTo(op.Run.Dir), exports(op.Run.Env), quote(argv[0]), quoteAll(argv), k, k)
		default:
			fmt.Fprintf(&b, "( get %s ) >out%d 2>err%d\n", quote(op.Get), k, k)
		}
		fmt.Fprintf(&b, "answer %d $?%s\n", k, must)
	}
	b.WriteString("finish\n")
	return b.String(), input
}

// maxText is how many bytes a file may have, of which get prints one more, and an output keeps.
func maxText(ops []host.Op) int {
	if len(ops) == 1 && ops[0].Get != "" {
		return host.MaxFileBytes
	}
	return host.MaxOutputBytes
}

// readAnswers reads what a batch prints; what was not done is not there.
func (n *node) readAnswers(r *bufio.Reader, ops []host.Op) ([]host.Answer, error) {
	var err error
	line := func() (text string) {
		if err == nil {
			text, err = r.ReadString('\n')
		}
		return strings.TrimSuffix(text, "\n")
	}
	number := func(text string) (n int) {
		if err == nil {
			n, err = strconv.Atoi(text)
		}
		return n
	}
	codes := strings.Fields(line())
	codes = codes[:min(len(codes), len(ops))]
	var sizes []int
	for range 2 * len(codes) {
		sizes = append(sizes, number(line()))
	}
	answers := make([]host.Answer, len(ops))
	for k, code := range codes {
		a, op := &answers[k], ops[k]
		out := min(sizes[2*k], maxText(ops))
		if a.Code = number(code); out < sizes[2*k] && op.Get != "" {
			a.Code = tooLarge
		}
		text := make([]byte, out+min(sizes[2*k+1], maxText(ops)))
		if err == nil {
			_, err = io.ReadFull(r, text)
		}
		if err != nil {
			break
		}
		a.Stdout, a.Stderr = text[:out:out], text[out:]
		n.judge(op, a)
		if k+1 == len(codes) && a.Code != 0 && (op.Must || op.Put != nil) {
			for rest := k + 1; rest < len(ops); rest++ {
				answers[rest].Err = host.ErrNotDone
			}
			return answers, nil
		}
	}
	if err == nil && len(codes) < len(ops) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("run a batch on %s: the output ends with result %d of %d: %w", n.about.Name, len(codes), len(ops), err)
	}
	return answers, nil
}

const maxBatchBytes = host.MaxFileBytes + 4096

// judge turns exit statuses of a batch's own into errors.
func (n *node) judge(op host.Op, a *host.Answer) {
	name := n.about.Name
	switch {
	case a.Code == 0:
	case op.Put != nil:
		a.Err = fmt.Errorf("put %s on %s: %w", op.Put.Path, name, n.client.failure(a.Result))
	case op.Run != nil && a.Code == noProgram:
		a.Err = fmt.Errorf("run %s on %s: program not found", path.Base(op.Run.Argv[0]), name)
	case op.Run != nil:
	case a.Code == noFile:
		a.Err = fmt.Errorf("get %s on %s: %w", op.Get, name, fs.ErrNotExist)
	case a.Code == tooLarge:
		a.Err = fmt.Errorf("get %s on %s: %w", op.Get, name, host.ErrTooLarge)
	default:
		a.Err = fmt.Errorf("get %s on %s: %w", op.Get, name, n.client.failure(a.Result))
	}
}

// Do implements host.Batcher.
func (n *node) Do(ctx context.Context, ops []host.Op) ([]host.Answer, error) {
	writes := slices.ContainsFunc(ops, func(op host.Op) bool { return op.Put != nil })
	if writes {
		n.memo.act()
	}
	answers := make([]host.Answer, len(ops))
	var asked []host.Op
	var at []int // in ops
	for k, op := range ops {
		a, known := n.memo.known(op)
		if answers[k] = a; !known {
			asked, at = append(asked, op), append(at, k)
		}
	}
	found, err := n.do(ctx, asked)
	for i, a := range found {
		answers[at[i]] = a
	}
	return answers, err
}

// do runs a batch and remembers what it answers.
func (n *node) do(ctx context.Context, ops []host.Op) ([]host.Answer, error) {
	if len(ops) == 0 {
		return nil, nil
	}
	id := n.client.newID()
	script, input := n.batch(id, ops)
	res, err := n.client.script(ctx, script, input, maxBatchBytes)
	if err == nil && res.Code != 0 {
		err = n.client.failure(res)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, n.kill(id))
		}
		return nil, fmt.Errorf("query %s: %w", n.about.Name, err)
	}
	answers, err := n.readAnswers(bufio.NewReader(bytes.NewReader(res.Stdout)), ops)
	if err == nil {
		n.memo.learn(ops, answers)
	}
	return answers, err
}

// matchScript prints the files that patterns match: for each how many bytes it has, its name, and itself.
const matchScript = `for file in $*; do [ ! -f "$file" ] || { stat -Lc '%s %n' -- "$file" && cat -- "$file"; } || exit 1; done`

// foreseen are the ops of Foresee: its own, the services, and files.
func foreseen(ops []host.Op, patterns []string) []host.Op {
	return append(append([]host.Op{}, ops...), servicesOp, host.Script(matchScript, patterns...))
}

// Foresee implements host.Batcher.
func (n *node) Foresee(ctx context.Context, ops []host.Op, patterns ...string) error {
	n.memo.look()
	all := foreseen(ops, patterns)
	answers, err := n.Do(ctx, all)
	if err == nil {
		n.memo.matched(patterns, answers[len(all)-1])
	}
	return err
}

// Act implements host.Batcher.
func (n *node) Act() { n.memo.act() }

// memo is what a host has said while it is only looked at.
type memo struct {
	mu       sync.Mutex
	looking  bool
	answers  map[string]host.Answer
	patterns []string // of files that are all known
}

func opKey(op host.Op) string {
	if op.Run == nil {
		return op.Get
	}
	return strings.Join(op.Run.Argv, "\x00") + "\x01" + strings.Join(op.Run.Env, "\x00") + "\x01" + op.Run.Dir + "\x01" + string(op.Run.Stdin)
}

func (m *memo) look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.looking {
		m.looking, m.answers = true, map[string]host.Answer{}
	}
}

func (m *memo) act() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looking, m.answers, m.patterns = false, nil, nil
}

func (m *memo) known(op host.Op) (host.Answer, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.answers[opKey(op)]
	for _, pattern := range m.patterns {
		if match, err := path.Match(pattern, op.Get); !ok && op.Get != "" && err == nil && match {
			return host.Answer{Err: fmt.Errorf("get %s: %w", op.Get, fs.ErrNotExist)}, true
		}
	}
	return a, ok
}

func (m *memo) learn(ops []host.Op, answers []host.Answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, op := range ops {
		if a := answers[k]; m.looking && op.Put == nil && (a.Err == nil || errors.Is(a.Err, fs.ErrNotExist)) {
			m.answers[opKey(op)] = a
		}
	}
}

// matched notes what matchScript has printed. Of files that are too much for one answer nothing is known.
func (m *memo) matched(patterns []string, a host.Answer) {
	rest := a.Stdout
	var ops []host.Op
	var answers []host.Answer
	for len(rest) > 0 {
		head, text, _ := bytes.Cut(rest, []byte("\n"))
		size, name, _ := strings.Cut(string(head), " ")
		n, err := strconv.Atoi(size)
		if err != nil || n > len(text) {
			return // it was written to meanwhile
		}
		ops = append(ops, host.Op{Get: name})
		answers = append(answers, host.Answer{Result: host.Result{Stdout: text[:n:n]}})
		rest = text[n:]
	}
	if a.Failed() != nil {
		return
	}
	m.learn(ops, answers)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.looking {
		m.patterns = append(m.patterns, patterns...)
	}
}

// firstLook is what is foreseen of a host at the price of its lock.
type firstLook struct {
	node     *node
	ops      []host.Op
	patterns []string
}

// Foresees implements host.Foreseer.
func (d *Driver) Foresees(first func(host.About) (ops []host.Op, patterns []string)) { d.first = first }

func (d *Driver) firstLook(r record) *firstLook {
	f := &firstLook{node: d.node(r)}
	if d.first != nil {
		f.ops, f.patterns = d.first(r.About)
		f.ops = foreseen(f.ops, f.patterns)
	}
	return f
}

func (f *firstLook) script() string {
	if len(f.ops) == 0 {
		return ":"
	}
	script, _ := f.node.batch(f.node.client.newID(), f.ops)
	return script
}

// read reads what the script prints.
func (f *firstLook) read(r *bufio.Reader) error {
	if len(f.ops) == 0 {
		return nil
	}
	answers, err := f.node.readAnswers(r, f.ops)
	if err == nil {
		f.node.memo.look()
		f.node.memo.learn(f.ops, answers)
		f.node.memo.matched(f.patterns, answers[len(answers)-1])
	}
	return err
}
