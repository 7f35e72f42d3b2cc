package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isukit/bench/compare"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
)

// clone returns a clone of the repository: worktrees that a test makes are then none of its checkout's.
func clone(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone")
	if out, err := exec.Command("git", "clone", "-q", "--shared", infratest.Root(t), dir).CombinedOutput(); err != nil {
		t.Fatalf("clone: %v\n%s", err, out)
	}
	return dir
}

// TestCompareCommits runs rounds of the app of a commit against those of the app that was built, under another load, and is interrupted in
// the second pair: the first one is compared, and nothing is left.
func TestCompareCommits(t *testing.T) {
	t.Parallel()
	engine := infratest.Engines(t)[0]
	dir, state, temp := clone(t), testStateDir(t), t.TempDir()
	cmd := isukitCommand(t, dir, state, "compare", "commit=HEAD", "round=--shape rate=60", "--rounds", "3", "--warmup", "0", "--repeats", "0", "--both",
		strings.Join(smallRound(t, engine, "1s")[1:], " "))
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	var out bytes.Buffer
	cmd.Stdout = &out
	text := interruptAfter(t, cmd, "pair 1 of 3", 2)
	if code := cmd.ProcessState.ExitCode(); code != ui.ExitFailed || !strings.Contains(text, "interrupted") {
		t.Errorf("exit code %d, want %d and a word about it:\n%s", code, ui.ExitFailed, text)
	}
	for _, want := range []string{"commit=HEAD (1 round)", "round=--shape rate=60 (1 round)", "shape: grow -> rate=60", "fewer than 6 pairs", "Every pair"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the first pair was not compared: no %q in\n%s\n%s", want, out.String(), text)
		}
	}
	checkSession(t, dir)
	if l := left(t, state); len(l) > 0 || len(runs(t, state)) > 0 {
		t.Errorf("left behind: %q %q", l, runs(t, state))
	}
	if files, err := os.ReadDir(temp); err != nil || len(files) > 0 {
		t.Errorf("left behind in the temporary directory: %v, %v", files, err)
	}
}

// TestCompareRoundsUntilSure runs rounds on real servers, of which B has three times the visits, until that is sure.
func TestCompareRoundsUntilSure(t *testing.T) {
	t.Parallel()
	if os.Getenv("ISUKIT_TEST_LONG") == "" {
		t.Skip("two minutes of rounds; TestCompareUntilSure does the same with quicker programs (ISUKIT_TEST_LONG=1 runs it)")
	}
	engine := infratest.Engines(t)[0]
	dir, state := t.TempDir(), testStateDir(t)
	cmd := isukitCommand(t, dir, state, "compare", "round=--shape rate=20", "round=--shape rate=60", "--until-sure", "--metrics", "hits",
		"--warmup", "0", "--repeats", "0", "--budget", "4m", "--json", "--both", strings.Join(smallRound(t, engine, "1s")[1:], " "))
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	var c compare.Comparison
	if jsonErr := json.Unmarshal(out.Bytes(), &c); err != nil || jsonErr != nil || len(c.Metrics) != 1 {
		t.Fatalf("%v, %v\n%s%s", err, jsonErr, out.String(), said.String())
	}
	m := c.Metrics[0]
	if m.Verdict != compare.Better || m.Ratio < 1.5 || c.Pairs < compare.MinPairs || c.Pairs > 12 {
		t.Errorf("%s after %d pairs, ratio %.2f, want better within 12\n%s", m.Verdict, c.Pairs, m.Ratio, said.String())
	}
	entries, err := result.List(filepath.Join(dir, "results"))
	if err != nil || len(entries) != 2*c.Pairs {
		t.Errorf("%d rounds are kept, %v, want %d", len(entries), err, 2*c.Pairs)
	}
	if l := left(t, state); len(l) > 0 || len(runs(t, state)) > 0 {
		t.Errorf("left behind: %q %q", l, runs(t, state))
	}
}

// interruptAfter starts cmd, sends it a Ctrl-C once so many lines of its standard error hold what is awaited, and returns
// all that it wrote there.
func interruptAfter(t *testing.T, cmd *exec.Cmd, awaited string, times int) string {
	t.Helper()
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		fmt.Fprintln(&seen, lines.Text())
		if strings.Contains(lines.Text(), awaited) {
			if times--; times == 0 {
				if err := cmd.Process.Signal(os.Interrupt); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	_ = cmd.Wait() // the exit code is looked at
	return seen.String()
}

// checkSession wants the pair's rounds kept, with their hits, and each with the app of its side; and no work tree.
func checkSession(t *testing.T, dir string) {
	t.Helper()
	entries, err := result.List(filepath.Join(dir, "results"))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("%d rounds were kept, want 2", len(entries))
	}
	for _, e := range entries {
		if e.Err != nil || !e.Round.Passed || e.Round.Noise.LoadAverageBefore < 0 {
			t.Errorf("round %s: %+v, %v", e.ID, e.Round, e.Err)
		}
		if st, err := os.Stat(filepath.Join(e.Path, round.HitsFile)); err != nil || st.Size() < 100 {
			t.Errorf("hit log of %s: %v", e.ID, err)
		}
	}
	out, err := exec.Command("git", "-C", dir, "worktree", "list").Output()
	if err != nil || strings.Count(string(out), "\n") != 1 {
		t.Errorf("work trees are left: %v\n%s", err, out)
	}
}
