package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
)

// keptRounds is a directory with two rounds, one with a file that its record lists and one that it does not.
func keptRounds(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i, score := range []int64{100, 250} {
		r := &result.Round{ID: result.NewID(time.Date(2026, 11, 22, 20, i, 0, 0, time.UTC), "x"), Topology: "x", Passed: true, Score: result.Score{Total: score, Lines: []result.ScoreLine{}},
			Facts: []result.Fact{{Key: "commit", Value: strings.Repeat("a", i+1)}}}
		file := result.File{Path: "benchmark.log", About: "log", Write: func(w io.Writer, _ *result.Round) error { _, err := io.WriteString(w, "<b>log</b>"); return err }}
		path, err := result.Write(dir, r, file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(path, "unlisted.txt"), "secret")
	}
	write(t, filepath.Join(dir, "secret.txt"), "secret")
	return dir
}

func TestServe(t *testing.T) {
	dir := keptRounds(t)
	h := newRoundServer(dir)
	h.local = true
	server := httptest.NewServer(h.handler())
	defer server.Close()
	get := func(path string) (int, string, http.Header) {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), resp.Header
	}
	const id = "20261122T200100Z-x"
	for path, want := range map[string]struct {
		code int
		text string
	}{
		"/": {200, id}, "/diff?a=last-1&b=last": {200, "100 → 250"}, "/live": {204, ""}, "/rounds/" + id + "/benchmark.log": {200, "<b>log</b>"}, "/rounds/" + id + "/round.json": {200, `"score"`},
		"/rounds/" + id + "/unlisted.txt": {404, ""}, "/rounds/" + id + "/../../secret.txt": {404, ""}, "/rounds/" + id + "/%2e%2e/secret.txt": {404, ""}, "/rounds/..%2f/secret.txt": {404, ""},
		"/diff?a=/etc&b=last": {404, ""}, "/diff?a=last": {404, ""}, "/rounds/nope/round.json": {404, ""}, "/secret.txt": {404, ""},
	} {
		code, body, head := get(path)
		if code != want.code || !strings.Contains(body, want.text) || strings.Contains(body, "secret\n") || body == "secret" {
			t.Errorf("%s: %d %.80q, want %d with %q", path, code, body, want.code, want.text)
		}
		if head.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: the browser may guess what it is", path)
		}
		if strings.HasSuffix(path, ".log") && !strings.HasPrefix(head.Get("Content-Type"), "text/plain") {
			t.Errorf("%s is served as %s", path, head.Get("Content-Type"))
		}
	}
	feed := round.NewLiveFeed(dir, "p")
	feed.Phase("load")
	if code, body, _ := get("/live"); code != 200 || !strings.Contains(body, `"phase":"load"`) {
		t.Errorf("live: %d %s", code, body)
	}
	feed.Close()
	req, _ := http.NewRequest(http.MethodGet, server.URL+"/", nil)
	req.Host = "evil.example.com"
	if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("another name for this machine: %v, %v", resp.StatusCode, err)
	}
	if resp, err := http.Post(server.URL+"/", "", nil); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v, %v", resp.StatusCode, err)
	}
}

func TestServeWantsItsToken(t *testing.T) {
	h := newRoundServer(keptRounds(t))
	h.token = "0123456789abcdef"
	server := httptest.NewServer(h.handler())
	defer server.Close()
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar}
	status := func(path string) int {
		resp, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, c := range []struct {
		path string
		code int
	}{{"/", 401}, {"/?token=wrong", 401}, {"/live", 401}, {"/?token=0123456789abcdef", 200}, {"/", 200}, {"/rounds/20261122T200100Z-x/round.json", 200}} {
		if got := status(c.path); got != c.code {
			t.Errorf("%s: %d, want %d", c.path, got, c.code)
		}
	}
}

// TestServeStops: the command ends with its signal, and a bad address is the user's error.
func TestServeStops(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var errText strings.Builder
	if err := runServe(ctx, t.TempDir(), "127.0.0.1:0", "", streams{nil, io.Discard, &errText}); err != nil || strings.Contains(errText.String(), "token") {
		t.Errorf("%v; it says %s", err, errText.String())
	}
	if code, _, errText := isukitIn(t, "", "serve", "--listen", "nowhere"); code != ui.ExitUsage || !strings.Contains(errText, "--listen") {
		t.Errorf("exit %d, %s", code, errText)
	}
}

func TestDiffCmd(t *testing.T) {
	dir := keptRounds(t)
	code, out, _ := isukitIn(t, "", "diff", "last-1", "last", "--results", dir)
	for _, want := range []string{"fact commit  a -> aa", "+150 %"} {
		if code != ui.ExitOK || !strings.Contains(out, want) {
			t.Errorf("exit %d; the text lacks %q:\n%s", code, want, out)
		}
	}
	code, out, _ = isukitIn(t, "", "diff", "last-1", "last", "--results", dir, "--json")
	var d struct{ Changed, Moved []map[string]any }
	if err := json.Unmarshal([]byte(out), &d); err != nil || code != ui.ExitOK || len(d.Changed) != 1 || len(d.Moved) != 1 {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
	if code, _, _ := isukitIn(t, "", "diff", "last-1", "nope", "--results", dir); code != ui.ExitUsage {
		t.Errorf("an unknown round: exit %d", code)
	}
}

func TestNotify(t *testing.T) {
	var got string
	status := http.StatusOK
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = string(body)
		w.WriteHeader(status)
	}))
	defer hook.Close()
	dir := keptRounds(t)
	t.Setenv("ISUKIT_WEBHOOK", hook.URL+"/services/hunter2")
	if code, _, errText := isukitIn(t, "", "notify", "--results", dir); code != ui.ExitOK || !strings.Contains(got, "score 250") {
		t.Errorf("exit %d, %s; posted %s", code, errText, got)
	}
	status = http.StatusBadGateway
	if code, _, errText := isukitIn(t, "", "notify", "--results", dir); code != ui.ExitFailed || strings.Contains(errText, "hunter2") || !strings.Contains(errText, "502") {
		t.Errorf("a webhook that fails: exit %d, %s", code, errText)
	}
	hook.Close()
	if code, _, errText := isukitIn(t, "", "notify", "--results", dir); code != ui.ExitFailed || strings.Contains(errText, "hunter2") {
		t.Errorf("no webhook there: exit %d, %s", code, errText)
	}
	os.Unsetenv("ISUKIT_WEBHOOK")
	if code, _, _ := isukitIn(t, "", "notify", "--results", dir); code != ui.ExitUsage {
		t.Errorf("no webhook named: exit %d", code)
	}
}

// TestFinal runs the end of the day of a stand-in whose steps leave a trace.
func TestFinal(t *testing.T) {
	t.Parallel()
	more := "restart: [{run: echo restart >> trace}]\nfinal:\n  rounds: 2\n  off: [{run: echo off >> trace}]\n  check: [{run: grep -q restart trace && echo check >> trace}]"
	dir := standIn(t, more, "echo round >> trace; echo '{\"pass\":true,\"score\":5}'")
	args := []string{"final", "-q", "--project", filepath.Join(dir, "isukit.yaml"), "--results", filepath.Join(dir, "results")}
	code, out, errText := isukitIn(t, "", args...)
	trace, _ := os.ReadFile(filepath.Join(dir, "trace"))
	if code != ui.ExitOK || string(trace) != "off\nrestart\ncheck\nround\nround\n" || !strings.Contains(out, "median 5; 0 of 2 rounds failed") {
		t.Errorf("exit %d, trace %q:\n%s%s", code, trace, out, errText)
	}
	text, _ := os.ReadFile(filepath.Join(dir, "isukit.yaml"))
	write(t, filepath.Join(dir, "isukit.yaml"), strings.Replace(string(text), "grep -q restart trace", "grep -q nothing trace", 1))
	if code, out, errText := isukitIn(t, "", args...); code != ui.ExitFailed || !strings.Contains(errText, "check the data") || strings.Contains(out, "median") {
		t.Errorf("lost data: exit %d:\n%s%s", code, out, errText)
	}
	write(t, filepath.Join(dir, "isukit.yaml"), strings.NewReplacer(`"pass":true`, `"pass":false`, "echo round >> trace", "echo x >> access.log").Replace(string(text)))
	if code, out, _ := isukitIn(t, "", args...); code != ui.ExitRound || !strings.Contains(out, "2 of 2 rounds failed") || !strings.Contains(out, "access.log of local still grows") {
		t.Errorf("failing rounds: exit %d:\n%s", code, out)
	}
}
