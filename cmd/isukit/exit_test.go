package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"isukit/cmd/internal/ui"
	"isukit/infra/host"
)

// TestExitCode checks the text of an error, and its exit code.
func TestExitCode(t *testing.T) {
	left := errors.New("stop db-1: no such process")
	for _, tt := range []struct {
		err  error
		code int
		want string
	}{
		{nil, ui.ExitOK, ""},
		{left, ui.ExitFailed, "isukit: error: stop db-1: no such process\n"},
		{fmt.Errorf("start: %w", ui.UsageError(left, "look")), ui.ExitUsage, "isukit: error: start: stop db-1: no such process\nisukit: hint: look\n"},
		{fmt.Errorf("start: %w", host.Hinted(left, "make setup")), ui.ExitFailed, "isukit: error: start: stop db-1: no such process\nisukit: hint: make setup\n"},
		{ui.UsageError(host.Hinted(left, "make setup"), ""), ui.ExitUsage, "isukit: error: stop db-1: no such process\nisukit: hint: make setup\n"},
		{ui.CheckFailed(left, ""), ui.ExitRound, "isukit: error: stop db-1: no such process\n"},
		{ui.ErrRoundFailed, ui.ExitRound, ""},
		{ui.ErrCheckFailed, ui.ExitRound, ""},
		{errors.Join(ui.ErrRoundFailed, left), ui.ExitRound, "isukit: error: stop db-1: no such process\n"},
		{fmt.Errorf("start: %w", context.Canceled), ui.ExitFailed, "isukit: interrupted; all started processes were stopped and removed\n"},
		{ui.Hinted(context.Canceled, "go on"), ui.ExitFailed, "isukit: interrupted; all started processes were stopped and removed\nisukit: hint: go on\n"},
		{fmt.Errorf("%w: %w", context.Canceled, left), ui.ExitFailed, "isukit: interrupted; all started processes were stopped and removed\n"},
		{errors.Join(errors.Join(fmt.Errorf("start: %w", context.Canceled), nil), left), ui.ExitFailed, "isukit: interrupted\nisukit: error: stop db-1: no such process\n"},
		{&host.ApplyError{Reason: context.Canceled, Left: "topology final-1 was restored and is running"}, ui.ExitFailed, "isukit: interrupted; topology final-1 was restored and is running\n"},
		{&host.ApplyError{Reason: fmt.Errorf("start: %w", context.Canceled), Left: "topology final-1 could not be restored", Err: left}, ui.ExitFailed,
			"isukit: interrupted\nisukit: error: topology final-1 could not be restored: stop db-1: no such process\n"},
		{&host.ApplyError{Reason: left, Left: "topology final-1 was restored and is running"}, ui.ExitFailed,
			"isukit: error: stop db-1: no such process (topology final-1 was restored and is running)\n"},
	} {
		var out bytes.Buffer
		if code := exitCode(&out, tt.err); code != tt.code || out.String() != tt.want {
			t.Errorf("%v: exit code %d, said %q, want %d, %q", tt.err, code, out.String(), tt.code, tt.want)
		}
	}
}
