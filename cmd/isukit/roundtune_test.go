package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/infra/infratest"
	"isukit/infra/tune"
)

// TestRoundTunings plays a round on a topology that names a tuning, with another one by --tune: both are applied, recorded and reverted,
// and the deployed topology is as it was applied.
func TestRoundTunings(t *testing.T) {
	t.Parallel()
	engine := infratest.Engines(t)[0]
	dir, state := t.TempDir(), testStateDir(t)
	local := []string{"--local-dir", filepath.Join(infratest.Root(t), ".local")}
	single, err := os.ReadFile(filepath.Join(infratest.Root(t), "infra/topologies/single.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "top.yaml"), string(single)+"tunings: [mysql/io-capacity]\n")
	var out, errs bytes.Buffer
	cmd := isukitCommand(t, dir, state, append(smallRound(t, engine, "1s"), "--json", "-t", "top.yaml", "--driver", "local", "--tune", "mysql/durability-relaxed,nginx/logs-off")...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	defer isukitCommand(t, dir, state, "topology", "down", "--driver", "local").Run()
	var r result.Round
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if fact := (result.Fact{Key: "tunings", Value: "mysql/durability-relaxed, mysql/io-capacity, nginx/logs-off"}); !slices.Contains(r.Facts, fact) {
		t.Errorf("no fact %v among %v", fact, r.Facts)
	}
	if len(r.Access.Routes) > 0 {
		t.Errorf("nginx logged %d routes during the round; nginx/logs-off was applied", len(r.Access.Routes))
	}
	for _, want := range []string{"reverted: ", "mysql/io-capacity (values: ", "mysql/durability-relaxed (values: ", "nginx/logs-off (values: 1)"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("the round does not say %q:\n%s", want, errs.String())
		}
	}
	for _, args := range [][]string{{"topology", "verify"}, {"tune", "verify"}} {
		said, err := isukitCommand(t, dir, state, append(append(args, "--driver", "local"), local...)...).CombinedOutput()
		if err != nil || args[0] == "tune" && !strings.Contains(string(said), "nothing is applied") {
			t.Errorf("%v after the round: %v\n%s", args, err, said)
		}
	}
}

func TestTakenBackInWords(t *testing.T) {
	got := round.TakenBack(tune.Report{
		{Tuning: "mysql/memory", Key: "a", Did: tune.Reverted}, {Tuning: "nginx/cache", Key: "b", Did: tune.Reverted},
		{Tuning: "mysql/memory", Key: "c", Did: tune.Reverted}, {Tuning: "mysql/memory", Key: "d", Did: tune.Left}, {Did: tune.Settled},
	})
	if want := "mysql/memory (values: 2), nginx/cache (values: 1)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
