package ui

import (
	"cmp"
	"errors"
	"regexp"
	"syscall"

	"isukit/bench/result"
	"isukit/infra"
	"isukit/infra/host"
)

// The exit codes of every command; docs/exit-codes.md explains them to users.
const (
	ExitOK     = 0
	ExitFailed = 1 // isukit itself failed
	ExitUsage  = 2 // the command line or an input file was wrong
	ExitRound  = 3 // the round ran and failed its checks; what was checked or compared is not as it should be
)

// Error is an error with what the user can do about it and the exit code that it means.
type Error struct {
	err  error
	Hint string
	Code int
}

func (e *Error) Error() string { return e.err.Error() }

func (e *Error) Unwrap() error { return e.err }

// Hinted adds a hint to err, keeping exit code 1.
func Hinted(err error, hint string) error {
	return &Error{err: err, Hint: hint, Code: ExitFailed}
}

// UsageError says that the command line or an input was wrong.
func UsageError(err error, hint string) error {
	return &Error{err: err, Hint: hint, Code: ExitUsage}
}

// CheckFailed says that a command which checks or compares found what it looks for: exit code 3, as for a round that failed.
func CheckFailed(err error, hint string) error {
	return &Error{err: err, Hint: hint, Code: ExitRound}
}

// HintOf is the hint that err brings along, or else the given one.
func HintOf(err error, otherwise string) string {
	if c := (*Error)(nil); errors.As(err, &c) && c.Hint != "" {
		return c.Hint
	}
	return cmp.Or(KnownHint(err), otherwise)
}

// ErrRoundFailed ends a command whose round ran and failed, ErrCheckFailed one that checks or compares and found what it looks for. What it
// was has been printed by then.
var (
	ErrRoundFailed = errors.New("the round failed")
	ErrCheckFailed = errors.New("it is not as it should be")
)

// KnownHint is what can be done about an error of another package that says so itself, or that is known here; "" for any other.
func KnownHint(err error) string {
	var fault *host.Fault
	var locked *host.LockedError
	var hint *infra.HintError
	var newer *result.NewerFormatError
	switch {
	case errors.As(err, &hint) && errors.As(hint.Unwrap(), &fault): // it knows what was to be done
		return hint.Hint
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
