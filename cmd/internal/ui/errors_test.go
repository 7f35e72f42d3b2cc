package ui

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// TestFullDiskIsNamed: a full disk is reported as one, for every program.
func TestFullDiskIsNamed(t *testing.T) {
	for _, err := range []error{
		fmt.Errorf("write: %w", syscall.ENOSPC),
		errors.New("prepare db-1: Error 1114 (HY000): The table 'results' is full"),
		errors.New("tar: x: Cannot write: No space left on device"),
	} {
		if hint := KnownHint(err); !strings.Contains(hint, "df -h") {
			t.Errorf("%v: hint %q", err, hint)
		}
	}
	if hint := KnownHint(errors.New("the hall is full")); hint != "" {
		t.Errorf("hint %q of something else", hint)
	}
}
