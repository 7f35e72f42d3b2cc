package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is the greatest latency that histograms tell apart; longer ones count as this long.
const longest = 10 * time.Minute

// Histograms count microseconds. Those of endpoints keep three significant digits (an error of at most 0.1 %), those of
// seconds two (at most 0.8 %), because there are many of them.
const (
	endpointDigits = 3
	secondDigits   = 2
)

// tally counts the hits of one endpoint.
type tally struct {
	kinds         [kinds]int64
	receivedBytes int64
	intended      *hdrhistogram.Histogram
	sent          *hdrhistogram.Histogram
}

func newTally() *tally {
	return &tally{
		intended: hdrhistogram.New(1, longest.Microseconds(), endpointDigits),
		sent:     hdrhistogram.New(1, longest.Microseconds(), endpointDigits),
	}
}

func (t *tally) add(h *Hit) {
	t.kinds[h.Kind]++
	t.receivedBytes += int64(h.ReceivedBytes)
	if h.Kind.answered() {
		observe(t.intended, h.Latency())
		observe(t.sent, h.FromSent())
	}
}

// merge adds what u counted.
func (t *tally) merge(u *tally) {
	addKinds(&t.kinds, &u.kinds)
	t.receivedBytes += u.receivedBytes
	t.intended.Merge(u.intended)
	t.sent.Merge(u.sent)
}

// second counts the hits that ended in one second of the load.
type second struct {
	kinds    [kinds]int64
	users    int
	intended *hdrhistogram.Histogram // nil until a hit was answered
}

func (s *second) add(h *Hit) {
	s.kinds[h.Kind]++
	if !h.Kind.answered() {
		return
	}
	if s.intended == nil {
		s.intended = hdrhistogram.New(1, longest.Microseconds(), secondDigits)
	}
	observe(s.intended, h.Latency())
}

// observe counts one latency, clamped to what the histogram can hold: no hit is lost.
func observe(h *hdrhistogram.Histogram, d time.Duration) {
	us := min(max(d.Microseconds(), 0), longest.Microseconds())
	// RecordValue fails only beyond the highest trackable value, which the clamp rules out.
	_ = h.RecordValue(us)
}

func addKinds(to, from *[kinds]int64) {
	for k := range to {
		to[k] += from[k]
	}
}

// Latency holds quantiles of the hits that were answered, whatever the answer, or timed out; one that timed out counts with
// as long as it was waited for.
type Latency struct {
	P50, P90, P99, P999, Max time.Duration
	Mean                     time.Duration
	// Count is the number of hits behind the quantiles.
	Count int64
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	if h == nil || h.TotalCount() == 0 {
		return Latency{}
	}
	us := h.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9})
	d := func(v int64) time.Duration { return time.Duration(v) * time.Microsecond }
	return Latency{
		P50: d(us[0]), P90: d(us[1]), P99: d(us[2]), P999: d(us[3]), Max: d(h.Max()),
		Mean: time.Duration(h.Mean() * float64(time.Microsecond)), Count: h.TotalCount(),
	}
}
