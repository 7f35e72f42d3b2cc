package compare

import (
	"errors"
	"fmt"
	"slices"
)

// Comparison is the outcome for all metrics.
type Comparison struct {
	A SideSummary `json:"a"`
	B SideSummary `json:"b"`
	// Pairs is how many pairs of rounds took part; Interleaved: the rounds of each pair ran back to back.
	Pairs       int  `json:"pairs"`
	Interleaved bool `json:"interleaved"`
	// Method names the test, Correction what was done for several metrics.
	Method     string  `json:"method"`
	Correction string  `json:"correction"`
	Alpha      float64 `json:"alpha"`
	// SameWithin is the relative difference below which sides count as the same.
	SameWithin  float64      `json:"same_within"`
	Metrics     []Metric     `json:"metrics"`
	Differences []Difference `json:"differences,omitempty"`
	Warnings    []string     `json:"warnings,omitempty"`
}

// SideSummary names a side and its rounds, in the order in which they ran.
type SideSummary struct {
	Name   string   `json:"name"`
	Rounds []string `json:"rounds"`
}

// Metric is the outcome for one metric.
type Metric struct {
	Name           string `json:"name"`
	Unit           string `json:"unit"`
	HigherIsBetter bool   `json:"higher_is_better"`
	Estimate
	// PCorrected is P after the correction; it is what is held against alpha.
	PCorrected float64 `json:"p_corrected"`
	Verdict    Verdict `json:"verdict"`
	// Why says in a few words what kept the metric undecided.
	Why string `json:"why,omitempty"`
	// MorePairs is about how many pairs an undecided metric is short of; MaxPairs means that no sensible number will do.
	MorePairs int `json:"more_pairs,omitempty"`
	// SmallestRatio is the smallest effect that these pairs find in 4 of 5 cases, as a ratio above 1; 0 if they find none.
	SmallestRatio float64 `json:"smallest_ratio,omitempty"`
	// ValuesA and ValuesB are the figures of the pairs, BFirst which of the two ran first.
	ValuesA []float64 `json:"values_a"`
	ValuesB []float64 `json:"values_b"`
	BFirst  []bool    `json:"b_first"`
}

// ErrNoPairs says that not one pair of passed rounds is left to compare.
var ErrNoPairs = errors.New("no pair of passed rounds")

// Rounds compares two sides.
func Rounds(a, b Side, o Options) (*Comparison, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	pairs, interleaved, warnings := pairUp(a, b)
	if len(pairs) == 0 {
		return nil, fmt.Errorf("compare %s with %s: %w", a.Name, b.Name, ErrNoPairs)
	}
	if len(pairs) > MaxPairs {
		return nil, fmt.Errorf("compare %s with %s: %d pairs, at most %d", a.Name, b.Name, len(pairs), MaxPairs)
	}
	c := &Comparison{A: summary(a), B: summary(b), Pairs: len(pairs), Interleaved: interleaved, Alpha: o.Alpha, SameWithin: o.Same,
		Method: "exact sign-flip test of paired rounds' signed ranks", Differences: differences(a, b)}
	if o.Sequential {
		c.Method = "sequential test by betting on paired rounds' signs, right whenever one looks"
	}
	c.Warnings = append(warnings, doubts(a, b)...)
	for _, m := range chosen(o, pairs) {
		c.add(m, pairs, o)
	}
	c.judge(o)
	return c, nil
}

// add estimates one metric; one that a round lacks is reported and left out.
func (c *Comparison) add(m metric, pairs []pair, o Options) {
	out := Metric{Name: m.name, Unit: m.unit, HigherIsBetter: m.higherIsBetter}
	for _, p := range pairs {
		va, vb := m.of(p.a), m.of(p.b)
		if !(va > 0 && vb > 0) {
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s is not compared, because it is 0 in some rounds", m.name))
			return
		}
		if m.name == "errors" && p.a.All.Errors+p.b.All.Errors == 0 {
			vb = va // none in both: no difference, regardless of the requests
		}
		out.ValuesA, out.ValuesB, out.BFirst = append(out.ValuesA, va), append(out.ValuesB, vb), append(out.BFirst, p.bFirst)
	}
	if m.name == "errors" && !slices.ContainsFunc(pairs, func(p pair) bool { return p.a.All.Errors+p.b.All.Errors > 0 }) {
		return
	}
	out.Estimate = Paired(out.ValuesA, out.ValuesB, o)
	c.Metrics = append(c.Metrics, out)
}

// judge corrects for the number of metrics and gives the verdicts.
func (c *Comparison) judge(o Options) {
	c.Correction = "none, there is one metric"
	if len(c.Metrics) > 1 {
		c.Correction = fmt.Sprintf("Holm over %d metrics", len(c.Metrics))
	}
	p := make([]float64, len(c.Metrics))
	for i, m := range c.Metrics {
		p[i] = m.P
	}
	for i, corrected := range holm(p) {
		m := &c.Metrics[i]
		// What a metric's p-value has to reach when it is the clearest of all.
		alpha := o.Alpha / float64(len(c.Metrics))
		m.PCorrected = corrected
		bothFirst := slices.Contains(m.BFirst, true) && slices.Contains(m.BFirst, false)
		m.Verdict = m.decide(corrected, m.HigherIsBetter, bothFirst, o)
		m.SmallestRatio = m.Smallest(alpha)
		if !c.Interleaved {
			m.Verdict, m.Why = Undecided, "not interleaved"
			continue
		}
		if m.Verdict == Undecided {
			m.Why, m.MorePairs = m.why(corrected, o), m.Estimate.MorePairs(alpha, o.Same)
		}
	}
}

// why is the condition for a verdict that is not met.
func (m Metric) why(p float64, o Options) string {
	switch {
	case m.Pairs < MinPairs:
		return fmt.Sprintf("fewer than %d pairs", MinPairs)
	case p > o.Alpha:
		return "may be chance"
	case m.Low <= 1 && m.High >= 1:
		return "the interval contains 1"
	}
	return "no more than a side differs from itself"
}

func summary(s Side) SideSummary {
	out := SideSummary{Name: s.Name, Rounds: []string{}}
	for _, r := range byTime(s.Rounds) {
		out.Rounds = append(out.Rounds, r.ID)
	}
	return out
}
