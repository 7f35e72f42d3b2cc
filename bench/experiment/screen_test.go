package experiment_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"isukit/bench/experiment"
	"isukit/bench/noise"
)

// TestScreenFindsEffects is the power of a screen: how many of the planted effects it names, with their sign.
func TestScreenFindsEffects(t *testing.T) {
	tests := []struct {
		k, rounds int
		noise     noise.Model
		size      float64
		atLeast   float64
	}{
		{16, 48, noise.Usual, 0.10, 0.75},
		{16, 48, noise.Usual, 0.25, 0.92},
		{16, 48, noise.Busy, 0.25, 0.70},
		{32, 96, noise.Usual, 0.10, 0.90},
	}
	for _, tt := range tests {
		rnd := rand.New(rand.NewPCG(uint64(tt.k*tt.rounds), 11))
		planted, named := 0, 0
		for range trials(t, 60) {
			w := newWorld(tt.k, rnd)
			v := w.play(t, tt.rounds, tt.noise, rnd).Verdict()
			for j, size := range w.sizes {
				if size != tt.size || math.Abs(w.main(j)) < 1e-9 {
					continue
				}
				planted++
				want := experiment.Helps
				if w.main(j) < 0 {
					want = experiment.Hurts
				}
				if v.Factors[j].Effect == want {
					named++
				}
			}
		}
		share := float64(named) / float64(planted)
		t.Logf("%d tunings, %d rounds, %s: %.2f of %d effects of %.0f %% are named (wanted %.2f)", tt.k, tt.rounds, tt.noise.Name, share, planted, 100*tt.size, tt.atLeast)
		if slack := 3 * math.Sqrt(tt.atLeast*(1-tt.atLeast)/float64(planted)); share < tt.atLeast-slack*few(t) {
			t.Errorf("%d tunings, %d rounds, %s: %.2f of the effects of %.0f %% are named, want %.2f", tt.k, tt.rounds, tt.noise.Name, share, 100*tt.size, tt.atLeast)
		}
	}
}

// few is 1 where so few experiments are played that chance needs room, 0 at full counts.
func few(t *testing.T) float64 {
	if trials(t, 0) >= 1000 {
		return 0
	}
	return 1
}

// TestScreenClaimsNothing holds how often a screen names anything where no tuning has an effect.
func TestScreenClaimsNothing(t *testing.T) {
	for _, z := range []noise.Model{noise.Usual, noise.Busy, noise.Calm} {
		rnd := rand.New(rand.NewPCG(5, 12))
		n, claims := trials(t, 100), 0
		for range n {
			v := null(16, 0.005).play(t, 48, z, rnd).Verdict()
			for _, f := range v.Factors {
				if f.Effect != experiment.Unknown {
					claims++
					break
				}
			}
		}
		share := float64(claims) / float64(n)
		t.Logf("%s: %.3f of %d screens without any effect name one (at most 0.06)", z.Name, share, n)
		if share > 0.06+few(t)*3*math.Sqrt(0.06*0.94/float64(n)) {
			t.Errorf("%s: %.3f of %d screens without any effect name one, at most 0.06 may", z.Name, share, n)
		}
	}
}

// TestScreenOfTheFewestRounds holds that a clear effect is named with as few pairs as MinPairs says, and nothing is claimed with one less.
func TestScreenOfTheFewestRounds(t *testing.T) {
	for _, k := range []int{1, 3, 12, 16, 48} {
		for less := range 2 {
			rnd := rand.New(rand.NewPCG(uint64(k), 17))
			w := null(k, 0)
			w.effects[k/2] = math.Log(0.5)
			v := w.play(t, 2*(experiment.MinPairs(k)-less), noise.Calm, rnd).Verdict()
			want, promised := experiment.Hurts, 0.5
			if less == 1 {
				want, promised = experiment.Unknown, 0
			}
			if got := v.Factors[k/2].Effect; got != want || v.Proves != (less == 0) || v.SmallestRatio < promised {
				t.Errorf("%d tunings, %d pairs: %s, proves %t, smallest %.2f, want %s", k, v.Pairs, got, v.Proves, v.SmallestRatio, want)
			}
		}
	}
}

// TestScreenNamesWhatFails plants a tuning that makes 1 of 4 rounds fail, and rounds that fail without a cause.
func TestScreenNamesWhatFails(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6, 13))
	n := trials(t, 60)
	named, innocents := 0, 0
	for range n {
		w := newWorld(16, rnd)
		for j, f := range w.play(t, 96, noise.Usual, rnd).Verdict().Factors {
			switch {
			case f.Effect == experiment.FailsRuns && j == w.failing:
				named++
			case f.Effect == experiment.FailsRuns:
				innocents++
			}
		}
	}
	blamed := 0
	for range n {
		for _, f := range null(16, 0.05).play(t, 96, noise.Usual, rnd).Verdict().Factors {
			if f.Effect == experiment.FailsRuns {
				blamed++
				break
			}
		}
	}
	t.Logf("the failing one is named in %.3f of %d screens (wanted 0.85), another one in %.3f; with 5 %% of rounds failing by themselves somebody is blamed in %.3f (at most 0.02)",
		float64(named)/float64(n), n, float64(innocents)/float64(n), float64(blamed)/float64(n))
	if float64(named) < (0.85-0.15*few(t))*float64(n) {
		t.Errorf("the failing tuning is named in %d of %d screens, want 85 %%", named, n)
	}
	if float64(blamed) > (0.02+0.06*few(t))*float64(n) || float64(innocents) > (0.02+0.06*few(t))*float64(n) {
		t.Errorf("innocents are blamed in %d and %d of %d screens, at most 2 %% may be", innocents, blamed, n)
	}
}

// TestScreenBlamesNobodyAlone plants two tunings that make rounds fail only together.
func TestScreenBlamesNobodyAlone(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 14))
	n, blamed, told := trials(t, 60), 0, 0
	for range n {
		s, err := experiment.NewScreen(make([]string, 12), 96, rnd.Uint64())
		if err != nil {
			t.Fatal(err)
		}
		for {
			on, more := s.Next()
			if !more {
				break
			}
			if err := s.Add(math.Exp(0.02*rnd.NormFloat64()), on[3] && on[7]); err != nil {
				t.Fatal(err)
			}
		}
		v := s.Verdict()
		for _, f := range v.Factors {
			if f.Effect == experiment.FailsRuns {
				blamed++
			}
		}
		if v.Suspicion.Together > 0.5 && v.Suspicion.Pair == [2]int{3, 7} {
			told++
		}
	}
	t.Logf("two that fail only together: told as such in %d of %d screens, one of them blamed in %d", told, n, blamed)
	if blamed > n/20 || told < n*9/10 {
		t.Errorf("two that fail only together: told as such in %d of %d screens, one of them blamed in %d", told, n, blamed)
	}
}

// TestScreenIntervals holds how often the interval of a factor that was named has its true main effect in it.
func TestScreenIntervals(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 15))
	shown, holds := 0, 0
	for range trials(t, 80) {
		w := newWorld(16, rnd)
		for j, f := range w.play(t, 96, noise.Usual, rnd).Verdict().Factors {
			if f.Effect != experiment.Helps && f.Effect != experiment.Hurts {
				continue
			}
			shown++
			if e := math.Exp(w.main(j)); e >= f.Low && e <= f.High {
				holds++
			}
		}
	}
	t.Logf("%d of %d intervals have the true effect in them", holds, shown)
	if float64(holds) < 0.88*float64(shown) {
		t.Errorf("%d of %d intervals have the true effect in them, want 0.88 at least", holds, shown)
	}
}

// TestScreenGoesOn replays the outcomes of a screen that was interrupted at every round: the same rounds follow.
func TestScreenGoesOn(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 16))
	w := newWorld(7, rnd)
	names := make([]string, 7)
	whole, _ := experiment.NewScreen(names, 30, 42)
	type outcome struct {
		on     []bool
		value  float64
		failed bool
	}
	var log []outcome
	for {
		on, more := whole.Next()
		if !more {
			break
		}
		o := outcome{on, math.Exp(w.mean(on) + 0.01*rnd.NormFloat64()), w.fails(on, rnd)}
		log = append(log, o)
		if err := whole.Add(o.value, o.failed); err != nil {
			t.Fatal(err)
		}
	}
	if len(log) < 28 {
		t.Fatalf("a screen of 30 rounds played %d", len(log))
	}
	again, _ := experiment.NewScreen(names, 30, 42)
	for i, o := range log {
		on, more := again.Next()
		if !more || !equal(on, o.on) {
			t.Fatalf("round %d is %v (%v) after a replay, was %v", i, on, more, o.on)
		}
		if err := again.Add(o.value, o.failed); err != nil {
			t.Fatal(err)
		}
	}
}

func equal(a, b []bool) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}
