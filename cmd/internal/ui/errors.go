// Package ui is what commands share on the way to and from the person at the terminal: errors with a hint and an exit code,
// tables and JSON, progress, the view of a round that runs, and input files that are read within bounds. It writes to the writer
// that it is given; which flags there are, and what a command does, is left to the commands.
package ui

import (
	"cmp"
	"errors"
	"regexp"
	"strings"
	"syscall"

	"isukit/bench/result"
	"isukit/infra/host"
)

// The exit codes of every command; docs/exit-codes.md explains them to users.
const (
	ExitOK     = 0
	ExitFailed = 1 // isukit itself failed
	ExitUsage  = 2 // the command line or an input file was wrong
	ExitRound  = 3 // the round ran and failed its checks; what was checked or compared is incorrect
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

// HintOf is the hint that err has, or otherwise the given one.
func HintOf(err error, otherwise string) string {
	if c := (*Error)(nil); errors.As(err, &c) && c.Hint != "" {
		return c.Hint
	}
	return cmp.Or(KnownHint(err), otherwise)
}

// ErrRoundFailed ends a command whose round ran and failed, ErrCheckFailed one that checks or compares and found a difference. Both are
// returned after the details were printed.
var (
	ErrRoundFailed = errors.New("the round failed")
	ErrCheckFailed = errors.New("differences were found")
)

// KnownHint is the hint for an error of another package, from the error or from a list; "" for any other.
func KnownHint(err error) string {
	var fault *host.Fault
	var locked *host.LockedError
	var newer *result.NewerFormatError
	for inner := err; errors.As(inner, &fault); inner = fault.Err { // the outer one knows what was to be done
		if fault.Hint != "" {
			return fault.Hint
		}
	}
	switch {
	case errors.As(err, &locked):
		hint := "wait until " + locked.Holder.Name + " is done"
		if locked.End != "" {
			hint += "; if it hangs, this ends it: " + locked.End
		}
		return hint
	case errors.As(err, &newer):
		return "a newer isukit saved this round; use that version"
	case errors.Is(err, syscall.ENOSPC) || fullDisk.MatchString(err.Error()):
		return "a disk is full: check df -h, or choose directories on another disk with --state-dir and --results"
	}
	return ""
}

// fullDisk is what programs and databases that isukit runs say of a full disk.
var fullDisk = regexp.MustCompile(`(?i)no space left on device|the table '.*' is full|disk full`)

// DidYouMean is a hint with the known name that is most like a word which is none; "" where none is near.
func DidYouMean(word string, known []string) string {
	best, least := "", len(word)/3+2 // what is further away is another name
	for _, name := range known {
		d := distance(word, name)
		if len(word) > 3 && strings.Contains(name, word) {
			d = 1 // a part was left out
		}
		if d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}

// distance is how many letters have to be put in, taken out or replaced to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := before
			if a[i] != b[j] {
				replaced++
			}
			before = row[j+1]
			row[j+1] = min(replaced, before+1, row[j]+1)
		}
	}
	return row[len(b)]
}
