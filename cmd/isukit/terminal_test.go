package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
)

// onTerminal runs a command of the built isukit with a pseudo-terminal of 100 columns as its standard streams.
func onTerminal(t *testing.T, env []string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("script"); err != nil {
		infratest.Real(t)
		t.Fatal("script is needed to make a terminal (Debian package bsdutils)")
	}
	line := shellWords(append([]string{filepath.Join(buildBinaries(t), "isukit"), "--state-dir", t.TempDir()}, args...))
	cmd := exec.Command("script", "-qec", "stty cols 100; "+line, os.DevNull)
	cmd.Env = append(os.Environ(), append([]string{"TERM=xterm-256color", "NO_COLOR="}, env...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// TestColours holds that colours are there on a terminal, and nowhere else.
func TestColours(t *testing.T) {
	dir := t.TempDir()
	for i, passed := range []bool{true, false} {
		r := &result.Round{Format: result.FormatVersion, ID: fmt.Sprintf("2026112%dT200000Z-single", i), Passed: passed, Topology: "single"}
		if _, err := result.Write(dir, r); err != nil {
			t.Fatal(err)
		}
	}
	list, show := []string{"ls", "--results", dir}, []string{"show", "--results", dir}
	for _, args := range [][]string{list, show} {
		if out := onTerminal(t, nil, args...); !strings.Contains(out, "\x1b[") {
			t.Errorf("%q: no colour on a terminal:\n%s", args, out)
		}
		for _, env := range []string{"NO_COLOR=1", "TERM=dumb"} {
			if out := onTerminal(t, []string{env}, args...); strings.Contains(out, "\x1b") {
				t.Errorf("%q: colours with %s:\n%q", args, env, out)
			}
		}
		if out, errs, code := cli(t, "", args...); code != ui.ExitOK || strings.Contains(out+errs, "\x1b") {
			t.Errorf("%q: exit %d, colours where there is no terminal:\n%q", args, code, out)
		}
	}
	if out := onTerminal(t, nil, append(list, "--json")...); strings.Contains(out, "\x1b") {
		t.Errorf("colours in JSON:\n%q", out)
	}
}
