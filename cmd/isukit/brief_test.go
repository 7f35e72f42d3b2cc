package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// TestBrief prints a large round, and a large difference, in at most 40 lines of plain text.
func TestBrief(t *testing.T) {
	dir := t.TempDir()
	for n := range 2 {
		r := &result.Round{ID: result.NewID(time.Date(2026, 11, 22, 20, n, 0, 0, time.UTC), "x"), Score: result.Score{Total: int64(100 * n), Lines: []result.ScoreLine{}}, Benchmark: result.Benchmark{ScoreFrom: "command"}}
		values := map[string]string{}
		for i := range 60 {
			name := fmt.Sprint("name", i)
			values[name] = fmt.Sprint(i * n)
			r.Facts = append(r.Facts, result.Fact{Key: name, Value: fmt.Sprint(n)})
			r.Warnings = append(r.Warnings, name)
			r.Hosts = append(r.Hosts, result.HostUsage{Host: name, Busy: float64(n)})
			r.Access.Routes = append(r.Access.Routes, result.Route{Method: "GET", Path: "/" + name, Hits: int64(1 + i*n), Request: result.Spread{Count: 1, SumSeconds: float64(1 + i*n)}})
			r.Queries.Queries = append(r.Queries.Queries, result.Query{ID: name, Fingerprint: "select " + name + " \x1b[2J", Time: result.Spread{Count: int64(1 + i*n), SumSeconds: float64(1 + i*n)}})
		}
		r.Settings = []result.Settings{{Host: "s1", Source: "sysctl", Values: values}}
		if _, err := result.Write(dir, r); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"show", "--brief"}, {"diff", "last-1", "last", "--brief"}} {
		code, out, errText := isukitIn(t, "", append(args, "--results", dir)...)
		if lines := strings.Count(out, "\n"); code != ui.ExitOK || lines < 10 || lines > briefLines || strings.Contains(out, "\x1b") || !strings.Contains(out, "name") {
			t.Errorf("%v: exit %d, %d lines, %s:\n%s", args, code, lines, errText, out)
		}
	}
}

// TestHook answers the app when the logs are marked and not before, and returns the time of the first request.
func TestHook(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", infratest.FreePort(t))
	began, marked := make(chan time.Time, 1), make(chan struct{})
	stop, err := listenForHook(t.Context(), address, began, marked)
	if err != nil {
		t.Fatal(err)
	}
	early, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(early, http.MethodPost, "http://"+address, nil)
	if _, err := http.DefaultClient.Do(req); err == nil || len(began) > 0 {
		t.Errorf("before the logs are marked it answers: %v, %d", err, len(began))
	}
	close(marked)
	for range 3 {
		resp, err := http.Post("http://"+address+"/any", "text/plain", strings.NewReader("x"))
		if err != nil || resp.StatusCode != http.StatusNoContent {
			t.Fatalf("%v, %v", resp, err)
		}
		resp.Body.Close()
	}
	wait.For(t, "the hook to tell", func() bool { return len(began) == 1 })
	if _, err := listenForHook(t.Context(), address, began, marked); err == nil {
		t.Error("an address that is taken is listened on")
	}
	stop()
	if _, err := http.Get("http://" + address); err == nil {
		t.Error("it answers after its end")
	}
}
