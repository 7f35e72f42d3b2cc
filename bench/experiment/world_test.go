package experiment_test

import (
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"isukit/bench/experiment"
	"isukit/bench/noise"
)

// trials is how many synthetic experiments a test plays: few in make test, ISUKIT_EXPERIMENTS in make bench-experiments.
func trials(t *testing.T, few int) int {
	t.Helper()
	text := os.Getenv("ISUKIT_EXPERIMENTS")
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("ISUKIT_EXPERIMENTS: %v", err)
	}
	return n
}

// world is a synthetic truth: the logarithm of a score is the sum of the effects of the tunings that are on and of one
// interaction, and one tuning makes rounds fail.
type world struct {
	effects []float64
	// a and b are on together by interaction; sizes are the effects that were planted, by factor.
	a, b        int
	interaction float64
	sizes       map[int]float64
	failing     int
	failRate    float64
	chance      float64
}

// newWorld plants 1 to 4 effects of 3, 10 or 25 % of either sign, an interaction of 10 %, and a tuning that makes 1 of 4 rounds fail.
func newWorld(k int, rnd *rand.Rand) world {
	w := world{effects: make([]float64, k), sizes: map[int]float64{}, failRate: 0.25, chance: 0.005}
	order := rnd.Perm(k)
	active := 1 + rnd.IntN(4)
	for _, j := range order[:active] {
		size := []float64{0.03, 0.10, 0.25}[rnd.IntN(3)]
		w.sizes[j] = size
		w.effects[j] = math.Log1p(size) * sign(rnd)
	}
	if active >= 2 {
		w.a, w.b, w.interaction = order[0], order[1], math.Log(1.10)*sign(rnd)
	}
	w.failing = order[active]
	return w
}

// null has no effects, and rounds that fail by chance.
func null(k int, chance float64) world {
	return world{effects: make([]float64, k), failing: -1, chance: chance}
}

func (w world) mean(on []bool) float64 {
	sum := 0.0
	for j, e := range w.effects {
		if on[j] {
			sum += e
		}
	}
	if w.interaction != 0 && on[w.a] && on[w.b] {
		sum += w.interaction
	}
	return sum
}

// main is a factor's main effect: on average over the others.
func (w world) main(j int) float64 {
	if w.interaction != 0 && (j == w.a || j == w.b) {
		return w.effects[j] + w.interaction/2
	}
	return w.effects[j]
}

func (w world) fails(on []bool, rnd *rand.Rand) bool {
	rate := w.chance
	if w.failing >= 0 && on[w.failing] {
		rate = w.failRate
	}
	return rnd.Float64() < rate
}

// play runs a whole screen.
func (w world) play(t *testing.T, budget int, z noise.Model, rnd *rand.Rand) *experiment.Screen {
	t.Helper()
	names := make([]string, len(w.effects))
	for j := range names {
		names[j] = "t" + strconv.Itoa(j)
	}
	s, err := experiment.NewScreen(names, budget, rnd.Uint64())
	if err != nil {
		t.Fatal(err)
	}
	deviations := z.Series(budget, rnd)
	for {
		on, more := s.Next()
		if !more {
			return s
		}
		if err := s.Add(math.Exp(w.mean(on)+deviations[s.Rounds()]), w.fails(on, rnd)); err != nil {
			t.Fatal(err)
		}
	}
}

func sign(rnd *rand.Rand) float64 {
	if rnd.IntN(2) == 0 {
		return -1
	}
	return 1
}
