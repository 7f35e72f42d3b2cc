package session

import (
	"errors"
	"fmt"
	"maps"
	"slices"

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

// Proof holds the rounds of two sides against what was asked of them, one after the other.
type Proof struct {
	Asked [2]Asked
	// told are what the passed rounds of each side have told so far, by key. What a side tells in two ways drifts, and shows nothing.
	told [2]map[string]told
}

type told struct {
	value  string
	drifts bool
}

// Add takes one more round. It is an error if the sides do not differ in what is compared: further rounds would compare a thing with
// itself. Allowed are sides with the same options, which measure noise, and commands, of which isukit only records the output.
func (p *Proof) Add(side int, r *result.Round) error {
	if p == nil { // nobody asks
		return nil
	}
	a, b := p.Asked[0], p.Asked[1]
	if a == b || a.Kind == "command" || b.Kind == "command" || !r.Passed {
		return nil
	}
	if missing := lacking(p.Asked[side], r); missing != "" {
		return same(missing)
	}
	p.take(side, r)
	if p.told[0] == nil || p.told[1] == nil {
		return nil
	}
	keys := append(slices.Clone(proofs[a.Kind]), proofs[b.Kind]...)
	anything := len(proofs[a.Kind]) == 0 || len(proofs[b.Kind]) == 0
	if anything {
		keys = append(slices.Collect(maps.Keys(p.told[0])), slices.Collect(maps.Keys(p.told[1]))...)
	}
	if slices.ContainsFunc(keys, p.differs) {
		return nil
	}
	if anything {
		return same(fmt.Sprintf("A is %s and B is %s, but the records of their rounds do not differ", a, b))
	}
	shown := keys[0] + " is not recorded"
	for _, k := range keys {
		if v := p.told[0][k].value; v != "" {
			shown = fmt.Sprintf("%s is %s in both", k, v)
			break
		}
	}
	return same(fmt.Sprintf("A is %s and B is %s, but their rounds do not differ in that: %s", a, b, shown))
}

// differs tells that a key has one value on one side and another one on the other.
func (p *Proof) differs(key string) bool {
	a, b := p.told[0][key], p.told[1][key]
	return a.value != b.value && !a.drifts && !b.drifts
}

// take adds what a round tells.
func (p *Proof) take(side int, r *result.Round) {
	now := describe(r)
	if p.told[side] == nil {
		p.told[side] = map[string]told{}
		for k, v := range now {
			p.told[side][k] = told{value: v}
		}
		return
	}
	for k := range now {
		if before := p.told[side][k]; before.value != now[k] {
			p.told[side][k] = told{before.value, true}
		}
	}
	for k, before := range p.told[side] {
		if _, ok := now[k]; !ok {
			p.told[side][k] = told{before.value, true}
		}
	}
}

// ErrEqual says that the sides of a comparison are equal in what was to be compared.
var ErrEqual = errors.New("the sides are equal")

func same(text string) error {
	return ui.UsageError(fmt.Errorf("%w: %s", ErrEqual, text), "comparing a side with itself shows no change. isukit show prints the facts of both rounds; "+
		"facts: in isukit.yaml adds more")
}

func (a Asked) String() string { return a.Kind + "=" + a.Value }

// lacking is a tuning that was asked for and that the round does not name, or "".
func lacking(asked Asked, r *result.Round) string {
	if asked.Kind != "tune" || asked.Value == "" {
		return ""
	}
	if describe(r)["tunings"] == "" {
		return fmt.Sprintf("%s was requested, but round %s ran without tunings", asked, r.ID)
	}
	return ""
}

// describe lists what a round records of its setup: facts, settings and the size of the load.
func describe(r *result.Round) map[string]string {
	all := map[string]string{"scenario": r.Scenario, "seed": fmt.Sprint(r.Seed)}
	if !r.Observed() {
		all["load_seconds"] = fmt.Sprint(r.LoadSeconds)
	}
	for _, f := range r.Facts {
		if f.Key != "uncommitted" { // it counts files, among them the records of the rounds before
			all[f.Key] = f.Value
		}
	}
	all["topology"] = r.Topology
	for _, s := range r.Settings {
		if s.Source == "tables" {
			continue // how much data there is changes with every round
		}
		for k, v := range s.Values {
			all[s.Host+" "+s.Source+" "+k] = v
		}
	}
	return all
}
