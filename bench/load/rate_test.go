package load_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"isukit/bench/load"
)

func TestProfiles(t *testing.T) {
	tests := map[string]struct {
		profile load.Rate
		n       float64
		want    time.Duration
		never   bool
	}{
		"rate":       {load.Rate{PerSec: 200}, 100, 500 * time.Millisecond, false},
		"rate first": {load.Rate{PerSec: 200}, 0, 0, false},
		"no rate":    {load.Rate{}, 1, 0, true},
	}
	for name, tt := range tests {
		got, ok := tt.profile.Due(tt.n)
		if ok == tt.never || ok && (got-tt.want).Abs() > time.Microsecond {
			t.Errorf("%s: Due(%v): got %v, %v, want %v, %v", name, tt.n, got, ok, tt.want, !tt.never)
		}
	}
}

// visitor is a Visitor over one client.
type visitor struct {
	*load.Client
	req load.Request
}

func (v *visitor) Visit(ctx context.Context, intended time.Time) {
	v.req.Intended = intended
	v.Do(ctx, &v.req, nil)
}

func visitors(e *load.Engine, o *load.Origin) func(int) load.Visitor {
	ep := e.Endpoint("GET /")
	return func(n int) load.Visitor {
		return &visitor{e.NewClient(n, ""), load.Request{Endpoint: ep, Origin: o, Target: "/"}}
	}
}

// noting is a visitor that writes down when its visits were due.
type noting struct {
	load.Visitor
	mu  *sync.Mutex
	due *[]time.Time
}

func (v noting) Visit(ctx context.Context, intended time.Time) {
	v.mu.Lock()
	*v.due = append(*v.due, intended)
	v.mu.Unlock()
	v.Visitor.Visit(ctx, intended)
}

// TestRunRate sends every planned hit at its scheduled time. A busy machine may delay or drop hits; those are reported, and none of the
// plan is missing.
func TestRunRate(t *testing.T) {
	const perSec = 1000
	for name, arrivals := range map[string]load.Arrivals{"even": load.Even, "poisson": load.Poisson} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var due []time.Time
			var file strings.Builder
			log := load.NewHitWriter(&file)
			e := load.NewEngine(load.Options{Recorder: load.NewRecorder(load.RecorderOptions{Log: log})})
			o := serveRaw(t, answering(okAnswer))
			visitor := visitors(e, o)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			rep := load.RunRate(ctx, load.Rate{PerSec: perSec}, func(n int) load.Visitor { return noting{visitor(n), &mu, &due} },
				e.Recorder(), load.RateOptions{Arrivals: arrivals, Seed: 1})
			s := e.Recorder().Summary(rep.End)
			if rep.Started+rep.Unstarted != rep.Planned || rep.Started != int64(len(due)) || s.Total.OK == 0 || s.Total.Errors > 0 {
				t.Errorf("planned %d, started %d, left %d, visits %d, hits %+v", rep.Planned, rep.Started, rep.Unstarted, len(due), s.Total.Counts)
			}
			deadline, _ := ctx.Deadline()
			if want := dueBefore(perSec, deadline.Sub(rep.Start)); name == "even" && rep.Planned != want {
				t.Errorf("planned %d, want %d", rep.Planned, want)
			}
			var at []float64
			planned := map[time.Duration]bool{}
			for _, d := range due {
				if rep.Unstarted == 0 || d.Before(deadline.Add(-rep.BehindAtEnd)) { // until then none was left
					at = append(at, d.Sub(rep.Start).Seconds())
				}
				planned[d.Sub(rep.Start).Truncate(time.Microsecond)] = true // as the log keeps it
			}
			log.Flush()
			for h, err := range load.ReadHits(strings.NewReader(file.String())) {
				if err != nil || !planned[h.Intended] {
					t.Fatalf("a hit meant to go at %v, %v: no visit was due then", h.Intended, err)
				}
			}
			slices.Sort(at)
			if len(at) < perSec/2 {
				t.Logf("this machine left %d of %d hits, the first of them after %d: too few to see their distances", rep.Unstarted, rep.Planned, len(at))
				return
			}
			checkDistances(t, at, perSec, map[string]float64{"even": 0, "poisson": 1}[name])
		})
	}
}

// dueBefore is how many hits of an even rate are due within a time from its start, the first of them at the start.
func dueBefore(perSec int64, within time.Duration) int64 {
	return (int64(within)*perSec + int64(time.Second) - 1) / int64(time.Second)
}

// TestHitsThatAStarvedGeneratorDidNotSend has the pacer get no CPU until the load is over, wherever it is then: what was due all
// the same counts as planned and as never sent. Against that stand a load that was interrupted, whose end is not its deadline,
// and one of which only the last moment is missing.
func TestHitsThatAStarvedGeneratorDidNotSend(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	idle := func(n int) load.Visitor {
		<-ctx.Done() // the pacer calls this: it stands still
		return noVisit{}
	}
	rep := load.RunRate(ctx, load.Rate{PerSec: 2000}, idle, load.NewRecorder(load.RecorderOptions{}), load.RateOptions{})
	deadline, _ := ctx.Deadline()
	want := dueBefore(2000, deadline.Sub(rep.Start))
	if rep.Planned != want || rep.Unstarted != want || rep.Started != 0 || rep.BehindAtEnd != deadline.Sub(rep.Start) {
		t.Errorf("got %+v, want %d hits planned and none started", rep, want)
	}
	if s := rep.Shortfall(); !strings.Contains(s, "hits were never sent") {
		t.Errorf("shortfall %q, want it told", s)
	}

	interrupted, interrupt := context.WithTimeout(t.Context(), time.Hour)
	var at time.Time
	rep = load.RunRate(interrupted, load.Rate{PerSec: 2000}, func(int) load.Visitor {
		interrupt()
		at = time.Now()
		time.Sleep(20 * time.Millisecond)
		return noVisit{}
	}, load.NewRecorder(load.RecorderOptions{}), load.RateOptions{})
	if most := dueBefore(2000, at.Add(time.Second).Sub(rep.Start)); rep.Planned < 1 || rep.Planned > most {
		t.Errorf("interrupted: planned %d, want what was due until then and not of the hour, %d at most", rep.Planned, most)
	}

	if s := (load.RateReport{Planned: 20_000, Started: 19_998, Unstarted: 2, BehindAtEnd: 90 * time.Microsecond}).Shortfall(); s != "" {
		t.Errorf("shortfall %q for hits of the last moment, want none", s)
	}
}

// noVisit is a visitor who does nothing.
type noVisit struct{}

func (noVisit) Visit(context.Context, time.Time) {}
func (noVisit) Close() error                     { return nil }

// checkDistances holds times, in seconds, against their rate and the coefficient of variation of their distances.
func checkDistances(t *testing.T, at []float64, perSec, variation float64) {
	t.Helper()
	if n, want, tolerance := float64(len(at)), at[len(at)-1]*perSec+1, 0.5+4*variation*math.Sqrt(perSec); math.Abs(n-want) > tolerance {
		t.Errorf("%.0f visits were due within %.3f s, want %.0f, give or take %.0f", n, at[len(at)-1], want, tolerance)
	}
	mean, cv := gaps(at)
	if math.Abs(mean*perSec-1) > 0.001+0.2*variation || math.Abs(cv-variation) > 0.001+0.2*variation {
		t.Errorf("distances between intended times: mean %.3f ms, variation %.2f, want 1 ms and %.0f", 1e3*mean, cv, variation)
	}
}

// gaps returns the mean and the coefficient of variation of the distances between sorted values.
func gaps(at []float64) (mean, cv float64) {
	var sum, squares float64
	n := float64(len(at) - 1)
	for i := range at[1:] {
		d := at[i+1] - at[i]
		sum, squares = sum+d, squares+d*d
	}
	mean = sum / n
	return mean, math.Sqrt(max(squares/n-mean*mean, 0)) / mean
}

// TestRunRateIsKeptHonest has a rate beyond what its users can do said, with the latency counted from when hits were due.
func TestRunRateIsKeptHonest(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, func(c net.Conn, r *bufio.Reader) {
		for readRequest(r) {
			time.Sleep(20 * time.Millisecond)
			io.WriteString(c, okAnswer)
		}
	})
	e := load.NewEngine(load.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	// Two users do 100 hits a second at most; 200 are asked for.
	rep := load.RunRate(ctx, load.Rate{PerSec: 200}, visitors(e, o), e.Recorder(), load.RateOptions{MaxUsers: 2})
	s := e.Recorder().Summary(rep.End)
	if rep.Shortfall() == "" || rep.Unstarted < 80 || rep.PeakUsers != 2 || rep.Planned != rep.Started+rep.Unstarted+rep.Dropped {
		t.Errorf("got %+v, want about 100 hits that never went", rep)
	}
	if s.Total.Latency.P50 < 150*time.Millisecond || s.Total.FromSent.P50 > s.Total.Latency.P50 { // the load lasts for a second: half of it waited half of that
		t.Errorf("p50 %v from intended, %v from sent, want about 250 ms and 20 ms", s.Total.Latency.P50, s.Total.FromSent.P50)
	}
}

// TestStallIsSeenByAll has a server that stops for 200 ms every second of a fixed rate: all hits that were due meanwhile had to wait, as
// the quantiles must show.
func TestStallIsSeenByAll(t *testing.T) {
	t.Parallel()
	const period, stall = time.Second, 200 * time.Millisecond
	begin := time.Now()
	left := func(at time.Time) time.Duration { return stall - at.Sub(begin)%period }
	o := serveRaw(t, func(c net.Conn, r *bufio.Reader) {
		for readRequest(r) {
			time.Sleep(left(time.Now()))
			io.WriteString(c, okAnswer)
		}
	})
	e := load.NewEngine(load.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 3*period)
	defer cancel()
	rep := load.RunRate(ctx, load.Rate{PerSec: 400}, visitors(e, o), e.Recorder(), load.RateOptions{})
	var truth []time.Duration
	for i := range rep.Started {
		truth = append(truth, max(left(rep.Start.Add(time.Duration(i)*time.Second/400)), 0))
	}
	slices.Sort(truth)
	got := e.Recorder().Summary(rep.End).Total.Latency
	for _, q := range []struct {
		q    float64
		got  time.Duration
		name string
	}{{0.9, got.P90, "p90"}, {0.99, got.P99, "p99"}, {0.999, got.P999, "p99.9"}} {
		want := truth[int(math.Ceil(q.q*float64(len(truth))))-1]
		if q.got < want*97/100 { // a busy machine adds to it; an engine that hides stalls is a hundred milliseconds below
			t.Errorf("%s: got %v, want %v or more", q.name, q.got, want)
		}
	}
}

// TestCapacity has the search find the capacity of a model server, whose trials miss at random near it.
func TestCapacity(t *testing.T) {
	for _, capacity := range []float64{15, 800, 12_345} {
		rng := rand.New(rand.NewPCG(1, uint64(capacity)))
		rep, err := load.Capacity{Resolution: 0.05}.Search(t.Context(), func(_ context.Context, perSec float64) (string, error) {
			if perSec > capacity*(1+0.02*rng.NormFloat64()) {
				return "p99 too high", nil
			}
			return "", nil
		})
		if err != nil || rep.PerSec < capacity*0.9 || rep.PerSec > capacity*1.05 || len(rep.Trials) > 40 {
			t.Errorf("capacity %v: got %v after %d trials, %v", capacity, rep.PerSec, len(rep.Trials), err)
		}
		last := rep.Trials[len(rep.Trials)-2:]
		for _, tr := range last {
			if !tr.Confirms || tr.Missed != "" || tr.PerSec != rep.PerSec {
				t.Errorf("capacity %v: ends with %+v, want it confirmed", capacity, last)
			}
		}
	}
	always := func(context.Context, float64) (string, error) { return "", nil }
	if rep, err := (load.Capacity{MaxPerSec: 100}).Search(t.Context(), always); err != nil || rep.PerSec != 100 || !rep.AtLeast {
		t.Errorf("unlimited server: got %+v, %v, want at least 100", rep, err)
	}
	never := func(context.Context, float64) (string, error) { return "slow", nil }
	if _, err := (load.Capacity{}).Search(t.Context(), never); !errors.Is(err, load.ErrNoCapacity) {
		t.Errorf("hopeless server: got %v, want ErrNoCapacity", err)
	}
}
