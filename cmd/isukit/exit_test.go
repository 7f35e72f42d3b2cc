package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"isukit/infra"
)

// TestExitCode holds what is said of an error, and the code that it means.
func TestExitCode(t *testing.T) {
	left := errors.New("stop db-1: no such process")
	for _, tt := range []struct {
		err  error
		code int
		want string
	}{
		{nil, exitOK, ""},
		{left, exitFailed, "isukit: error: stop db-1: no such process\n"},
		{fmt.Errorf("start: %w", usageError(left, "look")), exitUsage, "isukit: error: start: stop db-1: no such process\nisukit: hint: look\n"},
		{fmt.Errorf("start: %w", &infra.HintError{Err: left, Hint: "make setup"}), exitFailed, "isukit: error: start: stop db-1: no such process\nisukit: hint: make setup\n"},
		{usageError(&infra.HintError{Err: left, Hint: "make setup"}, ""), exitUsage, "isukit: error: stop db-1: no such process\nisukit: hint: make setup\n"},
		{found(left, ""), exitRound, "isukit: error: stop db-1: no such process\n"},
		{errRoundFailed, exitRound, ""},
		{errFound, exitRound, ""},
		{errors.Join(errRoundFailed, left), exitRound, "isukit: error: stop db-1: no such process\n"},
		{fmt.Errorf("start: %w", context.Canceled), exitFailed, "isukit: interrupted; everything that was started is gone\n"},
		{fmt.Errorf("%w: %w", context.Canceled, left), exitFailed, "isukit: interrupted; everything that was started is gone\n"},
		{errors.Join(errors.Join(fmt.Errorf("start: %w", context.Canceled), nil), left), exitFailed, "isukit: interrupted\nisukit: error: stop db-1: no such process\n"},
		{&infra.ApplyError{Reason: context.Canceled, Left: "topology final-1 was put back and runs"}, exitFailed, "isukit: interrupted; topology final-1 was put back and runs\n"},
		{&infra.ApplyError{Reason: fmt.Errorf("start: %w", context.Canceled), Left: "topology final-1 could not be put back", Err: left}, exitFailed,
			"isukit: interrupted\nisukit: error: topology final-1 could not be put back: stop db-1: no such process\n"},
		{&infra.ApplyError{Reason: left, Left: "topology final-1 was put back and runs"}, exitFailed,
			"isukit: error: stop db-1: no such process (topology final-1 was put back and runs)\n"},
	} {
		var out bytes.Buffer
		if code := exitCode(&out, tt.err); code != tt.code || out.String() != tt.want {
			t.Errorf("%v: exit code %d, said %q, want %d, %q", tt.err, code, out.String(), tt.code, tt.want)
		}
	}
}

// TestFullDiskIsNamed holds that a full disk is told as one, whichever program met it.
func TestFullDiskIsNamed(t *testing.T) {
	for _, err := range []error{
		fmt.Errorf("write: %w", syscall.ENOSPC),
		errors.New("prepare db-1: Error 1114 (HY000): The table 'results' is full"),
		errors.New("tar: x: Cannot write: No space left on device"),
	} {
		if hint := knownHint(err); !strings.Contains(hint, "df -h") {
			t.Errorf("%v: hint %q", err, hint)
		}
	}
	if hint := knownHint(errors.New("the hall is full")); hint != "" {
		t.Errorf("hint %q of something else", hint)
	}
}
