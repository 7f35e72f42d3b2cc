package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isukit/bench/compare"
	"isukit/bench/result"
	"isukit/cmd/internal/session"
	"isukit/cmd/internal/ui"
	"isukit/infra/infratest/wait"
)

// TestCompareUntilSure compares two programs, one of which is much the better, until that is sure, and then the kept rounds
// again.
func TestCompareUntilSure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	about := `command=echo "{\"us\": $((%d + $(od -An -N1 -tu1 /dev/urandom)))}"` // what it takes varies, and not with the machine
	code, out, errOut := compareArgs(t, fmt.Sprintf(about, 3000), fmt.Sprintf(about, 1000), "--until-sure", "--metrics", "us:lower", "--results", dir,
		"--budget", "2m", "--json")
	var c compare.Comparison
	if err := json.Unmarshal([]byte(out), &c); code != ui.ExitOK || err != nil || len(c.Metrics) != 1 {
		t.Fatalf("code %d, %v\n%s%s", code, err, out, errOut)
	}
	m := c.Metrics[0]
	if m.Verdict != compare.Better || m.Ratio >= 1 || c.Pairs < compare.MinPairs || c.Pairs > 30 || !c.Interleaved {
		t.Errorf("%s after %d pairs, ratio %.2f, want better within 30\n%s", m.Verdict, c.Pairs, m.Ratio, errOut)
	}
	if !strings.Contains(errOut, fmt.Sprintf("after %d pairs: us", c.Pairs)) || strings.Contains(errOut, fmt.Sprintf("after %d pairs", c.Pairs+1)) {
		t.Errorf("it did not tell when it was sure, or went on:\n%s", errOut)
	}
	progress := errOut
	ids := [2]string{strings.Join(c.A.Rounds, ","), strings.Join(c.B.Rounds, ",")}
	code, out, errOut = compareArgs(t, ids[0], ids[1], "--sequential", "--metrics", "us:lower", "--results", dir)
	if code != ui.ExitOK || !strings.Contains(out, "BETTER") {
		t.Errorf("the kept rounds: code %d\n%s%s", code, out, errOut)
	}
	code, out, _ = compareArgs(t, ids[0], ids[1], "--bench", "--results", dir)
	if want := c.Pairs; code != ui.ExitOK || strings.Count(out, "BenchmarkRound/command 1 ") != 2*want || !strings.Contains(out, " us\n") {
		t.Errorf("as Go benchmark lines: code %d, want %d lines\n%s", code, 2*want, out)
	}
	entries, err := result.List(dir)
	// Noisy rounds are run again: how often depends on what else the machine does.
	if want := 2*c.Pairs + 2 + strings.Count(progress, "noisy, rerun"); err != nil || len(entries) != want || !entries[0].Round.Passed || len(entries[0].Round.Artifacts) != 1 {
		t.Errorf("%d rounds are kept, %v, want %d with the warm-up and repetitions\n%s", len(entries), err, want, progress)
	}
}

// TestCompareAlikeUntilBudget compares a command with itself: it is never called better or worse, and the budget ends it.
func TestCompareAlikeUntilBudget(t *testing.T) {
	t.Parallel()
	same := `command=sleep 0.0$(od -An -N1 -tu1 /dev/urandom | tr -d ' ') ; echo "score: $(od -An -N2 -tu2 /dev/urandom)"`
	code, out, errOut := compareArgs(t, same, same+" ", "--until-sure", "--budget", "6s", "--alpha", "0.0001", "--results", t.TempDir())
	if code != ui.ExitOK || !strings.Contains(out, "undecided") || !strings.Contains(errOut, "the budget of 6s is used up") {
		t.Errorf("code %d, want undecided when the budget is spent\n%s%s", code, out, errOut)
	}
}

func TestCompareCommandRefuses(t *testing.T) {
	fine := `command=echo '{"score": 5, "rss": 3}'`
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no metrics", []string{fine, "command=true"}, ui.ExitFailed, `"true" printed no metrics`},
		{"no score", []string{`command=echo '{"p99": 5, "rss": 3}'`, fine}, ui.ExitFailed, "--metrics NAME:lower"},
		{"a command that fails", []string{"command=echo out of memory >&2; exit 3", fine}, ui.ExitFailed, "exit status 3: out of memory"},
		{"no such command", []string{"command=isukit-nothing", fine}, ui.ExitFailed, "exit status 127"},
		{"one that did not pass", []string{fine, `command=echo '{"pass": false, "score": 0}'`}, ui.ExitFailed, "pass: false"},
		{"no command", []string{"command= ", fine}, ui.ExitUsage, "it names saved rounds"},
		{"a direction that is none", []string{fine, fine, "--metrics", "rss:smaller"}, ui.ExitUsage, `no metric "rss:smaller"`},
		{"rounds' arguments", []string{fine, fine, "--both", "--users 3"}, ui.ExitUsage, "both sides are commands"},
	}
	for _, tt := range tests {
		code, out, errOut := compareArgs(t, append(tt.args, "--rounds", "1", "--results", t.TempDir())...)
		if code != tt.code || !strings.Contains(errOut, tt.want) || out != "" {
			t.Errorf("%s: code %d, want %d and %q\n%s%s", tt.name, code, tt.code, tt.want, out, errOut)
		}
	}
}

// TestCompareCommandEnds has a command that will not go be gone, with its children, when the comparison is interrupted.
func TestCompareCommandEnds(t *testing.T) {
	t.Parallel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := session.Command{Command: "sleep 600 & echo $! > " + pidFile + "; wait", Results: t.TempDir()}
	done := make(chan error, 1)
	go func() { _, err := p.Play(ctx); done <- err }()
	pid := 0
	wait.For(t, "the command's child", func() bool {
		text, err := os.ReadFile(pidFile)
		if err == nil && strings.HasSuffix(string(text), "\n") {
			fmt.Sscan(string(text), &pid)
		}
		return pid != 0
	})
	cancel()
	if err := <-done; err != context.Canceled || pid == 0 {
		t.Errorf("got %v for child %d, want that it was canceled", err, pid)
	}
	wait.For(t, fmt.Sprintf("the end of child %d", pid), func() bool {
		state, err := exec.Command("ps", "-o", "stat=", "-p", fmt.Sprint(pid)).Output()
		return err != nil || strings.HasPrefix(string(state), "Z") // one that nobody waits for, where init does not
	})
}
