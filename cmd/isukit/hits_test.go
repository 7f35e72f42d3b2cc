package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"isukit/bench/load"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
)

// loggedRound writes a round whose hits were sent to a real server, every third of them to a page that does not exist.
func loggedRound(t *testing.T, dir string, hits int) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	origin, err := load.ParseOrigin(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	log, err := round.NewHitLog()
	if err != nil {
		t.Fatal(err)
	}
	defer log.File.Close()
	recorder := load.NewRecorder(load.RecorderOptions{Log: log.Writer})
	engine := load.NewEngine(load.Options{Recorder: recorder})
	client := engine.NewClient(7, "")
	for i := range hits {
		req := load.Request{Endpoint: engine.Endpoint("GET /"), Origin: origin, Target: "/"}
		if i%3 == 2 {
			req.Endpoint, req.Target = engine.Endpoint("GET /gone,away"), "/gone"
		}
		client.Do(t.Context(), &req, nil) // a fault is what the log is for
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	recorder.Summary(time.Now())
	r := &result.Round{ID: "20261122T200000Z-single", Topology: "single"}
	if _, err := result.Write(dir, r, log.Artifact(), round.Histograms(recorder)); err != nil {
		t.Fatal(err)
	}
}

func TestHitsOfARound(t *testing.T) {
	dir := t.TempDir()
	loggedRound(t, dir, 30)
	code, out, errOut := hitsArgs(t, "--results", dir)
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if code != ui.ExitOK || err != nil || len(rows) != 31 {
		t.Fatalf("hits = %d with %d rows, %v, want a head and 30\n%s", code, len(rows), err, errOut)
	}
	gone := 0
	for _, row := range rows[1:] {
		if row[1] == "GET /gone,away" && row[2] == "status" && row[3] == "404" && row[0] == "7" {
			gone++
		}
	}
	if gone != 10 {
		t.Errorf("%d rows tell of a 404, want 10:\n%s", gone, out)
	}
	code, out, errOut = hitsArgs(t, "last", "--results", dir, "--json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != ui.ExitOK || len(lines) != 30 {
		t.Fatalf("hits --json = %d with %d lines, want 30\n%s", code, len(lines), errOut)
	}
	for _, line := range lines {
		var hit struct {
			Sent float64 `json:"sent_s"`
			Done float64 `json:"done_s"`
		}
		if err := json.Unmarshal([]byte(line), &hit); err != nil || hit.Done < hit.Sent {
			t.Errorf("%s: %v, sent %v, done %v", line, err, hit.Sent, hit.Done)
		}
	}
}

func hitsArgs(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), append([]string{"hits"}, args...), streams{in: strings.NewReader(""), out: &o, err: &e})
	return code, o.String(), e.String()
}

func TestHitsRefuses(t *testing.T) {
	dir := t.TempDir()
	if code, _, errOut := hitsArgs(t, "--results", dir); code != ui.ExitUsage || !strings.Contains(errOut, "no such round") {
		t.Errorf("without a round: code %d, %q", code, errOut)
	}
	if _, err := result.Write(dir, &result.Round{ID: "20261122T200000Z-single"}); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := hitsArgs(t, "--results", dir); code != ui.ExitUsage || !strings.Contains(errOut, "has no hit log") {
		t.Errorf("without a log: code %d, %q", code, errOut)
	}
	broken := result.File{Path: round.HitsFile, Write: func(w io.Writer, _ *result.Round) error {
		_, err := fmt.Fprint(w, "isukit-hits 1\nX")
		return err
	}}
	if _, err := result.Write(dir, &result.Round{ID: "20261122T210000Z-single"}, broken); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := hitsArgs(t, "--results", dir); code != ui.ExitFailed || !strings.Contains(errOut, "unknown record") {
		t.Errorf("of a damaged log: code %d, %q", code, errOut)
	}
}
