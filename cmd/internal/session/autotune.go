package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"isukit/bench/compare"
	"isukit/bench/experiment"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/infra/topology"
)

// Size is a size of all instances of a role, as a topology's file has it, between two ends.
type Size struct {
	Role string `json:"role"`
	Key  string `json:"key"`
	Low  int64  `json:"low"`
	High int64  `json:"high"`
	// Unit is MiB, or "" for a count.
	Unit string `json:"unit,omitempty"`
}

// ParseSize reads db.buffer_pool=128MiB..512MiB.
func ParseSize(text string) (z Size, err error) {
	name, span, _ := strings.Cut(text, "=")
	low, high, _ := strings.Cut(span, "..")
	z.Role, z.Key, _ = strings.Cut(name, ".")
	if strings.HasSuffix(low, "MiB") && strings.HasSuffix(high, "MiB") {
		z.Unit = "MiB"
	}
	var errs [2]error
	z.Low, errs[0] = strconv.ParseInt(strings.TrimSuffix(low, z.Unit), 10, 64)
	z.High, errs[1] = strconv.ParseInt(strings.TrimSuffix(high, z.Unit), 10, 64)
	if z.Key == "" || errors.Join(errs[:]...) != nil || z.Low < 1 || z.High <= z.Low {
		return z, fmt.Errorf("%q: want ROLE.KEY=LOW..HIGH, for example db.buffer_pool=128MiB..512MiB or web.db_connections=8..64", text)
	}
	return z, nil
}

// At is the size at a step, as a topology's file has it. Steps are even on a logarithmic scale.
func (z Size) At(step int) string {
	v := float64(z.Low) * math.Pow(float64(z.High)/float64(z.Low), float64(step)/experiment.SizeSteps)
	return fmt.Sprintf("%s: %d%s", z.Key, int64(math.Round(v)), z.Unit)
}

// TunePlan is what a search was asked for.
type TunePlan struct {
	ScreenPlan
	Sizes []Size `json:"sizes,omitempty"`
	// Topology is what placements and sizes are set in; nil where neither is searched.
	Topology *topology.Topology `json:"topology,omitempty"`
	// Places are the placements to choose from, today's first.
	Places []Place `json:"places,omitempty"`
}

// Place is one placement, with the hits a second that advice expects of it.
type Place struct {
	Name string `json:"name"`
	round.Placing
	Advised float64 `json:"advised"`
}

// Check reports sizes that no topology has, before anything runs.
func (p TunePlan) Check() error {
	if p.Topology == nil {
		return nil
	}
	for _, step := range []int{0, experiment.SizeSteps} {
		sizes := map[string][]string{}
		for _, z := range p.Sizes {
			if !slices.Contains(topology.Roles(), topology.Role(z.Role)) {
				return fmt.Errorf("--size %s.%s: role %q not found", z.Role, z.Key, z.Role)
			}
			sizes[z.Role] = append(sizes[z.Role], z.At(step))
		}
		if _, err := round.Place(p.Topology, "tuned", round.Placing{Where: round.PlacedOn(p.Topology), Sizes: sizes}); err != nil {
			return err
		}
	}
	return nil
}

// mostPlaces limits the placements of a search, not counting the current one.
const mostPlaces = 8

// Places are the best placements of an advice, after today's.
func (a *Advice) Places() []Place {
	var list []Place
	add := func(n int) {
		p := a.Ranked[n]
		list = append(list, Place{p.Placement.Name, a.where(p.Placement), p.HitsPerSec})
	}
	if a.Today >= 0 {
		add(a.Today)
	}
	for n := range a.Ranked {
		if n != a.Today && len(list) <= mostPlaces {
			add(n)
		}
	}
	return list
}

// TuneResult is what a search found, or what it believes by now.
type TuneResult struct {
	Outcome
	Tunings []string          `json:"tunings"` // in the order of the search's effects
	Places  []string          `json:"places,omitempty"`
	Search  experiment.Search `json:"search"`
	// Best are the best configuration's arguments of isukit round.
	Best []string `json:"best"`
}

// Autotune searches for the best configuration. Its baseline has no tuning, every size at its lower end, and today's placement.
type Autotune struct {
	Screen
	Plan TunePlan
}

// Run plays the search. If it ends early, the result is based on the rounds so far.
func (a *Autotune) Run(ctx context.Context) (*TuneResult, error) {
	a.ScreenPlan = a.Plan.ScreenPlan
	a.value, _ = compare.Value(a.Metric)
	if _, err := a.begin(ctx); err != nil {
		return nil, err
	}
	each := a.buy(0)
	if err := a.enough(experiment.LeastSearch, 2*experiment.LeastSearch, each); err != nil {
		return nil, err
	}
	a.Say("plan: %d tunings, %d sizes, %d placements; %d rounds, including confirmation, seed %d; about %s", len(a.factors), len(a.Plan.Sizes), max(1, len(a.Plan.Places)),
		a.out.Planned, a.Seed, duration(a.out.Planned, each))
	base := experiment.Config{On: make([]bool, len(a.factors)), Sizes: make([]int, len(a.Plan.Sizes))}
	space := experiment.Space{Advice: []float64{0}, Tunings: len(a.factors), Sizes: len(a.Plan.Sizes)}
	out := &TuneResult{Tunings: a.names()}
	if len(a.Plan.Places) > 0 {
		space.Advice = nil
	}
	for _, p := range a.Plan.Places {
		space.Advice, out.Places = append(space.Advice, math.Log(p.Advised)), append(out.Places, p.Name)
	}
	t, err := experiment.NewTuner(space, base, a.out.Planned, a.Seed)
	if err != nil {
		return nil, err
	}
	sides, err := a.search(ctx, t, base)
	if out.Search = t.State(); err == nil && !out.Search.Rejected && len(sides[0].Rounds) > 0 {
		err = a.compare(sides)
	}
	out.Outcome, out.Finished = a.out.Outcome, err == nil
	if best, argsErr := a.args(out.Search.Best); argsErr == nil {
		out.Best = best
	}
	return out, err
}

// search plays all rounds and returns those of the pairs that confirm.
func (a *Autotune) search(ctx context.Context, t *experiment.Tuner, base experiment.Config) (sides [2]compare.Side, err error) {
	sides[0].Name, sides[1].Name = "baseline", "best"
	var last *result.Round
	for n := 1; ; n++ {
		if a.Budget > 0 {
			a.out.Planned = t.Shorten(int((a.Budget - a.Journal.Spent()) / a.each()))
		}
		c, more := t.Next()
		if !more {
			return sides, nil
		}
		args, err := a.args(c)
		if err != nil {
			return sides, err
		}
		stage := "explore"
		if !t.State().Exploring {
			stage = "confirm"
		}
		r, v, err := a.judged(ctx, stage, args)
		if err != nil {
			return sides, err
		}
		if err := t.Add(v, !r.Passed); err != nil {
			return sides, err
		}
		a.tell(fmt.Sprintf("round %d of %d (%s) %s", n, a.out.Planned, stage, a.describe(c)), r)
		now := t.State()
		if now.Exploring && n%10 == 0 && !a.Journal.Replayed() {
			a.Say("estimated best, %+.0f %%, not confirmed: %s", 100*(now.Believed-1), a.describe(now.Best))
		}
		pairs := len(now.Ratios)
		if pairs < len(sides[0].Rounds) {
			sides[0].Rounds, sides[1].Rounds = nil, nil // another configuration is confirmed
		}
		if pairs > len(sides[0].Rounds) {
			pair := [2]*result.Round{r, last}
			if !c.Equal(base) {
				pair = [2]*result.Round{last, r}
			}
			for side := range sides {
				sides[side].Rounds = append(sides[side].Rounds, pair[side])
			}
		}
		last = r
	}
}

// args are arguments of isukit round for a configuration; its topology is written to the journal's directory.
func (a *Autotune) args(c experiment.Config) ([]string, error) {
	args := a.tune(a.factors, c.On)
	if a.Plan.Topology == nil {
		return args, nil
	}
	where := round.Placing{Where: round.PlacedOn(a.Plan.Topology)}
	if len(a.Plan.Places) > 0 {
		where = a.Plan.Places[c.Placement].Placing
	}
	where.Sizes = map[string][]string{}
	for q, z := range a.Plan.Sizes {
		where.Sizes[z.Role] = append(where.Sizes[z.Role], z.At(c.Sizes[q]))
	}
	sum := sha256.Sum256(fmt.Append(nil, where))
	name := fmt.Sprintf("tuned-%x", sum[:4])
	text, err := round.Place(a.Plan.Topology, name, where)
	if err != nil {
		return nil, err
	}
	file := strings.TrimSuffix(a.Journal.Path, ".jsonl") + "-" + name + ".yaml"
	return append(args, "--topology", file), os.WriteFile(file, text, 0o644)
}

// describe says a configuration in words.
func (a *Autotune) describe(c experiment.Config) string {
	var words []string
	if len(a.Plan.Places) > 0 {
		words = append(words, a.Plan.Places[c.Placement].Name)
	}
	for j, f := range a.factors {
		if c.On[j] {
			words = append(words, f.String())
		}
	}
	for q, z := range a.Plan.Sizes {
		words = append(words, z.Role+"."+z.At(c.Sizes[q]))
	}
	if len(words) == 0 {
		return "the baseline"
	}
	return strings.Join(words, ", ")
}
