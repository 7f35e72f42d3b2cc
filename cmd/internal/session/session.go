package session

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

// Session runs rounds of two sides in pairs, interleaved in a random order.
type Session struct {
	Plan
	Rnd *rand.Rand
	// Play runs one round of side 0 (A) or 1 (B).
	Play func(ctx context.Context, side int) (*result.Round, error)
	// Sure, with untilSure, decides whether the pairs so far are enough, and describes them in a few words.
	Sure func(a, b compare.Side) (bool, string)
	// Proof says that the sides are equal in what was to be compared; nil asks nobody.
	Proof *Proof
	Say   func(format string, args ...any)
	Now   func() time.Time

	Sides   [2]compare.Side // the rounds that count, in whole pairs
	begun   time.Time
	longest time.Duration // of a pair so far
	told    int           // rounds printed so far
	// repeated is how many noisy rounds of each side were run again, kept how many stayed in though noisy.
	repeated, kept [2]int
	// unquiet counts noisy rounds in a row that no repetition made quiet.
	unquiet int
}

// manyUnquiet is after how many of them noisy rounds are no longer repeated: this machine is not quiet.
const manyUnquiet = 3

// Run runs rounds until the plan is fulfilled, the budget is spent, or ctx ends. What there is then stands in sides.
func (s *Session) Run(ctx context.Context) error {
	s.begun = s.Now()
	s.Say("%s", s.outline())
	for n := range s.Warmup {
		for _, side := range order(compare.NextFirst(s.Rnd)) {
			r, err := s.Play(ctx, side)
			if err != nil {
				return err
			}
			s.tell(fmt.Sprintf("warm-up %d of %d", n+1, s.Warmup), side, r, "dropped")
			if !r.Passed {
				return ui.Hinted(fmt.Errorf("the warm-up round of %c failed: %s", "AB"[side], r.Reason), "isukit show "+r.ID)
			}
			if err := s.Proof.Add(side, r); err != nil {
				return err
			}
		}
	}
	bFirst := compare.Order(s.Pairs, s.Rnd)
	for n := range s.Pairs {
		if s.UntilSure {
			bFirst[n] = compare.NextFirst(s.Rnd) // a balanced order would give the last rounds away
		}
		start := s.Now()
		if s.Budget > 0 && start.Add(s.longest).Sub(s.begun) > s.Budget {
			s.Say("the budget of %v is used up after %d pairs", s.Budget, n)
			return nil
		}
		if err := s.pair(ctx, n, bFirst[n]); err != nil {
			return err
		}
		s.longest = max(s.longest, s.Now().Sub(start))
		if s.UntilSure {
			enough, how := s.Sure(s.Sides[0], s.Sides[1])
			s.Say("after %d pairs: %s", n+1, how)
			if enough {
				return nil
			}
		}
	}
	return nil
}

// outline says before the first round how many there will be.
func (s *Session) outline() string {
	text := fmt.Sprintf("%d pairs of rounds", s.Pairs)
	if s.Pairs == 1 {
		text = "1 pair of rounds"
	}
	if s.UntilSure {
		text = fmt.Sprintf("pairs of rounds until it is decided, at most %d", s.Pairs)
	}
	if s.Warmup > 0 {
		text += fmt.Sprintf(", after %d of each side to warm up", s.Warmup)
	}
	if s.Budget > 0 {
		text += fmt.Sprintf("; for %s at most", ui.ShortTime(s.Budget))
	}
	return text
}

// remaining says after the first round how long the others will take, where that is long enough to matter and known.
func (s *Session) remaining() string {
	left := s.Now().Sub(s.begun) * time.Duration(2*(s.Warmup+s.Pairs)-1)
	if s.told != 1 || s.UntilSure || left < time.Minute {
		return ""
	}
	return fmt.Sprintf("the others take about %s; Ctrl-C compares the completed pairs", ui.ShortTime(left.Round(time.Minute)))
}

// pair runs one round of each side and keeps both, or none.
func (s *Session) pair(ctx context.Context, n int, bFirst bool) error {
	label := fmt.Sprintf("pair %d of %d", n+1, s.Pairs)
	if s.UntilSure {
		label = fmt.Sprintf("pair %d", n+1)
	}
	var rounds [2]*result.Round
	for _, side := range order(bFirst) {
		r, err := s.quiet(ctx, label, side)
		if err != nil {
			return err
		}
		rounds[side] = r
		if err := s.Proof.Add(side, r); err != nil {
			return err
		}
	}
	for side := range s.Sides {
		s.Sides[side].Rounds = append(s.Sides[side].Rounds, rounds[side])
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
func (s *Session) quiet(ctx context.Context, label string, side int) (*result.Round, error) {
	for again := 0; ; again++ {
		r, err := s.Play(ctx, side)
		if err != nil {
			return nil, err
		}
		noise := compare.Disturbed(r)
		switch {
		case len(noise) == 0 || !r.Passed:
			s.unquiet = 0
			s.tell(label, side, r, "")
			return r, nil
		case again >= s.Repeats || s.unquiet >= manyUnquiet:
			s.kept[side]++
			s.unquiet++
			s.tell(label, side, r, "noisy, but counted: "+noise[0])
			if s.unquiet == manyUnquiet && s.Repeats > 0 {
				s.Say("%d noisy rounds in a row: this machine is busy, so noisy rounds are no longer rerun", s.unquiet)
			}
			return r, nil
		}
		s.repeated[side]++
		s.tell(label, side, r, "noisy, rerun: "+noise[0])
	}
}

// tell prints a round's result.
func (s *Session) tell(label string, side int, r *result.Round, remark string) {
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
	s.Say("%s", text)
	s.told++
	if text = s.remaining(); text != "" {
		s.Say("%s", text)
	}
}

// threeDigits writes a figure with three digits, or with all of those before the point.
func threeDigits(x float64) string {
	if x >= 100 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.3g", x)
}

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

// Warnings are what the comparison must say of how its rounds came about.
func (s *Session) Warnings() []string {
	var w []string
	if s.repeated != [2]int{} {
		w = append(w, fmt.Sprintf("noisy rounds that were rerun and do not count: %d of A, %d of B", s.repeated[0], s.repeated[1]))
	}
	if a, b := s.repeated[0], s.repeated[1]; max(a, b) >= 4 && max(a, b) >= 3*min(a, b) {
		w = append(w, "far more rounds of one side were noisy: it may cause the noise itself, with CPU time that belongs to no role")
	}
	if s.kept != [2]int{} {
		w = append(w, fmt.Sprintf("noisy rounds that count because their reruns were noisy too: %d of A, %d of B", s.kept[0], s.kept[1]))
	}
	return w
}

// Decided decides until-sure by the first metric asked for, or otherwise by the score.
func Decided(o compare.Options) func(a, b compare.Side) (bool, string) {
	return func(a, b compare.Side) (bool, string) {
		c, err := compare.Rounds(a, b, o)
		if errors.Is(err, compare.ErrNoPairs) || err == nil && len(c.Metrics) == 0 {
			return false, "no pair of passed rounds yet"
		}
		if err != nil {
			return false, err.Error()
		}
		m := c.Metrics[0]
		if len(o.Metrics) > 0 {
			name, _, _ := strings.Cut(o.Metrics[0], ":")
			if n := slices.IndexFunc(c.Metrics, func(m compare.Metric) bool { return m.Name == name }); n >= 0 {
				m = c.Metrics[n]
			}
		}
		how := fmt.Sprintf("%s %+.1f %%, %s", m.Name, 100*(m.Ratio-1), m.Verdict)
		if m.Verdict == compare.Undecided && m.MorePairs > 0 && m.MorePairs < compare.MaxPairs {
			how += fmt.Sprintf(", ~%d more", m.MorePairs)
		}
		return m.Verdict != compare.Undecided, how
	}
}

// Rerun is the command that compares the same rounds again.
func (s *Session) Rerun() string {
	var ids [2]string
	for i, side := range s.Sides {
		names := make([]string, len(side.Rounds))
		for j, r := range side.Rounds {
			names[j] = r.ID
		}
		ids[i] = strings.Join(names, ",")
	}
	return fmt.Sprintf("isukit compare %s %s", ids[0], ids[1])
}
