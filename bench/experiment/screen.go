package experiment

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Screen finds which of several factors (tunings) help, hurt, or make rounds fail. Rounds come in fold-over pairs: a row of the design is
// on, then exactly its complement. The difference of the logarithms of both values is linear in the factors' main effects; drift and all
// interactions of two cancel (Yi, Lilja and Hawkins, HPCA 2003).
//
// Next returns the next round, Add takes its outcome. The plan follows only from the seed and the outcomes.
type Screen struct {
	factors []string
	budget  int // rounds
	rows    [][]int8
	rnd     *rand.Rand
	seed    uint64

	queue   []int // rows that are still to be asked
	first   []int8
	current *pair
	trials  []Trial
	beside  []Trial // rounds outside of the plan
	x       [][]float64
	d       []float64
	off     []bool // quarantined
}

// pair is the one under way.
type pair struct {
	row   int
	half  int // which of its rounds comes next, 0 or 1
	value float64
	off   []bool // what was quarantined when it began
}

// NewScreen plans a screen of the named factors with at most budget rounds.
func NewScreen(factors []string, budget int, seed uint64) (*Screen, error) {
	if budget < 2 {
		return nil, fmt.Errorf("%d rounds: a screen takes at least 2", budget)
	}
	rnd := rand.New(rand.NewPCG(seed, 0x5c4ee2))
	rows, err := foldRows(budget/2, len(factors), rnd)
	if err != nil {
		return nil, err
	}
	s := &Screen{factors: factors, budget: budget, rows: rows, rnd: rnd, seed: seed, off: make([]bool, len(factors))}
	for i := range rows {
		s.queue = append(s.queue, i)
		s.first = append(s.first, coin(rnd))
	}
	return s, nil
}

// Next returns which factors are on in the next round, and false when the screen is over.
func (s *Screen) Next() ([]bool, bool) {
	if s.current == nil {
		if len(s.queue) == 0 || len(s.trials)+2 > s.budget {
			return nil, false
		}
		s.current = &pair{row: s.queue[0], off: append([]bool(nil), s.off...)}
		s.queue = s.queue[1:]
	}
	sign := s.first[s.current.row]
	if s.current.half == 1 {
		sign = -sign
	}
	on := make([]bool, len(s.factors))
	for j, v := range s.rows[s.current.row] {
		on[j] = v*sign > 0 && !s.current.off[j]
	}
	return on, true
}

// Add takes the outcome of Next's round: its value (above zero, higher is better), or a failure, whose partner is left out.
func (s *Screen) Add(value float64, failed bool) error {
	on, ok := s.Next()
	if !ok {
		return fmt.Errorf("the screen of %d rounds is over", s.budget)
	}
	if !failed && !(value > 0 && !math.IsInf(value, 0)) {
		return fmt.Errorf("a round's value is %g: it must be greater than 0", value)
	}
	s.trials = append(s.trials, Trial{On: on, Failed: failed})
	p := s.current
	switch {
	case failed:
		s.queue, s.current = append(s.queue, p.row), nil
		s.quarantine()
	case p.half == 0:
		p.half, p.value = 1, value
	default:
		s.pairDone(p, value)
	}
	return nil
}

// Saw takes a round outside of the plan, which only helps to find who makes rounds fail.
func (s *Screen) Saw(on []bool, failed bool) {
	s.beside = append(s.beside, Trial{On: on, Failed: failed})
}

// pairDone keeps the difference of a whole pair.
func (s *Screen) pairDone(p *pair, value float64) {
	x := make([]float64, len(s.factors))
	for j, v := range s.rows[p.row] {
		if !p.off[j] {
			x[j] = float64(v)
		}
	}
	s.x = append(s.x, x)
	s.d = append(s.d, float64(s.first[p.row])*math.Log(p.value/value))
	s.current = nil
}

// quarantine leaves a factor that surely makes rounds fail off from now on.
func (s *Screen) quarantine() {
	if j := Suspect(len(s.factors), s.trials).Accused(); j >= 0 {
		s.off[j] = true
	}
}

// Rounds is how many rounds there were.
func (s *Screen) Rounds() int { return len(s.trials) }

// Quarantined reports for each factor whether it is left off because it makes rounds fail.
func (s *Screen) Quarantined() []bool { return append([]bool(nil), s.off...) }
