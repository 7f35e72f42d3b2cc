package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isukit/bench/experiment"
	"isukit/cmd/internal/session"
	"isukit/cmd/internal/ui"
	"isukit/infra/infratest/wait"
)

// projectScreen screens three tunings of a project's database, of which one costs 15 %. The screen ends by Ctrl-C and by a kill while a tuning
// is applied, and is resumed: the costly one is named, the others are not, and nothing stays applied.
func projectScreen(t *testing.T) {
	s := newTunableProject(t)
	nothing := func(name, setting string) string {
		text := "# Tuning mysql/" + name + ": it does nothing\n[mysqld]\n# nothing depends on it here; since mariadb 5.1, mysql 5.1; restart: no; risk: low\n" + setting + "\n"
		write(t, filepath.Join(s.dir, name+".cnf"), text)
		return text
	}
	nothing("idle", "net_retry_count = 11")
	calm := nothing("calm", "slow_launch_time = 3")
	first := isukitCommand(t, s.dir, s.state, "screen", "./idle.cnf,./costly.cnf,./calm.cnf", "--rounds", "16", "--seed", "5")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	lines := func() int {
		files, _ := filepath.Glob(filepath.Join(s.dir, "results", "screen-*.jsonl"))
		if len(files) == 0 {
			return 0
		}
		text, _ := os.ReadFile(files[0])
		return strings.Count(string(text), "\n")
	}
	// The plan, and two lines a round: it ends while the costly tuning is applied, by Ctrl-C after the sixth round, by a kill after the ninth.
	running := first
	for n, end := range []os.Signal{os.Interrupt, os.Kill} {
		for want := 1; want <= 14+6*n; want++ { // each alone: all together take more than a minute on a busy machine
			wait.For(t, fmt.Sprintf("line %d of the screen", want), func() bool { return lines() >= want })
		}
		wait.For(t, "the costly tuning", func() bool {
			written, err := os.ReadFile(filepath.Join(s.dir, "server.cnf"))
			return err == nil && strings.Contains(string(written), "100")
		})
		if err := running.Process.Signal(end); err != nil {
			t.Fatal(err)
		}
		_ = running.Wait() // it was stopped
		if end == os.Interrupt {
			s.wantTuned(t, "after Ctrl-C", false)
			write(t, filepath.Join(s.dir, "calm.cnf"), strings.Replace(calm, "= 3", "= 4", 1))
			if out := s.isukit(t, ui.ExitUsage, "screen", "resume"); !strings.Contains(out, "has changed since these rounds began") {
				t.Errorf("a resume with another tuning: %s", out)
			}
			write(t, filepath.Join(s.dir, "calm.cnf"), calm)
			running = isukitCommand(t, s.dir, s.state, "screen", "resume")
			if err := running.Start(); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := isukitCommand(t, s.dir, s.state, "screen", "resume", "--json")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	var r session.ScreenResult
	if code := cmd.ProcessState.ExitCode(); code != ui.ExitOK || json.Unmarshal(out, &r) != nil {
		t.Fatalf("exit %d, %v\n%s%s", code, err, out, said.String())
	}
	// One screen of twenty claims something of one that does nothing: then it is little, and what hurts is not kept.
	keep := []string{"isukit", "tune", "apply"}
	for _, f := range r.Verdict.Factors {
		switch costly := strings.Contains(f.Name, "costly"); {
		case costly && f.Effect != experiment.Hurts, !costly && f.Effect != experiment.Unknown && math.Abs(f.Ratio-1) > 0.03:
			t.Errorf("%s: %s %.3f", f.Name, f.Effect, f.Ratio)
		case f.Effect != experiment.Hurts:
			keep = append(keep, f.Name)
		}
	}
	if !r.Finished || r.Verdict.Rounds != 16 || !slices.Equal(slices.Sorted(strings.FieldsSeq(r.Keep)), slices.Sorted(slices.Values(keep))) || r.Confirmed == nil || r.Confirmed.Ratio < 1.05 {
		t.Errorf("finished %t, %d rounds, keep %q, confirmed %+v\n%s", r.Finished, r.Verdict.Rounds, r.Keep, r.Confirmed, said.String())
	}
	s.wantTuned(t, "after the screen", false)
}
