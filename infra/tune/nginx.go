package tune

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"isukit/infra/host"
	"isukit/infra/nginxconf"
)

// NginxConfig tells about an nginx.
type NginxConfig struct {
	// Conf is the file that has the blocks which the tunings name; Argv is nginx with the options that it was started with
	// ("nginx -p DIR -c FILE"), for asking its version and testing its configuration.
	Conf string
	Argv []string
	// PID is the master process; 0 where none runs.
	PID func(context.Context) (int, error)
}

// NewNginx is the target for tunings of kind nginx.
func NewNginx(p Place, c NginxConfig) *Target {
	return p.target(Nginx, func(h *seen) server {
		if c.PID != nil {
			c.PID = once(h, "pid", c.PID)
		}
		return nginx{host: h, c: c}
	})
}

type nginx struct {
	plain
	host host.Host
	c    NginxConfig
}

func (n nginx) product(ctx context.Context) (Product, error) {
	res, err := n.host.Run(ctx, host.Command{Argv: []string{n.c.Argv[0], "-v"}})
	if err != nil {
		return Product{}, err
	}
	_, text, _ := strings.Cut(string(res.Stderr)+string(res.Stdout), "nginx/")
	v, err := ParseVersion(text)
	if err != nil {
		return Product{}, fmt.Errorf("nginx's version: %w", err)
	}
	return Product{"nginx", v}, nil
}

// refuse answers where the blocks are missing that a setting belongs into.
func (n nginx) refuse(ctx context.Context, s Setting) (string, error) {
	keys, err := n.expand(ctx, s)
	if err == nil && len(keys) == 0 {
		return fmt.Sprintf("%s has no block for it", n.c.Conf), nil
	}
	return "", err
}

// separator is between the blocks of a key.
const separator = " > "

// expand finds the blocks that a key means: "upstream *" is each of them, numbered where they have no name.
func (n nginx) expand(ctx context.Context, s Setting) ([]string, error) {
	_, list, err := n.load(ctx)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(s.Key, separator)
	paths := []string{""}
	blocks := [][]nginxconf.Directive{list}
	for _, part := range parts[:len(parts)-1] {
		var nextPaths []string
		var nextBlocks [][]nginxconf.Directive
		for i, inside := range blocks {
			for j, name := range names(inside) {
				if inside[j].Block && matches(name, part) {
					nextPaths = append(nextPaths, paths[i]+name+separator)
					nextBlocks = append(nextBlocks, inside[j].Children)
				}
			}
		}
		paths, blocks = nextPaths, nextBlocks
	}
	for i := range paths {
		paths[i] += parts[len(parts)-1]
	}
	return paths, nil
}

// names are what directives are called among their neighbours; a number tells those apart that are called the same.
func names(list []nginxconf.Directive) []string {
	all, count := make([]string, len(list)), map[string]int{}
	for i, d := range list {
		all[i] = ident(d)
		if count[all[i]]++; count[all[i]] > 1 {
			all[i] += "#" + strconv.Itoa(count[all[i]])
		}
	}
	return all
}

func matches(name, pattern string) bool {
	prefix, any := strings.CutSuffix(pattern, " *")
	return name == pattern || any && (name == prefix || strings.HasPrefix(name, prefix+" ") || strings.HasPrefix(name, prefix+"#"))
}

func (n nginx) load(ctx context.Context) (string, []nginxconf.Directive, error) {
	text, err := getText(ctx, n.host, n.c.Conf)
	if err != nil {
		return "", nil, err
	}
	list, err := nginxconf.Parse(text)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", n.c.Conf, err)
	}
	return text, list, nil
}

func (n nginx) slots(context.Context, Setting) ([]slot, error) { return []slot{nginxSlot{n}}, nil }

func (n nginx) slot(*Record) slot { return nginxSlot{n} }

// reloadLimit is how long nginx may take to start workers with its new configuration.
const reloadLimit = 20 * time.Second

// settle tests the configuration, and lets nginx read it: its workers are others then.
func (n nginx) settle(ctx context.Context, _ Restart) (string, error) {
	if _, err := output(ctx, n.host, append(append([]string{}, n.c.Argv...), "-t", "-q")...); err != nil {
		return "", err
	}
	before, err := n.process(ctx)
	if err != nil || before == "" {
		return "", err
	}
	pid, err := n.c.PID(ctx)
	if err != nil {
		return "", err
	}
	// The shell's own kill: a small container has no program of that name.
	if _, err := output(ctx, n.host, "sh", "-c", `kill -HUP "$1"`, "kill", strconv.Itoa(pid)); err != nil {
		return "", fmt.Errorf("reload: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, reloadLimit, errors.New("nginx did not take its new configuration; its error log says why"))
	defer cancel()
	for {
		after, err := n.process(ctx)
		if err == nil && after != "" && !shareWord(before, after) { // until then the old workers answer, too
			return "reloaded", nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("reload: %w", context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// shareWord tells whether two lists of workers have one in common.
func shareWord(a, b string) bool {
	words := strings.Fields(b)
	return slices.ContainsFunc(strings.Fields(a), func(w string) bool { return slices.Contains(words, w) })
}

// process is the list of workers, with their starts, all of which are others after a reload.
func (n nginx) process(ctx context.Context) (string, error) {
	if n.c.PID == nil {
		return "", nil
	}
	pid, err := n.c.PID(ctx)
	if err != nil || pid == 0 {
		return "", err
	}
	// A worker that is on its way out calls itself "worker process is shutting down".
	out, err := output(ctx, n.host, "sh", "-c", `for p in $(cat /proc/"$1"/task/"$1"/children); do `+
		`tr '\0' ' ' </proc/"$p"/cmdline | grep -q 'worker process *$' && echo "$p:$(cut -d ' ' -f 22 /proc/"$p"/stat)"; done; true`, "sh", strconv.Itoa(pid))
	return strings.Join(strings.Fields(out), " "), err
}

// nginxSlot is the configuration's file. What a key does not concern stays byte for byte.
type nginxSlot struct{ n nginx }

func (nginxSlot) layer() Layer { return FileLayer }

func (s nginxSlot) file() string { return s.n.c.Conf }

// locate finds the block that a key belongs into, and the directive in it where it is there.
func locate(text string, list []nginxconf.Directive, key string) (parent, found *nginxconf.Directive, err error) {
	parts := strings.Split(key, separator)
	for i, part := range parts {
		all := names(list)
		found = nil
		for j := range list {
			if all[j] == part {
				found = &list[j]
			}
		}
		if i == len(parts)-1 {
			return parent, found, nil
		}
		if found == nil || !found.Block {
			return nil, nil, fmt.Errorf("the block %q: %w", part, errGone)
		}
		parent, list = found, found.Children
	}
	return nil, nil, fmt.Errorf("empty key in %d bytes", len(text))
}

// value is the text of a directive behind its name, or that of a whole block.
func valueOf(d nginxconf.Directive, text string) string {
	if d.Block {
		return text[d.Start:d.End]
	}
	return strings.TrimSpace(text[d.Start+len(d.Name) : d.End-1])
}

func (s nginxSlot) read(ctx context.Context, key string) (Value, error) {
	text, list, err := s.n.load(ctx)
	if err != nil {
		return Value{}, err
	}
	_, d, err := locate(text, list, key)
	if err != nil || d == nil {
		return Value{Absent: true}, err
	}
	return Value{Text: valueOf(*d, text)}, nil
}

func (s nginxSlot) write(ctx context.Context, key string, v Value) error {
	list := []assignment{{key: key, to: v}}
	return errors.Join(s.writeAll(ctx, list), list[0].err)
}

// writeAll implements many.
func (s nginxSlot) writeAll(ctx context.Context, list []assignment) error {
	text, _, err := s.n.load(ctx)
	if err != nil {
		return err
	}
	for i := range list {
		edited, err := editedNginx(text, list[i].key, list[i].to)
		if list[i].err = err; err == nil {
			text = edited
		}
	}
	if err := putText(ctx, s.n.host, s.n.c.Conf, text); err != nil {
		return err
	}
	text, parsed, err := s.n.load(ctx)
	if err != nil {
		return err
	}
	for i := range list {
		list[i].got = Value{Absent: true}
		if _, d, err := locate(text, parsed, list[i].key); err == nil && d != nil {
			list[i].got = Value{Text: valueOf(*d, text)}
		}
	}
	return nil
}

func editedNginx(text, key string, v Value) (string, error) {
	list, err := nginxconf.Parse(text)
	if err != nil {
		return "", err
	}
	parent, d, err := locate(text, list, key)
	if err != nil {
		return "", err
	}
	return editNginx(text, parent, d, key, v), nil
}

// tuneMark ends the first line of what isukit put into a configuration.
const tuneMark = " # isukit tune"

// editNginx replaces a directive, puts it at the beginning of its block, or takes it out.
func editNginx(text string, parent, d *nginxconf.Directive, key string, v Value) string {
	statement := v.Text
	if !strings.HasSuffix(v.Text, "}") {
		parts := strings.Split(key, separator)
		name, _, _ := strings.Cut(parts[len(parts)-1], " ")
		statement = name + " " + v.Text + ";"
	}
	switch {
	case d != nil && !v.Absent:
		return text[:d.Start] + statement + text[d.End:]
	case d != nil && strings.HasPrefix(text[d.End:], tuneMark+"\n"):
		start := strings.LastIndexByte(text[:d.Start], '\n') + 1
		return text[:start] + text[d.End+len(tuneMark)+1:]
	case d != nil: // in a block on one line
		return text[:d.Start-1] + text[d.End:]
	case v.Absent:
		return text
	case parent == nil:
		return statement + tuneMark + "\n" + text
	}
	if strings.HasPrefix(text[parent.Body:], "\n") {
		return text[:parent.Body] + "\n\t" + statement + tuneMark + text[parent.Body:] // the line's end is there already
	}
	return text[:parent.Body] + " " + statement + text[parent.Body:]
}
