package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"isukit/bench/compare"
	"isukit/bench/result"
	"isukit/cmd/internal/ui"
)

// sessionPlan says how many rounds are run.
type sessionPlan struct {
	pairs     int // at most
	untilSure bool
	warmup    int           // rounds of each side that are dropped
	budget    time.Duration // 0 for none
	repeats   int           // of one noisy round, at most
}

// session runs rounds of two sides in pairs, interleaved in a random order.
type session struct {
	sessionPlan
	rnd *rand.Rand
	// play runs one round of side 0 (A) or 1 (B).
	play func(ctx context.Context, side int) (*result.Round, error)
	// sure says whether the pairs so far decide, and in a few words how they stand; it is asked when untilSure.
	sure func(a, b compare.Side) (bool, string)
	say  func(format string, args ...any)
	now  func() time.Time

	sides   [2]compare.Side // the rounds that count, in whole pairs
	begun   time.Time
	longest time.Duration // of a pair so far
	told    int           // rounds that were told of
	// repeated is how many noisy rounds of each side were run again, kept how many stayed in though noisy.
	repeated, kept [2]int
	// hopeless counts noisy rounds in a row that no repetition made quiet.
	hopeless int
}

// manyHopeless is after how many of them noisy rounds are no longer repeated: this machine is not quiet.
const manyHopeless = 3

// run runs rounds until the plan is fulfilled, the budget is spent, or ctx ends. What there is then stands in sides.
func (s *session) run(ctx context.Context) error {
	s.begun = s.now()
	s.say("%s", s.outline())
	for n := range s.warmup {
		for _, side := range order(compare.NextFirst(s.rnd)) {
			r, err := s.play(ctx, side)
			if err != nil {
				return err
			}
			s.tell(fmt.Sprintf("warm-up %d of %d", n+1, s.warmup), side, r, "dropped")
			if !r.Passed {
				return ui.Hinted(fmt.Errorf("the warm-up round of %c failed: %s", "AB"[side], r.Reason), "isukit show "+r.ID)
			}
		}
	}
	bFirst := compare.Order(s.pairs, s.rnd)
	for n := range s.pairs {
		if s.untilSure {
			bFirst[n] = compare.NextFirst(s.rnd) // a balanced order would give the last rounds away
		}
		start := s.now()
		if s.budget > 0 && start.Add(s.longest).Sub(s.begun) > s.budget {
			s.say("the budget of %v is spent after %d pairs", s.budget, n)
			return nil
		}
		if err := s.pair(ctx, n, bFirst[n]); err != nil {
			return err
		}
		s.longest = max(s.longest, s.now().Sub(start))
		if s.untilSure {
			enough, how := s.sure(s.sides[0], s.sides[1])
			s.say("after %d pairs: %s", n+1, how)
			if enough {
				return nil
			}
		}
	}
	return nil
}

// outline says before the first round how many there will be.
func (s *session) outline() string {
	text := fmt.Sprintf("%d pairs of rounds", s.pairs)
	if s.pairs == 1 {
		text = "1 pair of rounds"
	}
	if s.untilSure {
		text = fmt.Sprintf("pairs of rounds until it is decided, at most %d", s.pairs)
	}
	if s.warmup > 0 {
		text += fmt.Sprintf(", after %d of each side to warm up", s.warmup)
	}
	if s.budget > 0 {
		text += fmt.Sprintf("; for %s at most", shortTime(s.budget))
	}
	return text
}

// remaining says after the first round how long the others will take, where that is long enough to matter and known.
func (s *session) remaining() string {
	left := s.now().Sub(s.begun) * time.Duration(2*(s.warmup+s.pairs)-1)
	if s.told != 1 || s.untilSure || left < time.Minute {
		return ""
	}
	return fmt.Sprintf("the others take about %s; Ctrl-C compares the pairs that there are", shortTime(left.Round(time.Minute)))
}

// pair runs one round of each side and keeps both, or none.
func (s *session) pair(ctx context.Context, n int, bFirst bool) error {
	label := fmt.Sprintf("pair %d of %d", n+1, s.pairs)
	if s.untilSure {
		label = fmt.Sprintf("pair %d", n+1)
	}
	var rounds [2]*result.Round
	for _, side := range order(bFirst) {
		r, err := s.quiet(ctx, label, side)
		if err != nil {
			return err
		}
		rounds[side] = r
	}
	for side := range s.sides {
		s.sides[side].Rounds = append(s.sides[side].Rounds, rounds[side])
	}
	return nil
}

func order(bFirst bool) [2]int {
	if bFirst {
		return [2]int{1, 0}
	}
	return [2]int{0, 1}
}

// quiet runs a round, and again while it is noisy and may be repeated. Noise excuses no failure: a failed round stays.
func (s *session) quiet(ctx context.Context, label string, side int) (*result.Round, error) {
	for again := 0; ; again++ {
		r, err := s.play(ctx, side)
		if err != nil {
			return nil, err
		}
		noise := compare.Disturbed(r)
		switch {
		case len(noise) == 0 || !r.Passed:
			s.hopeless = 0
			s.tell(label, side, r, "")
			return r, nil
		case again >= s.repeats || s.hopeless >= manyHopeless:
			s.kept[side]++
			s.hopeless++
			s.tell(label, side, r, "noisy, but kept: "+noise[0])
			if s.hopeless == manyHopeless && s.repeats > 0 {
				s.say("%d noisy rounds in a row: this machine is not quiet, no more of them are repeated", s.hopeless)
			}
			return r, nil
		}
		s.repeated[side]++
		s.tell(label, side, r, "noisy, run again: "+noise[0])
	}
}

// tell says how a round went.
func (s *session) tell(label string, side int, r *result.Round, remark string) {
	text := fmt.Sprintf("%s, %c: score %d, %.0f hits/s, p99 %s ms", label, "AB"[side], r.Score.Total,
		r.HitsPerSec(), threeDigits(r.All.Latency.P99Ms))
	if r.Metrics != nil {
		text = fmt.Sprintf("%s, %c: %s", label, "AB"[side], figuresText(r.Metrics))
	}
	if !r.Passed {
		text = fmt.Sprintf("%s, %c: FAILED: %s", label, "AB"[side], r.Reason)
	}
	if remark != "" {
		text += "; " + remark
	}
	s.say("%s", text)
	s.told++
	if text = s.remaining(); text != "" {
		s.say("%s", text)
	}
}

// threeDigits writes a figure with three digits, or with all of those before the point.
func threeDigits(x float64) string {
	if x >= 100 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.3g", x)
}

// figuresText are the first few figures of a command.
func figuresText(figures map[string]float64) string {
	const most = 6
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		if len(parts) == most {
			parts = append(parts, "...")
			break
		}
		parts = append(parts, fmt.Sprintf("%s %.6g", name, figures[name]))
	}
	return strings.Join(parts, ", ")
}

// warnings are what the comparison must say of how its rounds came about.
func (s *session) warnings() []string {
	var w []string
	if s.repeated != [2]int{} {
		w = append(w, fmt.Sprintf("noisy rounds that were run again and do not count: %d of A, %d of B", s.repeated[0], s.repeated[1]))
	}
	if a, b := s.repeated[0], s.repeated[1]; max(a, b) >= 4 && max(a, b) >= 3*min(a, b) {
		w = append(w, "far more rounds of one side were noisy: perhaps it makes that noise itself, by work that counts as nobody's")
	}
	if s.kept != [2]int{} {
		w = append(w, fmt.Sprintf("noisy rounds that count all the same, as no repetition was quiet: %d of A, %d of B", s.kept[0], s.kept[1]))
	}
	return w
}

// standing is what until-sure goes by: the first metric that was asked for, or else the score.
func standing(o compare.Options) func(a, b compare.Side) (bool, string) {
	return func(a, b compare.Side) (bool, string) {
		c, err := compare.Rounds(a, b, o)
		if errors.Is(err, compare.ErrNoPairs) || err == nil && len(c.Metrics) == 0 {
			return false, "no pair of passed rounds yet"
		}
		if err != nil {
			return false, err.Error()
		}
		m := c.Metrics[0]
		for _, other := range c.Metrics {
			if name, _, _ := strings.Cut(first(o.Metrics), ":"); other.Name == name {
				m = other
			}
		}
		how := fmt.Sprintf("%s %+.1f %%, %s", m.Name, 100*(m.Ratio-1), m.Verdict)
		if m.Verdict == compare.Undecided && m.MorePairs > 0 && m.MorePairs < compare.MaxPairs {
			how += fmt.Sprintf(", ~%d more", m.MorePairs)
		}
		return m.Verdict != compare.Undecided, how
	}
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// rerun is the command that compares the same rounds again.
func (s *session) rerun() string {
	var ids [2]string
	for i, side := range s.sides {
		names := make([]string, len(side.Rounds))
		for j, r := range side.Rounds {
			names[j] = r.ID
		}
		ids[i] = strings.Join(names, ",")
	}
	return fmt.Sprintf("isukit compare %s %s", ids[0], ids[1])
}
