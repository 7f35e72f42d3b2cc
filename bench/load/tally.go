package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is the greatest latency that histograms tell apart; longer ones count as this long.
const longest = 10 * time.Minute

// Histograms count microseconds with three significant digits, an error of at most 0.1 %. All have the same buckets, so that
// any of them can be merged without loss.
const digits = 3

// tally counts the hits of one endpoint. Its latencies are kept by second.
type tally struct {
	kinds         [kinds]int64
	receivedBytes int64
}

func (t *tally) add(h *Hit) {
	t.kinds[h.Kind]++
	t.receivedBytes += int64(h.ReceivedBytes)
}

// second counts the hits that ended in one second of the load, and those that were due in it.
type second struct {
	kinds [kinds]int64
	users int
	dues  []dueCount // by Endpoint
	cells []*cell    // by Endpoint; nil, or absent, until a hit of that endpoint was answered
}

func (s *second) add(h *Hit) {
	s.kinds[h.Kind]++
	if !h.Kind.answered() {
		return
	}
	for len(s.cells) <= int(h.Endpoint) {
		s.cells = append(s.cells, nil)
	}
	if s.cells[h.Endpoint] == nil {
		s.cells[h.Endpoint] = &cell{}
	}
	s.cells[h.Endpoint].add(h)
}

// cell holds the latencies of one endpoint's hits in one second. Most hits of a closed loop go when they were meant to, and
// are counted in both; the others are told apart. Each is nil until it is needed.
type cell struct{ both, intended, sent *hdrhistogram.PackedHistogram }

func (c *cell) add(h *Hit) {
	if h.Sent == h.Intended {
		put(&c.both, h.Latency())
		return
	}
	put(&c.intended, h.Latency())
	put(&c.sent, h.FromSent())
}

// mergeInto adds the cell's latencies to those counted from intended and those counted from sent; either may be nil.
func (c *cell) mergeInto(intended, sent *hdrhistogram.PackedHistogram) {
	if c == nil {
		return
	}
	for _, m := range [...]struct{ to, from *hdrhistogram.PackedHistogram }{
		{intended, c.both}, {intended, c.intended}, {sent, c.both}, {sent, c.sent},
	} {
		if m.to != nil && m.from != nil {
			m.to.Merge(m.from) // drops nothing: all have the same buckets
		}
	}
}

// sparse returns an empty histogram that takes as much memory as it has different values.
func sparse() *hdrhistogram.PackedHistogram {
	return hdrhistogram.NewPacked(1, longest.Microseconds(), digits)
}

// dense returns an empty histogram that is quick to add to, at 170 KiB.
func dense() *hdrhistogram.Histogram { return hdrhistogram.New(1, longest.Microseconds(), digits) }

func put(h **hdrhistogram.PackedHistogram, d time.Duration) {
	if *h == nil {
		*h = sparse()
	}
	// RecordValue fails only beyond the highest trackable value, which the clamp rules out.
	_ = (*h).RecordValue(clamp(d))
}

// observe counts one latency.
func observe(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(clamp(d)) // see put
}

// clamp returns microseconds that a histogram can hold: no hit is lost.
func clamp(d time.Duration) int64 { return min(max(d.Microseconds(), 0), longest.Microseconds()) }

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

// histogram is what quantiles are taken from.
type histogram interface {
	TotalCount() int64
	Max() int64
	Mean() float64
	ValueAtPercentilesSlice(percentiles []float64) []int64
}

func latencyOf(h histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	us := h.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9})
	d := func(v int64) time.Duration { return time.Duration(v) * time.Microsecond }
	return Latency{
		P50: d(us[0]), P90: d(us[1]), P99: d(us[2]), P999: d(us[3]), Max: d(h.Max()),
		Mean: time.Duration(h.Mean() * float64(time.Microsecond)), Count: h.TotalCount(),
	}
}
