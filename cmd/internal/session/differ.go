package session

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
)

// Asked is what a side asks for: its kind (topology, tune, commit, round, run or command) and the value, "none" of tune being "".
type Asked struct{ Kind, Value string }

// proofs are the facts that show what a kind of side changes; a kind without any may show in each.
var proofs = map[string][]string{
	"topology": {"topology", "topology_hash"},
	"tune":     {"tunings"},
	"commit":   {"app_binary", "commit"},
}

// Differ holds the records of a round of each side against what was asked of them. The error says that they are equal in what was to be
// compared: what follows would compare a thing with itself. Sides that ask for the same, to see how a thing differs from itself, and
// commands, of which isukit records nothing but what they print, are let pass.
func Differ(asked [2]Asked, a, b *result.Round) error {
	if asked[0] == asked[1] || asked[0].Kind == "command" || asked[1].Kind == "command" {
		return nil
	}
	keys := append(slices.Clone(proofs[asked[0].Kind]), proofs[asked[1].Kind]...)
	if len(proofs[asked[0].Kind]) == 0 || len(proofs[asked[1].Kind]) == 0 {
		keys = nil
	}
	if missing := lacking(asked[0], a) + lacking(asked[1], b); missing != "" {
		return same(missing)
	}
	if different(keys, a, b) {
		return nil
	}
	if keys == nil {
		return same(fmt.Sprintf("A asks for %s and B for %s, yet nothing that isukit records of their rounds differs", asked[0], asked[1]))
	}
	shown := keys[0] + " is not recorded"
	for _, k := range keys {
		if v := factOf(a, k); v != "" {
			shown = fmt.Sprintf("%s is %s in both", k, v)
			break
		}
	}
	return same(fmt.Sprintf("A asks for %s and B for %s, yet their rounds are equal in that: %s", asked[0], asked[1], shown))
}

func same(text string) error {
	return ui.UsageError(errors.New(text), "a comparison of a thing with itself says nothing of a change. isukit show prints the facts of both rounds; "+
		"facts: of an isukit.yaml adds what isukit does not record by itself")
}

func (a Asked) String() string { return a.Kind + "=" + a.Value }

// lacking says which tuning that was asked for a round does not name; "" when it has them.
func lacking(asked Asked, r *result.Round) string {
	if asked.Kind != "tune" || asked.Value == "" {
		return ""
	}
	if factOf(r, "tunings") == "" {
		return fmt.Sprintf("%s was asked for, and round %s ran without tunings", asked, r.ID)
	}
	return ""
}

// different tells that two rounds differ in one of the facts; in any fact, setting or size of the load where keys is nil.
func different(keys []string, a, b *result.Round) bool {
	if keys != nil {
		return slices.ContainsFunc(keys, func(k string) bool { return factOf(a, k) != factOf(b, k) })
	}
	if a.Topology != b.Topology || a.Scenario != b.Scenario || a.Seed != b.Seed {
		return true
	}
	if !a.Observed() && a.LoadSeconds != b.LoadSeconds {
		return true
	}
	return described(a) != described(b)
}

// described are the facts and settings of a round as one text, in an order of their own.
func described(r *result.Round) string {
	var lines []string
	for _, f := range r.Facts {
		if f.Key == "uncommitted" {
			continue // it counts files, among them the records of the rounds before
		}
		lines = append(lines, f.Key+"\x00"+f.Value)
	}
	for _, s := range r.Settings {
		if s.Source == "tables" {
			continue // how much data there is changes with every round
		}
		for k, v := range s.Values {
			lines = append(lines, s.Host+"\x00"+s.Source+"\x00"+k+"\x00"+v)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func factOf(r *result.Round, key string) string {
	if key == "topology" {
		return r.Topology
	}
	for _, f := range r.Facts {
		if f.Key == key {
			return f.Value
		}
	}
	return ""
}
