package report_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"isukit/bench/report"
)

func liveStates() map[string]report.LiveState {
	r := passing()
	load := report.LiveState{Phase: "load", PhaseElapsed: 19 * time.Second, PhaseTotal: 30 * time.Second, Elapsed: 24 * time.Second,
		Seconds: r.Timeline[:19], Errors: map[string]int64{"timeout": 31, "stale": 4, "status": 0}, HostCPUs: 2}
	calm := load
	calm.Seconds, calm.Errors = r.Timeline[:10], nil
	evil := load
	evil.Phase = "load\x1b[2J"
	evil.Errors = map[string]int64{strings.Repeat("x\x1b[2J", 50): 1e15}
	evil.Seconds = hostile().Timeline[:10]
	return map[string]report.LiveState{
		"initialize": {Phase: "initialize", PhaseElapsed: 900 * time.Millisecond, PhaseTotal: 30 * time.Second, Elapsed: time.Second},
		"validate":   {Phase: "validate", PhaseElapsed: 4 * time.Second, Elapsed: 9 * time.Second},
		"load":       load, "load-calm": calm, "hostile": evil,
	}
}

func TestLiveGolden(t *testing.T) {
	for name, state := range liveStates() {
		t.Run(name, func(t *testing.T) {
			frame := strings.Join(report.Live(state, report.Style{}), "\n")
			golden(t, "live-"+name+".txt", frame+"\n\n"+report.Line(state)+"\n")
			if strings.ContainsRune(frame+report.Line(state), '\x1b') {
				t.Error("an escape sequence without colours being asked for")
			}
			for line := range strings.Lines(frame) {
				if n := wide(strings.TrimSuffix(line, "\n")); n > 80 {
					t.Errorf("a line of %d columns: %q", n, line)
				}
			}
		})
	}
}

func TestLiveFramesHaveOneHeight(t *testing.T) {
	states := liveStates()
	calm, load := report.Live(states["load-calm"], report.Style{}), report.Live(states["load"], report.Style{Color: true})
	if len(calm) != len(load) {
		t.Errorf("a frame without errors has %d lines, one with errors %d; drawn over one another they leave remains", len(calm), len(load))
	}
	if s := fmt.Sprint(load); !strings.Contains(s, "\x1b[31m") {
		t.Errorf("no red in a coloured frame with errors: %s", s)
	}
}
