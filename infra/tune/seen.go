package tune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"isukit/infra/engine/mysql"
	"isukit/infra/host"
)

// seen is a host that answers each question once while a target is inspected: each question is a round trip to a host that may be far away.
// Between looks, and after a write, answers are forgotten.
type seen struct {
	host.Host

	mu      sync.Mutex
	looking bool
	keys    []string          // that the look is at
	files   map[string][]byte // nil is one that is not there
	runs    map[string]host.Result
	others  map[string]any

	note             func(map[string]Written) []host.Op
	planned, written map[string]Written
}

// plans remembers what a file is going to be, for foretold.
func (s *seen) plans(file string, before, after []byte) {
	if s.planned == nil {
		s.planned = map[string]Written{}
	}
	s.planned[file] = Written{before, after}
}

// foretold returns what keeps on record which files are going to be written: isukit may be killed before it records that they were.
func (s *seen) foretold() []host.Op {
	s.written, s.planned = s.planned, nil
	return s.noted()
}

// wrote remembers that a file was written, for noted.
func (s *seen) wrote(file string, before, after []byte) {
	if w, ok := s.written[file]; ok {
		before = w.Before
	}
	if s.written == nil {
		s.written = map[string]Written{}
	}
	s.written[file] = Written{before, after}
}

// noted returns what keeps on record which files were written.
func (s *seen) noted() []host.Op {
	written := s.written
	if s.written = nil; s.note == nil || len(written) == 0 {
		return nil
	}
	return s.note(written)
}

// look begins a look at keys, in which nothing is written.
func (s *seen) look(keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looking, s.keys, s.files, s.runs, s.others = true, keys, map[string][]byte{}, map[string]host.Result{}, map[string]any{}
}

// act ends a look.
func (s *seen) act() {
	host.Act(s.Host)
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

// once makes a question of its own be asked once a look.
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

// do runs several ops on the host in one round trip; answers are forgotten from then on.
func (s *seen) do(ctx context.Context, ops []host.Op) ([]host.Answer, error) {
	s.act()
	return host.Do(ctx, s.Host, ops...)
}

// learned remembers what a host has answered.
func (s *seen) learned(op host.Op, a host.Answer) {
	switch {
	case op.Run != nil && a.Err == nil:
		s.ran(commandKey(op.Run.Argv), a.Result)
	case op.Run == nil && a.Err == nil:
		s.learn(op.Get, append([]byte{}, a.Stdout...))
	case op.Run == nil && errors.Is(a.Err, fs.ErrNotExist):
		s.learn(op.Get, nil)
	}
}

// asker is a server that lists what reading keys will need, so that all of it is read in one go.
type asker interface {
	foresee(ctx context.Context, keys []string) []host.Op
}

// lookAt begins a look at targets of one host, and asks what reading their keys will take. It ends with act of each.
func lookAt(ctx context.Context, targets []*Target, keys func(*Target) []string) error {
	var ops []host.Op
	var of []*Target
	for _, t := range targets {
		t.host.look(keys(t))
		if a, ok := t.server.(asker); ok && len(t.host.keys) > 0 {
			for _, op := range a.foresee(ctx, t.host.keys) {
				ops, of = append(ops, op), append(of, t)
			}
		}
	}
	if len(ops) == 0 {
		return nil
	}
	answers, err := host.Do(ctx, targets[0].host.Host, ops...)
	for n, a := range answers {
		of[n].host.learned(ops[n], a)
	}
	return err
}
