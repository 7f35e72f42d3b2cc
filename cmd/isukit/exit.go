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
	"regexp"
	"syscall"

	"isukit/bench/result"
	"isukit/infra"
	"isukit/infra/host"
)

// The exit codes of every command; docs/exit-codes.md explains them to users.
const (
	exitOK     = 0
	exitFailed = 1 // isukit itself failed
	exitUsage  = 2 // the command line or an input file was wrong
	exitRound  = 3 // the round ran and failed its checks; what was checked or compared is not as it should be
)

// cliError is an error with what the user can do about it and the exit code that it means.
type cliError struct {
	err  error
	hint string
	code int
}

func (e *cliError) Error() string { return e.err.Error() }

func (e *cliError) Unwrap() error { return e.err }

// hinted adds a hint to err, keeping exit code 1.
func hinted(err error, hint string) error {
	return &cliError{err: err, hint: hint, code: exitFailed}
}

// usageError says that the command line or an input was wrong.
func usageError(err error, hint string) error {
	return &cliError{err: err, hint: hint, code: exitUsage}
}

// found says that a command which checks or compares found what it looks for: exit code 3, as for a round that failed.
func found(err error, hint string) error {
	return &cliError{err: err, hint: hint, code: exitRound}
}

// hintOf is the hint that err brings along, or else the given one.
func hintOf(err error, otherwise string) string {
	if c := (*cliError)(nil); errors.As(err, &c) && c.hint != "" {
		return c.hint
	}
	return cmp.Or(knownHint(err), otherwise)
}

// errRoundFailed ends a command whose round ran and failed, errFound one that checks or compares and found what it looks for. What it
// was has been printed by then.
var (
	errRoundFailed = errors.New("the round failed")
	errFound       = errors.New("it is not as it should be")
)

// knownHint is what can be done about an error of another package that says so itself, or that is known here; "" for any other.
func knownHint(err error) string {
	var fault *host.Fault
	var locked *host.LockedError
	var hint *infra.HintError
	var newer *result.NewerFormatError
	switch {
	case errors.As(err, &fault) && fault.Hint != "":
		return fault.Hint
	case errors.As(err, &locked):
		return "wait until " + locked.Holder.Name + " is done, or ask them"
	case errors.As(err, &hint):
		return hint.Hint
	case errors.As(err, &newer):
		return "a newer isukit kept this round; use that one"
	case errors.Is(err, syscall.ENOSPC) || fullDisk.MatchString(err.Error()):
		return "a disk is full, see df -h; --state-dir and --results name places on others"
	}
	return ""
}

// fullDisk is what programs and databases that isukit runs say of a full disk.
var fullDisk = regexp.MustCompile(`(?i)no space left on device|the table '.*' is full|disk full`)

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

// exitCode prints err as the user should see it and maps it to the exit code. What went wrong besides an interruption or a round that
// failed, as in clearing away after it, is told all the same.
func exitCode(w io.Writer, err error) int {
	if err == nil || readerGone(err) {
		return exitOK
	}
	e := ending{left: "everything that was started is gone"}
	for _, one := range joined(err) {
		e.add(one)
	}
	switch {
	case e.interrupted && len(e.rest) == 0:
		fmt.Fprintln(w, "isukit: interrupted; "+e.left)
	case e.interrupted:
		fmt.Fprintln(w, "isukit: interrupted")
	}
	if len(e.rest) == 0 {
		return e.code
	}
	err = errors.Join(e.rest...)
	c := &cliError{code: exitFailed}
	errors.As(err, &c)
	fmt.Fprintf(w, "isukit: error: %s\n", err)
	if hint := cmp.Or(c.hint, knownHint(err)); hint != "" {
		fmt.Fprintf(w, "isukit: hint: %s\n", asCalled(hint))
	}
	return cmp.Or(e.code, c.code)
}

// ending is how a command ended: interrupted, by a round that failed, or by errors that are to be told.
type ending struct {
	code        int
	interrupted bool
	left        string // what an interruption left
	rest        []error
}

func (e *ending) add(err error) {
	switch {
	case errors.Is(err, errRoundFailed), errors.Is(err, errFound):
		e.code = exitRound
	case errors.Is(err, context.Canceled):
		e.code, e.interrupted = exitFailed, true
		var a *infra.ApplyError
		if errors.As(err, &a) && a.Err != nil {
			e.rest = append(e.rest, fmt.Errorf("%s: %w", a.Left, a.Err))
		} else if a != nil {
			e.left = a.Left
		}
	default:
		e.rest = append(e.rest, err)
	}
}

// errDamaged ends a command that showed a damaged body: what was wrong has been printed with it.
var errDamaged = errors.New("the body is damaged")

// errAnswered ends a send whose answer has status 400 or above: the answer has been printed.
var errAnswered = errors.New("the server answered with an error")
