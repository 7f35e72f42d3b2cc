package session

import (
	"errors"
	"strings"
	"testing"

	"isukit/bench/result"
)

// TestDiffer holds which rounds are a comparison of a thing with itself.
func TestDiffer(t *testing.T) {
	round := func(topology string, facts ...string) *result.Round {
		r := &result.Round{ID: "r", Topology: topology, Scenario: "portal", LoadSeconds: 10}
		for i := 0; i < len(facts); i += 2 {
			r.Facts = append(r.Facts, result.Fact{Key: facts[i], Value: facts[i+1]})
		}
		return r
	}
	none, tuned := Asked{"tune", ""}, Asked{"tune", "mysql/memory"}
	for _, tt := range []struct {
		name string
		a, b Asked
		ra   *result.Round
		rb   *result.Round
		want string // "" is a comparison
	}{
		{"tuned", none, tuned, round("single"), round("single", "tunings", "mysql/memory"), ""},
		{"a tuning that was dropped", none, tuned, round("single"), round("single"), "mysql/memory was requested"},
		{"tuned on both sides", none, tuned, round("single", "tunings", "mysql/memory"), round("single", "tunings", "mysql/memory"), "tunings is mysql/memory in both"},
		{"two tunings", Asked{"tune", "a"}, Asked{"tune", "b"}, round("single", "tunings", "a"), round("single", "tunings", "b"), ""},
		{"topologies", Asked{"topology", "single"}, Asked{"topology", "final-1"}, round("single"), round("final-1"), ""},
		{"one topology twice", Asked{"topology", "x.yaml"}, Asked{"topology", "y.yaml"}, round("x", "topology_hash", "1"), round("x", "topology_hash", "1"), "topology is x in both"},
		{"commits", Asked{"commit", "a"}, Asked{"commit", "b"}, round("single", "app_binary", "1"), round("single", "app_binary", "2"), ""},
		{"commits that build the same", Asked{"commit", "a"}, Asked{"commit", "b"}, round("single", "app_binary", "1"), round("single", "app_binary", "1"), "app_binary is 1 in both"},
		{"arguments", Asked{"round", "--users 5"}, Asked{"round", ""}, round("single", "shape", "users=5"), round("single", "shape", "grow"), ""},
		{"arguments without effect", Asked{"round", "--users 5"}, Asked{"round", ""}, round("single"), round("single"), "the records of their rounds do not differ"},
		{"commands between rounds", Asked{"run", "./a"}, Asked{"run", "./b"}, round("app"), round("app"), "the records of their rounds do not differ"},
		{"commands that leave only records behind", Asked{"run", "./a"}, Asked{"run", "./b"}, round("app", "uncommitted", "1 files"), round("app", "uncommitted", "2 files"), "the records of their rounds do not differ"},
		{"other settings", Asked{"run", "./a"}, Asked{"run", "./b"}, round("app", "index", "0"), round("app", "index", "1"), ""},
		{"the same on purpose", none, none, round("single"), round("single"), ""},
		{"commands", Asked{"command", "a"}, Asked{"command", "b"}, round("command"), round("command"), ""},
	} {
		tt.ra.Passed, tt.rb.Passed = true, true
		p := Proof{Asked: [2]Asked{tt.a, tt.b}}
		err := errors.Join(p.Add(0, tt.ra), p.Add(1, tt.rb))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestDriftProvesNothing has rounds whose facts are other ones each time: they pass for a difference once, and no longer.
func TestDriftProvesNothing(t *testing.T) {
	p := Proof{Asked: [2]Asked{{"run", "./a"}, {"run", "./b"}}}
	add := func(side int, clock, index string) error {
		return p.Add(side, &result.Round{ID: "r", Topology: "app", Passed: true, Facts: []result.Fact{{Key: "clock", Value: clock}, {Key: "index", Value: index}}})
	}
	if err := errors.Join(add(0, "1", "no"), add(1, "2", "no")); err != nil {
		t.Errorf("after a round of each side: %v", err)
	}
	if err := errors.Join(add(1, "3", "no"), add(0, "4", "no")); !errors.Is(err, ErrEqual) {
		t.Errorf("after two rounds of each side: %v, want %v", err, ErrEqual)
	}
	p.told = [2]map[string]told{}
	for n, clock := range []string{"1", "2", "3", "4", "5", "6"} {
		if err := add(n%2, clock, []string{"no", "yes"}[n%2]); err != nil {
			t.Errorf("with an index on one side, round %d: %v", n, err)
		}
	}
}
