package infra_test

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"isukit/infra"
	"isukit/infra/host"
)

// TestRunsOn: an app for another architecture, or system, than the host's is refused with how to build the right one.
func TestRunsOn(t *testing.T) {
	me, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, arch string
		binary     []byte
		refused    bool
	}{
		{"its own", runtime.GOARCH, me, false}, {"not known", "", me, false}, {"another's", "riscv64", me, true},
		{"a Mac's", "arm64", []byte("\xcf\xfa\xed\xfe..."), true}, {"a script", "arm64", []byte("#!/bin/sh"), false},
	} {
		err := infra.RunsOn(tt.binary, host.About{Name: "s1", Arch: tt.arch})
		var hint *host.Fault
		if errors.As(err, &hint) != tt.refused || tt.refused && !strings.Contains(hint.Hint, "GOOS=linux GOARCH="+tt.arch) {
			t.Errorf("%s: got %v, want refused: %v, with how to build it", tt.name, err, tt.refused)
		}
	}
}
