package ui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"isukit/input"
)

// OpenInput opens an input that a user names: a regular file; "-" for in, the standard input; or a pipe of the user's shell, for example
// /dev/fd/63 of "<(zcat log.gz)". Reading the latter two ends with ctx: their writer may never write.
func OpenInput(ctx context.Context, name string, in io.Reader) (io.ReadCloser, error) {
	switch {
	case name == "-" || name == "/dev/stdin":
		return io.NopCloser(Interruptible(ctx, in)), nil
	case strings.HasPrefix(name, "/dev/fd/"), strings.HasPrefix(name, "/proc/self/fd/"):
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{Interruptible(ctx, f), f}, nil
	}
	f, err := input.Open(name)
	if not := (*input.NotRegularError)(nil); errors.As(err, &not) {
		return nil, UsageError(err, "name a file, or - to read standard input")
	}
	return f, err
}

// Interruptible is r, but a read that waits ends with ctx. What r gives later is lost with it.
func Interruptible(ctx context.Context, r io.Reader) io.Reader {
	out, in := io.Pipe()
	go func() {
		_, err := io.Copy(in, r)
		in.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { in.CloseWithError(context.Cause(ctx)) })
	return out
}

// MaxBodyFileBytes bounds what a command reads as one body or one schema file.
const MaxBodyFileBytes = 64 << 20

// ReadBounded reads what OpenInput opens, up to MaxBodyFileBytes.
func ReadBounded(ctx context.Context, name string, in io.Reader) ([]byte, error) {
	r, err := OpenInput(ctx, name, in)
	if err != nil {
		return nil, UsageError(err, HintOf(err, ""))
	}
	defer r.Close()
	data, err := input.ReadFrom(r, name, MaxBodyFileBytes)
	if long := (*input.TooLongError)(nil); errors.As(err, &long) {
		return nil, UsageError(err, "")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}
