package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"isukit/bench/result"
)

const (
	sharedEnv    = "ISUKIT_TEST_WRITES_ROUNDS_INTO"
	sharedRounds = 500 // of each of two processes
)

// TestSharedDirectory has two processes write 1,000 rounds and notes about them into one directory, many of one second, while the
// pages' list is read all the time: no round is ever shown half, and none is lost.
func TestSharedDirectory(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv(sharedEnv); dir != "" {
		writeShared(t, dir)
		return
	}
	dir := t.TempDir()
	list := &roundList{dir: dir, known: map[string]listedRoundFiles{}}
	var running atomic.Int32
	running.Store(2)
	ended := make(chan error, 2)
	for range 2 {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestSharedDirectory$")
		cmd.Env = append(os.Environ(), sharedEnv+"="+dir)
		go func() {
			out, err := cmd.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			running.Add(-1)
			ended <- err
		}()
	}
	server := httptest.NewServer(newRoundServer(dir).handler()) // what isukit serve answers with
	defer server.Close()
	shown := func(path string) string {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v: %.300s", path, resp.Status, err, body)
		}
		return string(body)
	}
	looks, seen := 0, map[string]bool{}
	for last := false; ; looks++ {
		last = running.Load() == 0
		entries, err := list.entries()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Err != "" || e.Score != 7 || e.At.IsZero() {
				t.Fatalf("round %s is shown as %+v", e.ID, e)
			}
			if !seen[e.ID] && looks%10 == 0 { // the page of one that is new
				if page := shown("/rounds/" + e.ID + "/report.html"); !strings.Contains(page, "</html>") || !strings.Contains(page, strings.Repeat("x", 20_000)) {
					t.Fatalf("the page of round %s is %.500s", e.ID, page)
				}
			}
			seen[e.ID] = true
		}
		if looks%10 == 0 || last {
			page := shown("/")
			if n := strings.Count(page, "data-score=\"7\" data-passed=\"true\""); n < len(entries) || strings.Contains(page, "cannot be read") || !strings.Contains(page, "</html>") {
				t.Fatalf("the page has %d rounds of %d", n, len(entries))
			}
		}
		if last {
			if len(entries) != 2*sharedRounds || len(seen) != len(entries) {
				t.Errorf("%d rounds are shown, %d were, want %d", len(entries), len(seen), 2*sharedRounds)
			}
			notes := 0
			for _, e := range entries {
				notes += len(e.Notes)
			}
			if notes != 2*sharedRounds {
				t.Errorf("%d notes, want %d", notes, 2*sharedRounds)
			}
			break
		}
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d looks", looks)
}

func writeShared(t *testing.T, dir string) {
	for i := range sharedRounds {
		start := time.Date(2026, 11, 22, 20, 0, i/4, 0, time.UTC) // two processes, four rounds a second
		r := &result.Round{ID: result.NewID(start, "shared"), StartedAt: start, Passed: true, Score: result.Score{Total: 7, Lines: []result.ScoreLine{}},
			Facts: []result.Fact{{Key: "commit", Value: strings.Repeat("x", 20_000)}}}
		if _, err := result.Write(dir, r); err != nil {
			t.Fatal(err)
		}
		if err := result.AddNote(dir, r.ID, result.Note{At: time.Now(), Text: "a note"}); err != nil {
			t.Fatal(err)
		}
	}
}
