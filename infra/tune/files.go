package tune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"isukit/infra/engine"
	"isukit/infra/host"
)

// format is how a file has keys.
type format interface {
	// value is a key's in the text of a file; "" is one that is not there.
	value(text, key string) (engine.Value, error)
	// edited is the text with another value of a key. All else in it stays byte for byte.
	edited(text, key string, v engine.Value) (string, error)
}

// fileSlot is a file of a host that has keys.
type fileSlot struct {
	host *seen
	path string
	on   Layer // "" is FileLayer
	format
	after []host.Op // makes a file that was written known
}

func (s fileSlot) layer() Layer {
	if s.on != "" {
		return s.on
	}
	return FileLayer
}

func (s fileSlot) file() string { return s.path }

func (s fileSlot) read(ctx context.Context, key string) (engine.Value, error) {
	text, err := getText(ctx, s.host, s.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return engine.Value{}, err
	}
	return s.value(text, key)
}

// writes implements writer. A file that is made has a line that says who made it, and goes when nothing else is in it.
func (s fileSlot) writes(ctx context.Context, list []assignment) ([]host.Op, func([]host.Answer) error, error) {
	const made = engine.IniWritten + "\n"
	text, err := getText(ctx, s.host, s.path)
	before := []byte(text)
	isNew := errors.Is(err, fs.ErrNotExist)
	if isNew {
		text, before = made, nil
	} else if err != nil {
		return nil, nil, err
	}
	for i := range list {
		next, err := s.edited(text, list[i].key, list[i].to)
		if list[i].err = err; err == nil {
			text = next
		}
	}
	var ops []host.Op
	switch {
	case text != made:
		ops = []host.Op{{Put: &host.File{Path: s.path, Data: []byte(text), Mode: 0o644, Keep: true}}, {Get: s.path}}
		s.host.plans(s.path, before, []byte(text))
	case !isNew:
		ops = []host.Op{removeOp(s.path), {Get: s.path}}
	default:
		ops = []host.Op{{Get: s.path}}
	}
	ops = append(ops, s.after...)
	return ops, func(answers []host.Answer) error {
		for n, a := range answers {
			if err := a.Failed(); err != nil && (ops[n].Get == "" || !errors.Is(err, fs.ErrNotExist)) {
				return fmt.Errorf("write %s: %w", s.path, err)
			}
			if ops[n].Get == "" {
				continue
			}
			s.host.wrote(s.path, before, a.Stdout)
			for i := range list {
				var err error
				if list[i].got, err = s.value(string(a.Stdout), list[i].key); list[i].err == nil {
					list[i].err = err
				}
			}
		}
		return nil
	}, nil
}

func removeOp(file string) host.Op {
	op := host.Script(removeScript, file)
	op.Must = true
	return op
}

func getText(ctx context.Context, h host.Host, path string) (string, error) {
	text, err := h.Get(ctx, path)
	return string(text), err
}

// iniFormat is lines of "key = value", in a [section] or without.
type iniFormat struct{ engine.Ini }

func (f iniFormat) value(text, key string) (engine.Value, error) { return f.Value(text, key), nil }

func (f iniFormat) edited(text, key string, v engine.Value) (string, error) {
	return f.Edit(text, key, v), nil
}

// tmpfilesFormat is that of tmpfiles.d(5), whose lines a boot writes to files of the kernel that sysctl.d does not know, those of
// /sys: "w /sys/FILE - - - - VALUE".
type tmpfilesFormat struct{}

// of is what a line writes to a key's file.
func (tmpfilesFormat) of(line, key string) (value string, ok bool) {
	f := strings.Fields(line)
	if len(f) < 7 || strings.TrimRight(f[0], "!+-") != "w" || f[1] != key {
		return "", false
	}
	return strings.Join(f[6:], " "), true
}

func (t tmpfilesFormat) value(text, key string) (engine.Value, error) {
	v := engine.Value{Absent: true}
	for line := range strings.Lines(text) {
		if value, ok := t.of(line, key); ok {
			v = engine.Value{Text: value}
		}
	}
	return v, nil
}

func (t tmpfilesFormat) edited(text, key string, v engine.Value) (string, error) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if _, ok := t.of(line, key); !ok {
			b.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		}
	}
	if !v.Absent {
		fmt.Fprintf(&b, "w %s - - - - %s\n", key, v.Text)
	}
	return b.String(), nil
}
