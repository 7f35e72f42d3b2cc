package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"isukit/app/dataset"
	"isukit/bench"
	"isukit/bench/load"
	"isukit/bench/scenario"
	"isukit/cmd/internal/round"
	"isukit/infra"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
	"isukit/infra/topology"
)

// upSmall starts the default topology with the small dataset; it is gone at the end of the test.
func upSmall(t *testing.T, engine string) (*infra.Running, *dataset.Data) {
	t.Helper()
	return up(t, smallSpec(t, engine))
}

func up(t *testing.T, spec infra.Spec) (*infra.Running, *dataset.Data) {
	t.Helper()
	driver, err := round.OpenDriver("local", spec.StateDir, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := driver.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	site := infra.NewSite(driver, spec)
	if _, err := site.Apply(t.Context(), infra.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	running, err := site.Running(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data, err := dataset.Generate(spec.Seed, dataset.Scale(spec.Scale))
	if err != nil {
		t.Fatal(err)
	}
	return running, data
}

func smallSpec(t *testing.T, engine string) infra.Spec {
	t.Helper()
	top, err := infra.Shipped("single")
	if err != nil {
		t.Fatal(err)
	}
	if top, err = top.WithKind(topology.DB, topology.Kind(engine)); err != nil {
		t.Fatal(err)
	}
	bin := buildBinaries(t)
	return infra.Spec{
		Topology: top, StateDir: testStateDir(t), LocalDir: infratest.Root(t) + "/.local", AppBinary: bin + "/isukit-app",
		Scale: string(dataset.Small), Seed: 1,
	}
}

// loadOnly leaves validate out: these tests are about what the load and the check see.
type loadOnly struct{ *scenario.Portal }

func (loadOnly) Validate(context.Context) ([]string, error) { return nil, nil }

// patient is how long users wait for an answer where the test is not about that: no slow machine has them give up.
const patient = wait.Limit

// playSmall plays a short round with a fixed number of users on what web serves; before runs when the load begins.
func playSmall(t *testing.T, running *infra.Running, data *dataset.Data, web string, patience time.Duration, seconds float64, before func(p *scenario.Portal)) *bench.Outcome {
	t.Helper()
	top, err := infra.Shipped("single")
	if err != nil {
		t.Fatal(err)
	}
	return playOn(t, running, top, data, web, patience, seconds, before)
}

func playOn(t *testing.T, running *infra.Running, top *topology.Topology, data *dataset.Data, web string, patience time.Duration, seconds float64, before func(p *scenario.Portal)) *bench.Outcome {
	t.Helper()
	engine := load.NewEngine(load.Options{RequestTimeout: patience})
	portal, err := round.NewPortal(engine, web, running.WorkerToken, data, scenario.Everyone)
	if err != nil {
		t.Fatal(err)
	}
	out, err := bench.Run(t.Context(), bench.Options{
		Scenario: round.WithReplicas(loadOnly{portal}, running, top), Engine: engine, Shape: load.Users{N: 48}, Duration: time.Duration(seconds * float64(time.Second)),
		OnPhase: func(p bench.Phase) {
			if p == bench.Load {
				before(portal)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestWrongAppsAreCaught puts a proxy that is wrong in one way before a right app, for the load phase. Each kind must fail
// the round or cost points, and be named.
func TestWrongAppsAreCaught(t *testing.T) {
	t.Parallel()
	engines := infratest.Engines(t)
	tests := []struct {
		kind  wrong
		every int64
		names string // what a message must say
	}{
		{wrongDrop, 10, "connection closed before the answer"},
		{wrongDelay, 40, "no answer in time"},
		{wrongTruncate, 10, "body ended"},
		{wrongDuplicate, 2, "twice"},
		{wrongDuplicateAnswer, 10, "unexpected bytes after the answer"},
		{wrongStale, 3, "acknowledged"},
		{wrongSwap, 3, "another team's"},
	}
	for i, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			running, data := upSmall(t, engine)
			for n, tt := range tests {
				// One engine sees every kind; the faults lie before the app, so that the others see every other one.
				if i > 0 && n%2 == 0 {
					continue
				}
				t.Run(string(tt.kind), func(t *testing.T) {
					patience := patient
					if tt.kind == wrongDelay {
						patience = 2 * time.Second // the proxy's delay is longer
					}
					// On a slow machine users come to less in the same time.
					for seconds := 4.0; ; seconds *= 2 {
						proxy, url := startWrongProxy(t, tt.kind, tt.every, running.BaseURL)
						out := playSmall(t, running, data, url, patience, seconds, func(*scenario.Portal) { proxy.armed.Store(true) })
						missed := missed(out, proxy.hurt.Load(), tt.names)
						if missed == "" {
							return
						}
						if seconds >= 32 {
							t.Fatal(missed)
						}
						t.Logf("in %g s: %s", seconds, missed)
					}
				})
			}
			t.Run("right", func(t *testing.T) {
				proxy, url := startWrongProxy(t, wrongSwap, 1, running.BaseURL) // never armed
				out := playSmall(t, running, data, url, patient, 3, func(*scenario.Portal) {})
				if !out.Passed() || out.Summary.Total.Errors != 0 || proxy.hurt.Load() != 0 {
					t.Errorf("a right app: reason %q, errors %v", out.Reason, out.Summary.Errors)
				}
			})
		})
	}
}

// missed is empty where the round has failed or lost points, with a message that has the words names.
func missed(out *bench.Outcome, hurt int64, names string) string {
	var texts []string
	for _, g := range out.Summary.Errors {
		texts = append(texts, g.Kind.String()+": "+g.Text+" ("+g.Example+")")
	}
	for _, f := range out.Faults {
		texts = append(texts, f.Phase+": "+f.Text)
	}
	lost := int64(0)
	for _, l := range out.Score.Lines {
		lost += min(0, l.Points)
	}
	if hurt == 0 {
		return "the proxy hurt nothing: the test shows nothing"
	}
	if out.Passed() && lost == 0 {
		return fmt.Sprintf("%d answers were wrong, and the round passed without losing a point", hurt)
	}
	if all := strings.Join(texts, "\n"); !strings.Contains(all, names) {
		return fmt.Sprintf("no message says %q:\n%s", names, all)
	}
	return ""
}

// TestTwoRoundsPlanTheSame plays two rounds with one seed on real servers and compares what each user planned, step by
// step, as far as both got.
func TestTwoRoundsPlanTheSame(t *testing.T) {
	t.Parallel()
	engine := infratest.Engines(t)[0]
	running, data := upSmall(t, engine)
	var plans [2]map[int][]string
	for i := range plans {
		var mu sync.Mutex
		plans[i] = map[int][]string{}
		out := playSmall(t, running, data, running.BaseURL, patient, 3, func(p *scenario.Portal) {
			p.OnStep = func(user int, s scenario.Step) {
				mu.Lock()
				defer mu.Unlock()
				plans[i][user] = append(plans[i][user], s.String())
			}
		})
		if !out.Passed() {
			t.Fatal(out.Reason, out.Faults)
		}
	}
	if len(plans[0]) != 48 || len(plans[1]) != 48 {
		t.Fatalf("%d and %d users planned, want 48 in each round", len(plans[0]), len(plans[1]))
	}
	compared := 0
	for user, first := range plans[0] {
		second := plans[1][user]
		for n := range min(len(first), len(second)) {
			compared++
			if first[n] != second[n] {
				t.Fatalf("user %d, step %d: %s in one round, %s in the other", user, n, first[n], second[n])
			}
		}
	}
	if compared < 150 {
		t.Errorf("only %d steps were compared", compared)
	}
}
