package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"syscall"

	"isukit/cmd/internal/ui"
	"isukit/infra/host"
)

// readerGone reports whether err says that nobody reads the standard output any more, as head has enough after ten lines.
func readerGone(err error) bool {
	var file *fs.PathError
	return errors.Is(err, syscall.EPIPE) && errors.As(err, &file) && file.Path == os.Stdout.Name()
}

// joined are the errors that errors.Join has put together, each whole.
func joined(err error) []error {
	if reflect.TypeOf(err) != reflect.TypeOf(errors.Join(io.EOF)) {
		return []error{err}
	}
	var all []error
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		all = append(all, joined(e)...)
	}
	return all
}

// exitCode prints err for the user and maps it to the exit code, with other errors after an interruption or a failed round.
func exitCode(w io.Writer, err error) int {
	if err == nil || readerGone(err) {
		return ui.ExitOK
	}
	e := ending{left: "all started processes were stopped and removed"}
	for _, one := range joined(err) {
		e.add(one)
	}
	switch {
	case e.interrupted && len(e.rest) == 0:
		fmt.Fprintln(w, "isukit: interrupted; "+e.left)
	case e.interrupted:
		fmt.Fprintln(w, "isukit: interrupted")
	}
	if len(e.rest) > 0 {
		err = errors.Join(e.rest...)
		c := &ui.Error{Code: ui.ExitFailed}
		errors.As(err, &c)
		fmt.Fprintf(w, "isukit: error: %s\n", err)
		e.hint, e.code = cmp.Or(c.Hint, ui.KnownHint(err), e.hint), cmp.Or(e.code, c.Code)
	}
	if e.hint != "" {
		fmt.Fprintf(w, "isukit: hint: %s\n", e.hint)
	}
	return e.code
}

// ending is how a command ended: interrupted, with a failed round, or with errors to print.
type ending struct {
	code        int
	interrupted bool
	left, hint  string // what an interruption left, and how to go on
	rest        []error
}

func (e *ending) add(err error) {
	switch {
	case errors.Is(err, ui.ErrRoundFailed), errors.Is(err, ui.ErrCheckFailed):
		e.code = ui.ExitRound
	case errors.Is(err, context.Canceled):
		e.code, e.interrupted, e.hint = ui.ExitFailed, true, cmp.Or(e.hint, ui.HintOf(err, ""))
		var a *host.ApplyError
		if errors.As(err, &a) && a.Err != nil {
			e.rest = append(e.rest, fmt.Errorf("%s: %w", a.Left, a.Err))
		} else if a != nil {
			e.left = a.Left
		}
	default:
		e.rest = append(e.rest, err)
	}
}

// errDamaged ends a command that showed a damaged body and printed its faults.
var errDamaged = errors.New("the body is damaged")

// errAnswered ends a send whose answer has status 400 or above: the answer has been printed.
var errAnswered = errors.New("the server answered with an error")
