package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"isukit/bench/external"
	"isukit/bench/result"
)

// printedScore is a way in which a benchmark prints a score.
type printedScore struct {
	Name, Stdout, Stderr, Refused string
	Score                         float64
}

// TestScoresAgree runs every way in which benchmarks print a score through round, observe and compare: each of them reads the same, or
// refuses it.
func TestScoresAgree(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../bench/external/testdata/scores.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []printedScore
	if err := json.Unmarshal(text, &cases); err != nil || len(cases) < 60 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	atOnce := make(chan struct{}, 16) // most of a round is waiting for the clock's next second
	var all sync.WaitGroup
	for _, c := range cases {
		all.Go(func() {
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			c.check(t)
		})
	}
	all.Wait()
}

func (c printedScore) check(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "out"), c.Stdout)
	write(t, filepath.Join(dir, "err"), c.Stderr)
	command := fmt.Sprintf("cd %s; cat out; cat err >&2", dir)
	want := fmt.Sprint(c.Score)
	if c.Refused != "" {
		want = "refused"
	}
	if got := c.ofRound(t, dir, command); got != want {
		t.Errorf("%s: round: %q gives %s, want %s", c.Name, c.Stdout+c.Stderr, got, want)
	}
	// Ratios are compared, so only values above 0 are allowed there.
	if got := c.ofCompare(t, dir, command); got != want && !(c.Score <= 0 && got == "refused") {
		t.Errorf("%s: compare: %q gives %s, want %s", c.Name, c.Stdout+c.Stderr, got, want)
	}
	got := "refused"
	if v, err := external.ReadScore(c.Stdout + c.Stderr); err == nil { // as observe takes it
		got = fmt.Sprint(v)
	}
	if got != want {
		t.Errorf("%s: observe: %q gives %s, want %s", c.Name, c.Stdout+c.Stderr, got, want)
	}
}

// scoreKept is the score of a record, "refused" for one without.
func scoreKept(r *result.Round) string {
	if v, ok := r.Metrics["score"]; ok {
		return fmt.Sprint(v)
	}
	if len(r.Score.Lines) == 0 {
		return "refused"
	}
	return fmt.Sprint(float64(r.Score.Total))
}

func (c printedScore) ofRound(t *testing.T, dir, command string) string {
	file := filepath.Join(dir, "isukit.yaml")
	quoted, err := json.Marshal(command)
	if err != nil {
		t.Error(err)
	}
	write(t, file, "name: scores\nbenchmark: {command: "+string(quoted)+"}\n")
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"round", "--project", file, "--results", filepath.Join(dir, "rounds"), "--state-dir", filepath.Join(dir, "state"), "--json", "-q"},
		streams{strings.NewReader(""), &out, &errs})
	var r result.Round
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Errorf("%s: round: exit %d, %v\n%s", c.Name, code, err, errs.String())
	}
	if r.Passed != (c.Refused == "") || !strings.Contains(r.Reason, c.Refused) {
		t.Errorf("%s: round: passed %v, %q, want the reason %q", c.Name, r.Passed, r.Reason, c.Refused)
	}
	return scoreKept(&r)
}

func (c printedScore) ofCompare(t *testing.T, dir, command string) string {
	results := filepath.Join(dir, "compared")
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"compare", "command=" + command, "command=" + command + " ", "--rounds", "1", "--warmup", "0", "--repeats", "0", "--results", results,
		"--state-dir", filepath.Join(dir, "state"), "-q"}, streams{strings.NewReader(""), &out, &errs})
	entries, err := result.List(results)
	if err != nil {
		t.Error(err)
	}
	if len(entries) > 0 && entries[0].Err == nil {
		return scoreKept(entries[0].Round)
	}
	if code == 0 || c.Refused != "" && !strings.Contains(c.Refused, "no score") && !strings.Contains(errs.String(), c.Refused) {
		t.Errorf("%s: compare: exit %d without a round, %q, want the reason %q", c.Name, code, errs.String(), c.Refused)
	}
	return "refused"
}
