package session

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"isukit/bench/compare"
	"isukit/bench/experiment"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
)

// ScreenPlan is what a screen was asked for. It is the first line of its journal.
type ScreenPlan struct {
	Factors []Factor `json:"factors"`
	// Rounds are those in fold-over pairs, at most; Budget bounds all rounds together, 0 does not.
	Rounds int           `json:"rounds"`
	Budget time.Duration `json:"budget"`
	Seed   uint64        `json:"seed"`
	// Metric is what a round is judged by, as compare names it.
	Metric string `json:"metric"`
	// AcceptRisk are tunings whose high risk is accepted.
	AcceptRisk []string `json:"accept_risk,omitempty"`
	// Round are arguments of isukit round for every round.
	Round []string `json:"round"`
	// Dir is the directory that the rounds are played in, Of a digest of what they are played on: the project's file or the topology, and the tunings.
	Dir string `json:"dir"`
	Of  string `json:"of"`
}

// Outcome is what a screen and a search have in common.
type Outcome struct {
	// Journal is the file that resume goes on with.
	Journal string `json:"journal"`
	Metric  string `json:"metric"`
	Seed    uint64 `json:"seed"`
	// Finished is false if the plan was not played to its end.
	Finished bool `json:"finished"`
	// Planned are the rounds in pairs that the plan has.
	Planned int `json:"planned_rounds"`
	// Dropped are tunings that cannot be applied here.
	Dropped []string `json:"dropped,omitempty"`
	// Confirmed compares fresh rounds of what is recommended with others; nil without them, or if one of a search's best failed.
	Confirmed *Confirmation `json:"confirmed,omitempty"`
	// Keep is the command that keeps what is recommended.
	Keep     string   `json:"keep,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// ScreenResult is what a screen found, or the state so far.
type ScreenResult struct {
	Outcome
	// PairSpread is the standard deviation of the logarithm of the ratio of two equal rounds, one after the other; PairsOfNoise is from how
	// many such pairs it is known.
	PairSpread   float64                  `json:"pair_spread"`
	PairsOfNoise int                      `json:"pairs_of_noise"`
	Verdict      experiment.ScreenVerdict `json:"verdict"`
	// Recommended are the tunings to keep.
	Recommended []string `json:"recommended"`
}

// Confirmation is what fresh pairs of rounds say: the side B of a comparison against the side A.
type Confirmation struct {
	Against string          `json:"against"` // what A is
	Pairs   int             `json:"pairs"`
	Ratio   float64         `json:"ratio"` // B/A
	Low     float64         `json:"ratio_low"`
	High    float64         `json:"ratio_high"`
	P       float64         `json:"p"`
	Verdict compare.Verdict `json:"verdict"`
}

// Screen plays a screen: rounds of which each has half of the factors, and at the end fresh pairs of what is recommended.
type Screen struct {
	ScreenPlan
	Journal *Journal
	Say     func(format string, args ...any)

	value   func(*result.Round) float64
	factors []Factor // that can be applied
	out     ScreenResult
}

// What a screen plays in addition to its fold-over pairs: equal rounds for the noise, known from enoughPairs, and pairs that confirm.
const (
	equalRounds  = 4
	enoughPairs  = 6
	confirmPairs = compare.MinPairs
)

// hopedFor is the largest effect, as a ratio, that anybody hopes for.
const hopedFor = 1.25

// Run plays the screen. If it ends early, the result is based on the rounds so far.
func (s *Screen) Run(ctx context.Context) (*ScreenResult, error) {
	var ok bool
	if s.value, ok = compare.Value(s.Metric); !ok {
		return nil, ui.UsageError(fmt.Errorf("metric %q not found", s.Metric), "isukit compare --help lists them")
	}
	s.out.Recommended = []string{}
	none, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	differences, err := s.noise(ctx, none)
	if err != nil {
		return nil, err
	}
	if err := s.plan(differences); err != nil {
		return nil, err
	}
	screen, err := experiment.NewScreen(s.names(), s.out.Planned, s.Seed)
	if err != nil {
		return nil, err
	}
	err = s.screen(ctx, screen)
	confirmed := screen.Verdict().Recommended()
	if err == nil && s.confirms() {
		err = s.confirm(ctx, screen, confirmed)
	}
	s.out.Verdict = screen.Verdict()
	s.recommend(confirmed)
	s.out.Finished = err == nil
	return &s.out, err
}

// recommend names the tunings to keep, unless fresh pairs of what was confirmed speak against them.
func (s *Screen) recommend(confirmed []bool) {
	keep := s.out.Verdict.Recommended()
	switch c := s.out.Confirmed; {
	case c == nil:
	case !slices.Equal(keep, confirmed):
		s.out.Confirmed = nil
		s.warn("the confirmation pairs changed what is recommended: nothing is confirmed")
	case c.Verdict == compare.Worse:
		s.warn("the recommended tunings together are worse than %s: nothing is recommended", c.Against)
		keep = nil
	}
	for j, on := range keep {
		if on {
			s.out.Recommended = append(s.out.Recommended, s.factors[j].Names...)
		}
	}
}

func (s *Screen) names() []string {
	names := make([]string, len(s.factors))
	for j, f := range s.factors {
		names[j] = f.String()
	}
	return names
}

// begin plays a round with no tuning to warm up, which it returns, and one with all of them, which shows what can be applied.
func (s *Screen) begin(ctx context.Context) (*result.Round, error) {
	s.out.Journal, s.out.Metric, s.out.Seed = s.Journal.Path, s.Metric, s.Seed
	none, err := s.Journal.Play(ctx, "warm-up", nil)
	if err != nil {
		return nil, err
	}
	s.tell("warm-up without tunings", none)
	if !none.Passed {
		return nil, ui.Hinted(fmt.Errorf("the round without tunings failed: %s", none.Reason), "isukit show "+none.ID)
	}
	if len(s.Factors) == 0 {
		return none, nil
	}
	all, err := s.Journal.Play(ctx, "all on", s.tune(s.Factors, on(len(s.Factors))))
	if err != nil {
		return nil, err
	}
	s.tell("with all tunings", all)
	s.drop(all)
	if len(s.factors) == 0 {
		return nil, ui.UsageError(errors.New("none of the tunings can be applied here"), "isukit tune show NAME shows what each needs")
	}
	return none, nil
}

// noise returns the differences of equal rounds: of those that were kept, and of some that it plays where these are too few.
func (s *Screen) noise(ctx context.Context, none *result.Round) ([]float64, error) {
	differences := s.known(none)
	if len(differences) >= enoughPairs {
		return differences, nil
	}
	last := 0.0
	for n := range equalRounds {
		r, err := s.Journal.Play(ctx, "equal", nil)
		if err != nil {
			return nil, err
		}
		s.tell(fmt.Sprintf("equal round %d of %d, to measure noise", n+1, equalRounds), r)
		if !r.Passed {
			continue
		}
		v, err := s.valueOf(r)
		if err != nil {
			return nil, err
		}
		if last > 0 {
			differences = append(differences, math.Log(v/last))
		}
		last = v
	}
	return differences, nil
}

// drop leaves out factors of which nothing was applied in a round with all of them, and says why.
func (s *Screen) drop(all *result.Round) {
	applied := strings.Split(describe(all)["tunings"], ", ")
	for _, f := range s.Factors {
		dropped := !slices.ContainsFunc(f.Members, func(n string) bool { return slices.Contains(applied, n) })
		if dropped {
			s.out.Dropped = append(s.out.Dropped, f.Names...)
			s.warn("%s is skipped: none of its settings can be applied here", f)
		} else {
			s.factors = append(s.factors, f)
		}
	}
	for _, w := range all.Warnings {
		if strings.HasPrefix(w, round.TuningWarning) {
			s.warn("%s", w)
		}
	}
}

// maxApart is how long after one round the next began at most, to count as one after the other.
const maxApart = 10 * time.Minute

// known are the differences of equal rounds without tunings that were kept before this screen, one after the other.
func (s *Screen) known(like *result.Round) (differences []float64) {
	entries, err := result.List(s.Journal.Results)
	if err != nil {
		return nil
	}
	for i := 0; i+1 < len(entries) && len(differences) < 4*enoughPairs; i++ {
		b, a := entries[i].Round, entries[i+1].Round // newest first
		if a == nil || b == nil || !b.StartedAt.Before(like.StartedAt) || b.StartedAt.Sub(a.StartedAt) > maxApart || !alike(a, like) || !alike(b, like) {
			continue
		}
		if va, vb := s.value(a), s.value(b); va > 0 && vb > 0 {
			differences = append(differences, math.Log(vb/va))
		}
	}
	return differences
}

// alike tells that two rounds passed under the same conditions, as far as noise goes.
func alike(a, b *result.Round) bool {
	da, db := describe(a), describe(b)
	for _, key := range []string{"scenario", "seed", "topology", "topology_hash", "tunings", "shape", "arrivals", "mix", "app_binary"} {
		if da[key] != db[key] {
			return false
		}
	}
	return a.Passed && b.Passed && (a.Scenario == "external" || a.LoadSeconds == b.LoadSeconds)
}

// buy sets the number of rounds: those asked for, or those that fit into the budget. It returns the time of one round.
func (s *Screen) buy(keptBack int) (each time.Duration) {
	s.out.Planned = s.Rounds
	each = s.each()
	if s.Budget > 0 {
		left := int((s.Budget - s.Journal.Spent()) / each)
		if left >= s.least()+keptBack {
			left -= keptBack
		}
		if s.Rounds == 0 || left < s.Rounds {
			s.out.Planned = max(0, left)
		}
	}
	return each
}

// each is how long a round took on average.
func (s *Screen) each() time.Duration {
	return max(1, s.Journal.Spent()/time.Duration(max(1, len(s.Journal.Played))))
}

// plan prints the rounds to play, and the smallest effect that they can show.
func (s *Screen) plan(differences []float64) error {
	each := s.buy(2 * confirmPairs)
	k, pairs := len(s.factors), s.out.Planned/2
	if err := s.enough(2, s.least()+2*confirmPairs, each); err != nil {
		return err
	}
	s.out.PairSpread, s.out.PairsOfNoise = experiment.Spread(differences), len(differences)
	text := fmt.Sprintf("plan: %d tunings, %d rounds in %d pairs, seed %d", k, 2*pairs, pairs, s.Seed)
	rounds := 2 * pairs
	if s.confirms() {
		text += fmt.Sprintf("; then %d confirmation pairs", confirmPairs)
		rounds += 2 * confirmPairs
	}
	s.Say("%s; about %s", text, duration(rounds, each))
	smallest := experiment.Smallest(s.out.PairSpread, pairs, k)
	if smallest == 0 {
		s.warn("%d rounds only rank suspects; a verdict on %d tunings needs at least %d, about %s", 2*pairs, k, s.least(), duration(s.least(), each))
		return nil
	}
	s.Say("two equal rounds differ by %.1f %% (standard deviation, %d pairs): %d rounds show an effect of %.1f %% in 4 of 5 cases; a tuning that makes 1 of 4 rounds fail needs about 55 to 80",
		100*s.out.PairSpread, len(differences), 2*pairs, 100*(smallest-1))
	if smallest > hopedFor {
		hint := "use more --rounds"
		if s.Metric == "score" {
			hint += ", or --metrics hits, which is less noisy"
		}
		s.warn("this plan only shows effects of %.0f %% and more, and most tunings have less: %s", 100*(smallest-1), hint)
	}
	return nil
}

// enough refuses a plan of fewer than least rounds; the hint is the budget for good ones.
func (s *Screen) enough(least, good int, each time.Duration) error {
	if s.out.Planned >= least {
		return nil
	}
	return ui.UsageError(fmt.Errorf("there are %d rounds, and at least %d are needed; a round takes about %s here", s.out.Planned, least, duration(1, each)),
		fmt.Sprintf("--rounds %d, or --budget %s", good, duration(len(s.Journal.Played)+1+good, each)))
}

func duration(rounds int, each time.Duration) string {
	return ui.ShortTime((time.Duration(rounds) * each).Round(time.Second))
}

// least is how many rounds in pairs a verdict needs. With fewer none are kept back to confirm.
func (s *Screen) least() int { return 2 * experiment.MinPairs(len(s.factors)) }

func (s *Screen) confirms() bool { return s.out.Planned >= s.least() }

func (s *Screen) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.out.Warnings = append(s.out.Warnings, text)
	s.Say("warning: %s", text)
}

// screen plays the fold-over pairs.
func (s *Screen) screen(ctx context.Context, plan *experiment.Screen) error {
	off, kept := 0, time.Duration(0) // rounds that are kept back to confirm
	if s.confirms() {
		kept = 2 * confirmPairs
	}
	for {
		on, more := plan.Next()
		if !more {
			return nil
		}
		if s.Budget > 0 && plan.Rounds() > 0 && s.Journal.Spent()+kept*s.each() > s.Budget {
			s.warn("the budget of %s is used up after %d of %d rounds", ui.ShortTime(s.Budget), plan.Rounds(), s.out.Planned)
			return nil
		}
		r, v, err := s.judged(ctx, "screen", s.tune(s.factors, on))
		if err != nil {
			return err
		}
		if err := plan.Add(v, !r.Passed); err != nil {
			return err
		}
		s.tell(fmt.Sprintf("round %d of %d, %d tunings on", plan.Rounds(), s.out.Planned, count(on)), r)
		for j, q := range plan.Quarantined() {
			if q && off>>j&1 == 0 {
				off |= 1 << j
				s.Say("%s makes rounds fail and is no longer applied", s.factors[j])
			}
		}
	}
}

// confirm plays fresh pairs of what is recommended against all tunings, or against none where all are.
func (s *Screen) confirm(ctx context.Context, screen *experiment.Screen, recommended []bool) error {
	sides := [2]compare.Side{{Name: "all tunings"}, {Name: "recommended"}}
	sets := [2][]bool{on(len(s.factors)), recommended}
	if !slices.Contains(recommended, false) {
		sides[0].Name, sets[0] = "no tunings", make([]bool, len(s.factors))
	}
	first := compare.Order(confirmPairs, rand.New(rand.NewPCG(s.Seed, 0xc0f1)))
	for n := range confirmPairs {
		for _, side := range order(first[n]) {
			r, err := s.Journal.Play(ctx, "confirm", s.tune(s.factors, sets[side]))
			if err != nil {
				return err
			}
			screen.Saw(sets[side], !r.Passed)
			s.tell(fmt.Sprintf("confirmation pair %d of %d, %s", n+1, confirmPairs, sides[side].Name), r)
			sides[side].Rounds = append(sides[side].Rounds, r)
		}
	}
	return s.compare(sides)
}

// compare compares the sides of fresh pairs.
func (s *Screen) compare(sides [2]compare.Side) error {
	o := compare.DefaultOptions()
	o.Metrics = []string{s.Metric}
	c, err := compare.Rounds(sides[0], sides[1], o)
	if errors.Is(err, compare.ErrNoPairs) || err == nil && len(c.Metrics) == 0 {
		s.warn("no confirmation pair had two passed rounds with %s above 0: nothing is confirmed", s.Metric)
		return nil
	}
	if err == nil {
		m := c.Metrics[0]
		s.out.Confirmed = &Confirmation{Against: c.A.Name, Pairs: m.Pairs, Ratio: m.Ratio, Low: m.Low, High: m.High, P: m.PCorrected, Verdict: m.Verdict}
	}
	return err
}

// judged plays a round and returns it with what it is judged by, 0 where it failed.
func (s *Screen) judged(ctx context.Context, stage string, args []string) (r *result.Round, v float64, err error) {
	if r, err = s.Journal.Play(ctx, stage, args); err == nil && r.Passed {
		v, err = s.valueOf(r)
	}
	return r, v, err
}

// valueOf is what a passed round is judged by.
func (s *Screen) valueOf(r *result.Round) (float64, error) {
	if v := s.value(r); v > 0 {
		return v, nil
	}
	return 0, ui.Hinted(fmt.Errorf("round %s passed and has no %s above 0", r.ID, s.Metric), "name another metric with --metrics")
}

// tell prints a round's result, unless an earlier session has.
func (s *Screen) tell(label string, r *result.Round) {
	switch {
	case s.Journal.Replayed():
	case !r.Passed:
		s.Say("%s: FAILED: %s", label, r.Reason)
	case r.All.Hits == 0:
		s.Say("%s: score %d", label, r.Score.Total)
	default:
		s.Say("%s: score %d, %.0f hits/s", label, r.Score.Total, r.HitsPerSec())
	}
}

// tune are arguments of isukit round that apply the factors that are on.
func (s *Screen) tune(factors []Factor, on []bool) []string {
	var names []string
	for j, f := range factors {
		if on[j] {
			names = append(names, f.Names...)
		}
	}
	if len(names) == 0 {
		return nil
	}
	args := []string{"--tune", strings.Join(names, ",")}
	if len(s.AcceptRisk) > 0 {
		args = append(args, "--accept-risk", strings.Join(s.AcceptRisk, ","))
	}
	return args
}

func on(n int) []bool { return slices.Repeat([]bool{true}, n) }

func count(on []bool) (n int) {
	for _, v := range on {
		if v {
			n++
		}
	}
	return n
}
