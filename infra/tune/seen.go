package tune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"

	"isukit/infra/engine/mysql"
	"isukit/infra/host"
)

// seen is a host that is asked each thing once while a target is looked at: a host may be far away, and each question is a round
// trip. Between looks, and after a write, everything is asked anew.
type seen struct {
	host.Host

	mu      sync.Mutex
	looking bool
	files   map[string][]byte // nil is one that is not there
	runs    map[string]host.Result
	others  map[string]any
}

// look begins a look, in which nothing is written.
func (s *seen) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looking, s.files, s.runs, s.others = true, map[string][]byte{}, map[string]host.Result{}, map[string]any{}
}

// act ends a look.
func (s *seen) act() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looking, s.files, s.runs, s.others = false, nil, nil, nil
}

// Get implements host.Host.
func (s *seen) Get(ctx context.Context, path string) ([]byte, error) {
	s.mu.Lock()
	text, known := s.files[path]
	s.mu.Unlock()
	if known && text == nil {
		return nil, fmt.Errorf("get %s: %w", path, fs.ErrNotExist)
	}
	if known {
		return text, nil
	}
	text, err := s.Host.Get(ctx, path)
	switch {
	case err == nil:
		s.learn(path, append([]byte{}, text...))
	case errors.Is(err, fs.ErrNotExist):
		s.learn(path, nil)
	}
	return text, err
}

func (s *seen) learn(path string, text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.looking {
		s.files[path] = text
	}
}

// Run implements host.Host.
func (s *seen) Run(ctx context.Context, cmd host.Command) (host.Result, error) {
	key := commandKey(cmd.Argv)
	plain := len(cmd.Env)+len(cmd.Stdin) == 0 && cmd.Dir == ""
	s.mu.Lock()
	res, known := s.runs[key]
	s.mu.Unlock()
	if known && plain {
		return res, nil
	}
	res, err := s.Host.Run(ctx, cmd)
	if err == nil && plain {
		s.ran(key, res)
	}
	return res, err
}

func (s *seen) ran(key string, res host.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.looking {
		s.runs[key] = res
	}
}

// once makes something that asks a host by itself be asked once a look.
func once[T any](s *seen, what string, ask func(context.Context) (T, error)) func(context.Context) (T, error) {
	return func(ctx context.Context) (T, error) {
		s.mu.Lock()
		v, known := s.others[what].(T)
		s.mu.Unlock()
		if known {
			return v, nil
		}
		v, err := ask(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err == nil && s.looking {
			s.others[what] = v
		}
		return v, err
	}
}

// seenSQL is a Querier that is asked each thing once a look.
type seenSQL struct {
	mysql.Querier
	host *seen
}

// Query implements Querier.
func (q *seenSQL) Query(ctx context.Context, statement string) ([][]string, error) {
	return once(q.host, statement, func(ctx context.Context) ([][]string, error) { return q.Querier.Query(ctx, statement) })(ctx)
}

func commandKey(argv []string) string { return strings.Join(argv, "\x00") }

// PutAll implements host.Batcher.
func (s *seen) PutAll(ctx context.Context, files []host.File) error {
	return host.PutAll(ctx, s.Host, files)
}

// askScript runs commands, each of so many words as the word before them says, and prints for each how many bytes
// follow, what it printed, and its exit status. Bytes are counted, not characters, whatever the locale.
const askScript = `LC_ALL=C; export LC_ALL
while [ $# -gt 0 ]; do
	n=$1; shift
	words=; i=0
	while [ $i -lt $n ]; do i=$((i+1)); words="$words \"\${$i}\""; done
	out=$(eval "$words" 2>/dev/null; printf '\n%s' "$?")
	printf '%s\n%s' "${#out}" "$out"
	shift "$n"
done`

// ask runs commands of a few bytes of output at the price of one, for Run to know when it is asked.
func (s *seen) ask(ctx context.Context, commands [][]string) error {
	if len(commands) == 0 {
		return nil
	}
	argv := []string{"sh", "-c", askScript, "sh"}
	for _, c := range commands {
		argv = append(append(argv, strconv.Itoa(len(c))), c...)
	}
	out, err := host.Output(ctx, s.Host, argv...)
	if err != nil {
		return err
	}
	for _, c := range commands {
		head, rest, ok := strings.Cut(out, "\n")
		n, err := strconv.Atoi(head)
		if !ok || err != nil || n > len(rest) {
			return nil // too much output for one answer: what is not known is asked by itself
		}
		end := max(0, strings.LastIndexByte(rest[:n], '\n'))
		code, err := strconv.Atoi(strings.TrimPrefix(rest[end:n], "\n"))
		if err != nil {
			return fmt.Errorf("run several scripts together: %q is not an exit status", rest[end:n])
		}
		if code == 0 || c[0] == "test" { // what failed is asked again, and says why
			s.ran(commandKey(c), host.Result{Code: code, Stdout: []byte(rest[:end])})
		}
		out = rest[n:]
	}
	return nil
}
