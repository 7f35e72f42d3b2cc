package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
)

func latencyArgs(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), append([]string{"latency"}, args...), streams{in: strings.NewReader(""), out: &o, err: &e})
	return code, o.String(), e.String()
}

// TestLatencyOfRounds merges two rounds that went to a real server.
func TestLatencyOfRounds(t *testing.T) {
	dir := t.TempDir()
	loggedRound(t, dir, 30)
	loggedRound(t, dir, 60)
	tests := []struct {
		args []string
		want map[string]int64 // answered hits by endpoint
	}{
		{nil, map[string]int64{"GET /": 40, "GET /gone,away": 20, "all": 60}},
		{[]string{"last", "last-1"}, map[string]int64{"GET /": 60, "GET /gone,away": 30, "all": 90}},
		{[]string{"last-1", "--endpoint", "gone", "--sent"}, map[string]int64{"GET /gone,away": 10, "all": 10}},
		{[]string{"--to", "1000s"}, map[string]int64{"GET /": 40, "GET /gone,away": 20, "all": 60}},
		{[]string{"--from", "1000s"}, map[string]int64{"all": 0}},
	}
	for _, tt := range tests {
		code, out, errOut := latencyArgs(t, append(tt.args, "--results", dir, "--json")...)
		lines, err := parseLines[endpointLatency](out)
		if code != ui.ExitOK || err != nil || len(lines) != len(tt.want) {
			t.Errorf("%q: code %d, %v, %d lines, want %d\n%s%s", tt.args, code, err, len(lines), len(tt.want), out, errOut)
		}
		for _, l := range lines {
			if l.Answered != tt.want[l.Endpoint] || l.P50Ms > l.P999Ms || l.P999Ms > l.MaxMs*1.001 || (l.MaxMs > 0) != (l.Answered > 0) {
				t.Errorf("%q: %+v, want %d answered", tt.args, l, tt.want[l.Endpoint])
			}
		}
	}
	code, out, _ := latencyArgs(t, "--results", dir)
	if lines := strings.Split(strings.TrimSpace(out), "\n"); code != ui.ExitOK || len(lines) != 4 || !strings.HasSuffix(lines[3], "all") {
		t.Errorf("code %d, want a head and three lines, the last of all:\n%s", code, out)
	}
}

func TestLatencyRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := result.Write(dir, &result.Round{ID: "20261122T200000Z-single"}); err != nil {
		t.Fatal(err)
	}
	broken := result.File{Path: round.HistogramsFile, Write: func(w io.Writer, _ *result.Round) error {
		_, err := fmt.Fprint(w, "Tag=intended:GET%20/,0.000,1.000,1.0,HIST")
		return err
	}}
	if _, err := result.Write(dir, &result.Round{ID: "20261122T210000Z-single"}, broken); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"2030"}, ui.ExitUsage, "no such round"},
		{[]string{"last-1"}, ui.ExitUsage, "has no histograms"},
		{[]string{"last"}, ui.ExitFailed, "line 1"},
		{[]string{"--from", "500ms"}, ui.ExitUsage, "whole seconds"},
		{[]string{"--from", "3s", "--to", "3s"}, ui.ExitUsage, "whole seconds"},
	}
	for _, tt := range tests {
		if code, out, errOut := latencyArgs(t, append(tt.args, "--results", dir)...); code != tt.code || !strings.Contains(errOut, tt.want) {
			t.Errorf("%q: code %d, %q, %q, want %d and %q", tt.args, code, errOut, out, tt.code, tt.want)
		}
	}
}
