package experiment

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Space is what a Tuner may choose from: one of several placements, each tuning on or off, and sizes between two ends.
type Space struct {
	// Advice has one entry a placement: the logarithm of what advice expects of it, by any common scale; all 0 where there is none.
	Advice []float64
	// Tunings and Sizes are how many there are of each.
	Tunings, Sizes int
}

// Config is one point of a Space.
type Config struct {
	Placement int    `json:"placement"`
	On        []bool `json:"on"`
	// Sizes are steps from 0 to SizeSteps: from one end of each size's range to the other.
	Sizes []int `json:"sizes"`
}

// SizeSteps is how many steps there are between the ends of a size.
const SizeSteps = 8

// Equal tells that two configurations are the same.
func (c Config) Equal(d Config) bool {
	return c.Placement == d.Placement && slices.Equal(c.On, d.On) && slices.Equal(c.Sizes, d.Sizes)
}

func (c Config) clone() Config {
	return Config{Placement: c.Placement, On: slices.Clone(c.On), Sizes: slices.Clone(c.Sizes)}
}

// Tuner looks for the best configuration that a number of rounds finds. Rounds come in pairs: a candidate against the incumbent, the best
// so far. A Bayesian linear regression on the pairs' log ratios is the belief; candidates are sampled from it (Thompson sampling: S.
// Agrawal and N. Goyal, "Thompson sampling for contextual bandits with linear payoffs", ICML 2013). The last pairs are held back: the best
// against the baseline, and only they measure the gain.
type Tuner struct {
	space     Space
	base      Config
	budget    int // rounds
	explore   int // of them, before the rest confirms
	confirm   int // pairs
	seed      uint64
	rnd       *rand.Rand
	model     *model
	incumbent Config

	current *duel
	trials  []Trial
	chosen  *Config // once exploring is over
	ratios  []float64
	broken  bool // a round of the chosen one failed while confirming
}

type duel struct {
	configs    [2]Config
	candidate  int // which of the two is not the incumbent, or is the chosen one
	half       int
	value      float64
	confirming bool
}

// A search takes LeastSearch rounds at least, of which leastConfirm pairs confirm.
const (
	LeastSearch  = 4 * leastConfirm
	leastConfirm = 6
)

// NewTuner plans a search of at most budget rounds that begins with the baseline; a fifth of them, 6 to 10 pairs, is kept back.
func NewTuner(space Space, base Config, budget int, seed uint64) (*Tuner, error) {
	confirm := max(leastConfirm, min(10, budget/10))
	if budget < LeastSearch {
		return nil, fmt.Errorf("%d rounds: a search takes at least %d, %d of them to confirm what it finds", budget, LeastSearch, 2*leastConfirm)
	}
	t := &Tuner{space: space, base: base, budget: budget, explore: budget - 2*confirm, confirm: confirm, seed: seed, rnd: rand.New(rand.NewPCG(seed, 0xa0707)), incumbent: base}
	t.model = newModel(space)
	return t, nil
}

// Next returns the configuration of the next round, and false when the search is over.
func (t *Tuner) Next() (Config, bool) {
	if t.current == nil && !t.plan() {
		return Config{}, false
	}
	return t.current.configs[t.current.half], true
}

// Shorten makes the search end after at most left further rounds, and returns how many it has then: exploring ends earlier, so that the best can
// still be confirmed.
func (t *Tuner) Shorten(left int) int {
	if over := t.budget - len(t.trials) - max(0, left); over > 0 {
		t.budget, t.explore = t.budget-over, t.explore-over
	}
	return t.budget
}

// plan begins the next pair.
func (t *Tuner) plan() bool {
	if t.chosen == nil && len(t.trials)+2 <= t.explore {
		t.duel(t.candidate(), t.incumbent, false)
		return true
	}
	if t.chosen == nil || t.broken {
		t.chooseFinal()
	}
	left := t.budget - len(t.trials)
	if t.broken || t.chosen.Equal(t.base) || left < 2 || len(t.ratios) >= t.confirm {
		return false
	}
	t.duel(*t.chosen, t.base, true)
	return true
}

// chooseFinal chooses what is confirmed. If it fails and rounds are left, the best without the suspects follows.
func (t *Tuner) chooseFinal() {
	best := t.best()
	again := t.broken && !best.Equal(*t.chosen) && t.budget-len(t.trials) >= 2*leastConfirm
	if t.chosen == nil || again {
		t.chosen, t.broken, t.ratios = &best, false, nil
	}
}

// duel puts a candidate against another configuration, who runs first by coin.
func (t *Tuner) duel(candidate, other Config, confirming bool) {
	t.current = &duel{configs: [2]Config{candidate, other}, confirming: confirming}
	if coin(t.rnd) > 0 {
		t.current.configs, t.current.candidate = [2]Config{other, candidate}, 1
	}
}

// candidate draws what to try next: the best configuration of a world that could be true by what is believed.
func (t *Tuner) candidate() Config {
	c := t.choose(t.model.draw(t.rnd), 0, suspect)
	if c.Equal(t.incumbent) {
		return t.mutate(t.incumbent)
	}
	return c
}

// best is the configuration that is best by the mean of what is believed.
func (t *Tuner) best() Config { return t.choose(t.model.at, worthwhile, doubtful) }

// worthwhile is the least effect, in log units, for which a tuning is kept: what gains nothing can still do harm.
const worthwhile = 0.03

// choose is the best configuration for given effects, without suspects of failures and without tunings whose effect is at most least.
func (t *Tuner) choose(effects []float64, least, doubt float64) Config {
	guilt := t.suspicion()
	c := Config{Placement: t.base.Placement, On: make([]bool, t.space.Tunings), Sizes: make([]int, t.space.Sizes)}
	top := math.Inf(-1)
	for p := range t.space.Advice {
		if e := effects[p]; e > top && (guilt[p] < doubt || p == t.base.Placement) {
			c.Placement, top = p, e
		}
	}
	at := len(t.space.Advice)
	for j := range c.On {
		c.On[j] = effects[at+j] > least && guilt[at+j] < doubt
	}
	at += t.space.Tunings
	for q := range c.Sizes {
		c.Sizes[q] = t.size(q, effects[at+q], effects[at+t.space.Sizes+q], guilt, doubt)
	}
	return c
}

// suspect is the probability of failures above which candidates omit something, doubtful that above which the result does.
const (
	suspect  = 0.5
	doubtful = 0.1
)

// size is the best step of a size with a linear and a square effect.
func (t *Tuner) size(q int, linear, square float64, guilt []float64, doubt float64) int {
	best, top := t.base.Sizes[q], math.Inf(-1)
	for step := range SizeSteps + 1 {
		x := float64(step)/SizeSteps - 0.5
		if v := linear*x + square*x*x; v > top && !t.badSize(q, step, guilt, doubt) {
			best, top = step, v
		}
	}
	return best
}

// ends are the tails of a size that can make rounds fail: from a step up, or down to one.
var ends = []struct{ from, to int }{{SizeSteps, SizeSteps}, {SizeSteps - 1, SizeSteps}, {SizeSteps - 2, SizeSteps}, {0, 0}, {0, 1}}

func (t *Tuner) badSize(q, step int, guilt []float64, doubt float64) bool {
	at := len(t.space.Advice) + t.space.Tunings + q*len(ends)
	sum := 0.0
	for i, e := range ends {
		if step >= e.from && step <= e.to {
			sum += guilt[at+i]
		}
	}
	return sum >= doubt
}

// factors are what can make a round of c fail: its placement, its tunings, its sizes' ends.
func (t *Tuner) factors(c Config) []bool {
	list := make([]bool, 0, len(t.space.Advice)+t.space.Tunings+t.space.Sizes*len(ends))
	for p := range t.space.Advice {
		list = append(list, p == c.Placement)
	}
	list = append(list, c.On...)
	for _, step := range c.Sizes {
		for _, e := range ends {
			list = append(list, step >= e.from && step <= e.to)
		}
	}
	return list
}

func (t *Tuner) suspicion() []float64 {
	return Suspect(len(t.factors(t.base)), t.trials).Each
}

// mutate changes a configuration a little: another placement, one or two tunings, or a size.
func (t *Tuner) mutate(c Config) Config {
	m := c.clone()
	switch u := t.rnd.Float64(); {
	case u < 0.15 && len(t.space.Advice) > 1:
		m.Placement = t.rnd.IntN(len(t.space.Advice))
	case (u < 0.75 || t.space.Sizes == 0) && t.space.Tunings > 0:
		for range 1 + t.rnd.IntN(2) {
			j := t.rnd.IntN(t.space.Tunings)
			m.On[j] = !m.On[j]
		}
	case t.space.Sizes > 0:
		q := t.rnd.IntN(t.space.Sizes)
		m.Sizes[q] = max(0, min(SizeSteps, m.Sizes[q]+int(math.Round(2*t.rnd.NormFloat64()))))
	}
	return m
}

// Add takes the outcome of the round that Next returned: its value (above zero, higher is better), or that it failed.
func (t *Tuner) Add(value float64, failed bool) error {
	c, ok := t.Next()
	if !ok {
		return fmt.Errorf("the search is over")
	}
	if !failed && !(value > 0 && !math.IsInf(value, 0)) {
		return fmt.Errorf("a round's value is %g: it must be greater than 0", value)
	}
	t.trials = append(t.trials, Trial{On: t.factors(c), Failed: failed})
	d := t.current
	switch {
	case failed:
		t.fail(d)
	case d.half == 0:
		d.half, d.value = 1, value
	default:
		t.pairDone(d, value)
	}
	return nil
}

// fail ends a pair with a failed round. While confirming it rejects the chosen one.
func (t *Tuner) fail(d *duel) {
	t.current = nil
	if !d.confirming {
		return
	}
	t.broken = t.broken || d.half == d.candidate
}

// pairDone learns from a whole pair.
func (t *Tuner) pairDone(d *duel, second float64) {
	t.current = nil
	ratio := math.Log(d.value / second)
	if d.candidate == 1 {
		ratio = -ratio
	}
	if d.confirming {
		t.ratios = append(t.ratios, ratio)
		return
	}
	t.model.learn(d.configs[d.candidate], d.configs[1-d.candidate], ratio)
	best := t.best()
	if t.model.better(best, t.incumbent) > leastStep {
		t.incumbent = best
	}
}

// leastStep is by how much, in log units, another configuration has to be better by the mean to become the incumbent.
const leastStep = 0.02

// Search is where a search stands or what it found.
type Search struct {
	Rounds int `json:"rounds"`
	// Exploring is false once the last pairs confirm what was found.
	Exploring bool   `json:"exploring"`
	Best      Config `json:"best"`
	// Believed is the ratio of the best to the baseline by the model: a guess that made the choice, not a result.
	Believed float64 `json:"believed_ratio"`
	// Ratios are the confirming pairs', best to baseline; Rejected says that a round of the best failed meanwhile.
	Ratios   []float64 `json:"confirmed_ratios"`
	Rejected bool      `json:"rejected"`
	// Effects are the model's on the logarithm of the value: placements (by the first), tunings, sizes from end to end.
	Placements []float64 `json:"placements"`
	Tunings    []float64 `json:"tunings"`
	Sizes      []float64 `json:"sizes"`
	// Fails is the probability for each tuning that it makes rounds fail.
	Fails []float64 `json:"fails"`
}

// State returns where the search stands.
func (t *Tuner) State() Search {
	mean, guilt := t.model.at, t.suspicion()
	p, k := len(t.space.Advice), t.space.Tunings
	s := Search{Rounds: len(t.trials), Exploring: t.chosen == nil, Best: t.best(), Rejected: t.broken, Ratios: []float64{},
		Placements: make([]float64, p), Tunings: mean[p : p+k], Sizes: mean[p+k : p+k+t.space.Sizes], Fails: guilt[p : p+k]}
	if t.chosen != nil {
		s.Best = *t.chosen
	}
	for i := range s.Placements {
		s.Placements[i] = mean[i] - mean[0]
	}
	for _, r := range t.ratios {
		s.Ratios = append(s.Ratios, math.Exp(r))
	}
	s.Believed = math.Exp(t.model.better(s.Best, t.base))
	return s
}
