package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isukit/bench/result"
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
		if out, errs, code := cli(t, "", args...); code != exitOK || strings.Contains(out+errs, "\x1b") {
			t.Errorf("%q: exit %d, colours where there is no terminal:\n%q", args, code, out)
		}
	}
	if out := onTerminal(t, nil, append(list, "--json")...); strings.Contains(out, "\x1b") {
		t.Errorf("colours in JSON:\n%q", out)
	}
}

// TestSignals holds which words have a colour, and that a table stays aligned.
func TestSignals(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"TARGET  DID      KEY\ndb      drifted  x  y\n", "TARGET  DID      KEY\ndb      \x1b[31mdrifted\x1b[0m  x  y\n"},
		{"score  1  2  BETTER\n", "score  1  2  \x1b[32mBETTER\x1b[0m\n"},
		{"id  5  FAIL  a server failed and left\n", "id  5  \x1b[31mFAIL\x1b[0m  a server failed and left\n"},
		{"name  a table's last cell that is longer than the terminal is wide\n", "name  a table's last cell that is longer than the…\n"},
		{"what was left of it was refused\n", "what was left of it was refused\n"},
	} {
		var out bytes.Buffer
		w := &signalWriter{w: &out, color: true, width: 50}
		for _, b := range []byte(tt.in) { // as tables are written: in pieces
			if _, err := w.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		if out.String() != tt.want {
			t.Errorf("got %q, want %q", out.String(), tt.want)
		}
	}
}
