package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
	"isukit/infra/infratest/realhosts"
)

// brokenAppEnv makes this test binary play an app that is healthy and answers nothing else.
const brokenAppEnv = "ISUKIT_TEST_BROKEN_APP_CONFIG"

func TestMain(m *testing.M) {
	realhosts.Main()
	if len(os.Args) > 2 && os.Args[1] == "lab" && os.Args[2] == "link" { // what the lab starts for a link with flaws
		os.Exit(mainExit())
	}
	if config := os.Getenv(brokenAppEnv); config != "" {
		fmt.Fprintln(os.Stderr, serveBrokenApp(config))
		os.Exit(1)
	}
	// A machine may be slow, or busy: no test is about the limits that this widens. Programs that tests start inherit it.
	os.Setenv("ISUKIT_PATIENCE", "2")
	// The projects of tests are all new to the machine; TestForeignProject is about those that are not trusted.
	os.Setenv("ISUKIT_YES", "1")
	code := m.Run()
	if binaries.dir != "" {
		os.RemoveAll(binaries.dir)
	}
	os.Exit(code)
}

// serveBrokenApp listens at the address in the app's configuration: a proxy on the same host uses the socket.
func serveBrokenApp(config string) error {
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	var conf struct {
		Listen string `yaml:"listen"`
		Socket string `yaml:"socket"`
	}
	if err := yaml.Unmarshal(text, &conf); err != nil {
		return err
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	if conf.Socket != "" {
		l, err := net.Listen("unix", conf.Socket)
		if err != nil {
			return err
		}
		go http.Serve(l, handler)
	}
	return http.ListenAndServe(conf.Listen, handler)
}

// brokenApp writes a program that is the real app for "version" and "prepare", and the broken one when it is to serve.
func brokenApp(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = --config ] && [ $# -eq 2 ]; then %s=\"$2\" exec '%s'; fi\nexec '%s' \"$@\"\n",
		brokenAppEnv, self, filepath.Join(buildBinaries(t), "isukit-app"))
	path := filepath.Join(t.TempDir(), "isukit-app")
	infratest.Program(t, path, []byte(script))
	return path
}

// TestFailedRoundIsKept plays a round on an app that can't initialize: exit code 3, and a record that says why.
func TestFailedRoundIsKept(t *testing.T) {
	t.Parallel()
	engine := infratest.Engines(t)[0]
	dir, state := t.TempDir(), testStateDir(t)
	cmd := isukitCommand(t, dir, state, append(smallRound(t, engine, "3s"), "--json", "--app", brokenApp(t))...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, _ := cmd.Output() // the exit code is looked at
	if code := cmd.ProcessState.ExitCode(); code != ui.ExitRound {
		t.Fatalf("exit code %d, want %d\n%s", code, ui.ExitRound, errs.String())
	}
	var r result.Round
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if r.Passed || r.Score.Total != 0 || !strings.Contains(r.Reason, "initialize failed") || !strings.Contains(r.Reason, "status 500") {
		t.Errorf("passed %t, score %d, reason %q; want a failed initialize with status 500", r.Passed, r.Score.Total, r.Reason)
	}
	kept, err := result.Read(filepath.Join(dir, "results", r.ID))
	if err != nil || kept.Passed {
		t.Errorf("the record: %v, passed %t", err, kept != nil && kept.Passed)
	}
	if l := left(t, state); len(l) > 0 {
		t.Errorf("left behind: %q", l)
	}
}
