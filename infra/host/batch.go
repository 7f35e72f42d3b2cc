package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// File is what Put writes.
type File struct {
	Path string
	Data []byte
	Mode fs.FileMode
	// Keep is for a file that others may own: links are followed, its mode stays, and new directories are readable for all.
	Keep bool
}

// Op is one thing of several that a host does; one of Run, Put and Get is set.
type Op struct {
	Run *Command
	Put *File  // what follows one that fails is not done
	Get string // a file of at most MaxOutputBytes; it is the answer's Stdout
	// Must keeps what follows from being done where the command fails.
	Must bool
}

// Script is a command of the shell's with arguments, as an Op.
func Script(script string, args ...string) Op {
	return Op{Run: &Command{Argv: append([]string{"sh", "-c", script, "sh"}, args...)}}
}

// Answer is the result of an Op.
type Answer struct {
	Result
	Err error // ErrNotDone, or as Run, Put and Get return it
}

// Failed is why an Op failed, an exit status other than 0 included; nil where it did not.
func (a Answer) Failed() error {
	if a.Err == nil && a.Code != 0 {
		return fmt.Errorf("exit status %d: %s", a.Code, Tail(a.Stderr, 1))
	}
	return a.Err
}

// ErrNotDone says that something before it failed.
var ErrNotDone = errors.New("not done")

// Batcher is a host that is far away: several things take as long as one.
type Batcher interface {
	// Do does things in their order.
	Do(ctx context.Context, ops []Op) ([]Answer, error)
	// Foresee reads what will be asked, and the files that patterns match (no blanks). The answers stay until a write, or Act.
	Foresee(ctx context.Context, ops []Op, patterns ...string) error
	// Act forgets what was foreseen.
	Act()
}

// Foreseer is a Driver that asks hosts, when it locks them, what is going to be asked first; see Batcher.
type Foreseer interface {
	Foresees(first func(About) (ops []Op, patterns []string))
}

// Foresee is Batcher's, where a host is one.
func Foresee(ctx context.Context, h Host, ops []Op, patterns ...string) error {
	if b, ok := h.(Batcher); ok {
		return b.Foresee(ctx, ops, patterns...)
	}
	return nil
}

// Act is Batcher's, where a host is one.
func Act(h Host) {
	if b, ok := h.(Batcher); ok {
		b.Act()
	}
}

// Do does several things on a host in their order, at the price of one where it is a Batcher. The error is about all of them.
func Do(ctx context.Context, h Host, ops ...Op) ([]Answer, error) {
	if b, ok := h.(Batcher); ok && len(ops) > 0 {
		return b.Do(ctx, ops)
	}
	answers := make([]Answer, len(ops))
	for n, op := range ops {
		a := &answers[n]
		switch {
		case op.Put != nil:
			a.Err = putOne(ctx, h, *op.Put)
		case op.Run != nil:
			a.Result, a.Err = h.Run(ctx, *op.Run)
		default:
			a.Stdout, a.Err = h.Get(ctx, op.Get)
		}
		if a.Failed() == nil || !op.Must && op.Put == nil {
			continue
		}
		for k := n + 1; k < len(ops); k++ {
			answers[k].Err = ErrNotDone
		}
		break
	}
	return answers, nil
}

func putOne(ctx context.Context, h Host, f File) error {
	if f.Keep {
		out, err := Output(ctx, h, "sh", "-c", `mkdir -p -- "$(dirname -- "$1")" && f=$(readlink -f -- "$1") && printf '%s\n' "$f" && { [ ! -e "$f" ] || stat -c %a -- "$f"; }`, "sh", f.Path)
		if err != nil {
			return fmt.Errorf("put %s: %w", f.Path, err)
		}
		real, mode, _ := strings.Cut(strings.TrimSuffix(out, "\n"), "\n")
		if m, err := strconv.ParseUint(mode, 8, 12); err == nil {
			f.Mode = fs.FileMode(m & 0o777)
		}
		f.Path = real
	}
	return h.Put(ctx, f.Path, f.Data, f.Mode)
}

// PutAll writes files to a host in their order, together if it can do that; if one fails, those before it are written.
func PutAll(ctx context.Context, h Host, files []File) error {
	var ops []Op
	for _, f := range files {
		ops = append(ops, Op{Put: &f})
	}
	answers, err := Do(ctx, h, ops...)
	for _, a := range answers {
		if err == nil {
			err = a.Err
		}
	}
	return err
}
