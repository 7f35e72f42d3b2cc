package compare

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"isukit/bench/result"
)

// Side is one of the two that are compared: rounds that ran under one configuration.
type Side struct {
	Name   string
	Rounds []*result.Round
}

type pair struct {
	a, b   *result.Round
	bFirst bool
}

// pairUp sorts both sides by time and pairs their i-th rounds. interleaved: the rounds of each pair ran back to back.
func pairUp(a, b Side) (pairs []pair, interleaved bool, warnings []string) {
	as, bs := byTime(a.Rounds), byTime(b.Rounds)
	if len(as) != len(bs) {
		warnings = append(warnings, fmt.Sprintf("A has %d rounds and B %d: the last ones of the longer side have no partner and are left out", len(as), len(bs)))
	}
	interleaved = true
	var failedA, failedB int
	for i := range min(len(as), len(bs)) {
		p := pair{a: as[i], b: bs[i], bFirst: bs[i].StartedAt.Before(as[i].StartedAt)}
		if i > 0 && !later(p, as[i-1], bs[i-1]) {
			interleaved = false
		}
		if !p.a.Passed || !p.b.Passed {
			failedA += count(!p.a.Passed)
			failedB += count(!p.b.Passed)
			continue
		}
		pairs = append(pairs, p)
	}
	if failedA+failedB > 0 {
		warnings = append(warnings, fmt.Sprintf("failed rounds: %d of A, %d of B; their pairs are left out, and no speed makes up for them", failedA, failedB))
	}
	return pairs, interleaved, append(warnings, orderWarnings(pairs, interleaved)...)
}

func later(p pair, a, b *result.Round) bool {
	for _, r := range []*result.Round{p.a, p.b} {
		if !r.StartedAt.After(a.StartedAt) || !r.StartedAt.After(b.StartedAt) {
			return false
		}
	}
	return true
}

func orderWarnings(pairs []pair, interleaved bool) []string {
	if !interleaved {
		return []string{"the rounds were not interleaved, so what changed on the machine meanwhile looks like a difference: " +
			"nothing is called better or worse"}
	}
	first := 0
	for _, p := range pairs {
		first += count(p.bFirst)
	}
	if len(pairs) >= MinPairs && (first == 0 || first == len(pairs)) {
		return []string{"one side always ran first, so an effect of the order looks like a difference; let chance decide who runs first. " +
			"Only what rises above the floor is called better or worse"}
	}
	return nil
}

func doubts(sides ...Side) []string {
	var warnings []string
	for i, s := range sides {
		limited, disturbed, example := 0, 0, ""
		for _, r := range s.Rounds {
			limited += count(r.Bottleneck.Resource == "generator" || len(r.Generator.Limits) > 0)
			if why := Disturbed(r); len(why) > 0 {
				disturbed, example = disturbed+1, why[0]
			}
		}
		if text := unguarded(s.Rounds); text != "" {
			warnings = append(warnings, fmt.Sprintf("side %c: %s", "AB"[i], text))
		}
		if limited > 0 {
			warnings = append(warnings, fmt.Sprintf("the load generator was, or may have been, the limit in %d of %d rounds of %c: they show how fast the "+
				"generator is", limited, len(s.Rounds), "AB"[i]))
		}
		if disturbed > 0 {
			warnings = append(warnings, fmt.Sprintf("%d of %d rounds of %c were disturbed from outside: %s", disturbed, len(s.Rounds), "AB"[i], example))
		}
	}
	if s := settings(sides); len(s) > 1 {
		warnings = append(warnings, "the rounds had different load settings: "+strings.Join(s, "; "))
	}
	return warnings
}

// guardedSeconds is how long a load lasts at least for the guard against noise: the counters that it reads move in steps of 10 ms.
const guardedSeconds = 1

// unguarded says of how many rounds the guard against noise cannot have measured anything, and how short they were; "" if of none.
func unguarded(rounds []*result.Round) string {
	n, shortest := 0, math.Inf(1)
	for _, r := range rounds {
		if took := r.LoadTook(); took < guardedSeconds || len(r.Hosts) == 0 {
			n, shortest = n+1, min(shortest, took)
		}
	}
	switch {
	case n == 0:
		return ""
	case shortest >= guardedSeconds:
		return fmt.Sprintf("no host was measured in %d of %d rounds, so what disturbed them from outside is not seen", n, len(rounds))
	}
	return fmt.Sprintf("%d of %d rounds are too short (%.2g s) for the guard against noise, and start-up is a part of what is compared: let each last for seconds",
		n, len(rounds), shortest)
}

// settings are the different loads that the rounds asked for. A command lasts as long as it does.
func settings(sides []Side) []string {
	var all []string
	for _, s := range sides {
		for _, r := range s.Rounds {
			if r.Metrics != nil {
				continue
			}
			if text := fmt.Sprintf("%s for %g s", r.Scenario, r.LoadSeconds); !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	}
	return all
}

// Difference is a fact that A and B do not share.
type Difference struct {
	Key string `json:"key"`
	// A and B are the values, several of one side joined by " | ", "" where there is none.
	A string `json:"a"`
	B string `json:"b"`
}

// differences lists what distinguishes the sides' conditions; that is what the comparison is about.
func differences(a, b Side) []Difference {
	values := [2]map[string][]string{factsOf(a), factsOf(b)}
	var keys []string
	for _, side := range values {
		for k := range side {
			if !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
	}
	slices.Sort(keys)
	var list []Difference
	for _, k := range keys {
		if once := len(values[0][k])+len(values[1][k]) == len(a.Rounds)+len(b.Rounds) && len(a.Rounds) > 1; once {
			continue // another value in every round, for example a port: it belongs to the round and not to the side
		}
		if !slices.Equal(values[0][k], values[1][k]) {
			list = append(list, Difference{Key: k, A: strings.Join(values[0][k], " | "), B: strings.Join(values[1][k], " | ")})
		}
	}
	return list
}

// factsOf collects the different values of every fact, sorted; the topology counts as one.
func factsOf(s Side) map[string][]string {
	facts := map[string][]string{}
	add := func(k, v string) {
		if !slices.Contains(facts[k], v) {
			facts[k] = append(facts[k], v)
			slices.Sort(facts[k])
		}
	}
	for _, r := range s.Rounds {
		add("topology", r.Topology)
		for _, f := range r.Facts {
			add(f.Key, f.Value)
		}
	}
	return facts
}

func byTime(rounds []*result.Round) []*result.Round {
	sorted := slices.Clone(rounds)
	slices.SortStableFunc(sorted, func(x, y *result.Round) int { return x.StartedAt.Compare(y.StartedAt) })
	return sorted
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
