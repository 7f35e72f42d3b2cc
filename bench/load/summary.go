package load

import (
	"cmp"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Counts is how hits ended. Hits is OK, Refused and Errors together; canceled hits are in none of them.
type Counts struct {
	Hits, OK, Refused, Errors int64
	// Canceled hits were under way when the load ended.
	Canceled int64
	// ByKind is indexed by Kind.
	ByKind [kinds]int64
}

func countsOf(k *[kinds]int64) Counts {
	c := Counts{ByKind: *k, OK: k[OK], Refused: k[Refused], Canceled: k[Canceled]}
	for kind := range kinds {
		if kind.IsError() {
			c.Errors += k[kind]
		}
	}
	c.Hits = c.OK + c.Refused + c.Errors
	return c
}

// ErrorRatio returns errors over hits, 0 when there were no hits.
func (c Counts) ErrorRatio() float64 {
	if c.Hits == 0 {
		return 0
	}
	return float64(c.Errors) / float64(c.Hits)
}

// EndpointSummary sums up the hits of one endpoint.
type EndpointSummary struct {
	Name string
	Counts
	ReceivedBytes int64
	// Latency counts from the scheduled time of the hit, FromSent from when it was sent.
	Latency, FromSent Latency
}

// SecondSummary sums up the hits that ended in one second of the load.
type SecondSummary struct {
	// At is the second's beginning, in seconds from the start of the load.
	At    int
	Users int
	Counts
	Latency Latency
}

// Summary is all that a load leaves behind.
type Summary struct {
	Start    time.Time
	Duration time.Duration
	// Total sums up all endpoints; its name is empty.
	Total EndpointSummary
	// Endpoints are those that were hit, by name.
	Endpoints []EndpointSummary
	// Errors are the groups of errors, the most frequent first.
	Errors []ErrorGroup
	// Seconds has one entry for every second of the load, empty ones too; an incomplete last one only if it had hits.
	Seconds []SecondSummary
	// LogErr is the first error that writing the hit log met; the log is then cut off there.
	LogErr error
}

// Summary returns what has been counted from the start until end.
func (r *Recorder) Summary(end time.Time) Summary {
	r.flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Summary{Start: r.start, Duration: end.Sub(r.start), LogErr: r.logErr}
	var total tally
	intended, sent := sparse(), sparse()
	for e, t := range r.tallies {
		if t == nil {
			continue
		}
		ofIntended, ofSent := r.latencies(Endpoint(e))
		s.Endpoints = append(s.Endpoints, t.summary(r.names[e], ofIntended, ofSent))
		addKinds(&total.kinds, &t.kinds)
		total.receivedBytes += t.receivedBytes
		intended.Merge(ofIntended)
		sent.Merge(ofSent)
	}
	s.Total = total.summary("", intended, sent)
	slices.SortFunc(s.Endpoints, func(a, b EndpointSummary) int { return cmp.Compare(a.Name, b.Name) })
	for _, g := range r.groups {
		s.Errors = append(s.Errors, *g)
	}
	slices.SortFunc(s.Errors, func(a, b ErrorGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Text, b.Text))
	})
	for at, sec := range r.seconds {
		s.Seconds = append(s.Seconds, sec.summary(at))
	}
	// A piece of a second at the end, in which nothing ended but what was canceled, is not worth a line.
	if n := len(s.Seconds); n > 0 && s.Seconds[n-1].Hits == 0 && time.Duration(n)*time.Second > s.Duration {
		s.Seconds = s.Seconds[:n-1]
	}
	return s
}

// latencies merges an endpoint's latencies of all seconds; r.mu is held.
func (r *Recorder) latencies(e Endpoint) (intended, sent *hdrhistogram.PackedHistogram) {
	intended, sent = sparse(), sparse()
	for _, s := range r.seconds {
		if s != nil && int(e) < len(s.cells) {
			s.cells[e].mergeInto(intended, sent)
		}
	}
	return intended, sent
}

func (t *tally) summary(name string, intended, sent histogram) EndpointSummary {
	return EndpointSummary{
		Name: name, Counts: countsOf(&t.kinds), ReceivedBytes: t.receivedBytes, Latency: latencyOf(intended), FromSent: latencyOf(sent),
	}
}

func (s *second) summary(at int) SecondSummary {
	if s == nil {
		return SecondSummary{At: at}
	}
	intended := sparse()
	for _, c := range s.cells {
		c.mergeInto(intended, nil)
	}
	return SecondSummary{At: at, Users: s.users, Counts: countsOf(&s.kinds), Latency: latencyOf(intended)}
}

// Live is what a view shows while the load runs.
type Live struct {
	Elapsed time.Duration
	Users   int
	// Last is the last whole second before Elapsed.
	Last SecondSummary
	// Total counts from the start.
	Total Counts
	// Errors are the groups so far, in no order.
	Errors []ErrorGroup
}

// Second returns the state at the time now; meant to be called once a second.
func (r *Recorder) Second(now time.Time) Live {
	r.flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	l := Live{Elapsed: now.Sub(r.start), Users: r.users}
	last := int(l.Elapsed/time.Second) - 1
	l.Last.At = last
	if last >= 0 && last < len(r.seconds) {
		l.Last = r.seconds[last].summary(last)
	}
	var all [kinds]int64
	for _, t := range r.tallies {
		if t != nil {
			addKinds(&all, &t.kinds)
		}
	}
	l.Total = countsOf(&all)
	for _, g := range r.groups {
		l.Errors = append(l.Errors, *g)
	}
	return l
}

// Window counts the hits of the whole seconds [from, to) of the load.
func (r *Recorder) Window(from, to int) Counts {
	r.flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	var sum [kinds]int64
	for i := max(from, 0); i < min(to, len(r.seconds)); i++ {
		if s := r.seconds[i]; s != nil {
			addKinds(&sum, &s.kinds)
		}
	}
	return countsOf(&sum)
}

// longest is the greatest latency that histograms tell apart; longer ones count as this long.
const longest = 10 * time.Minute

// Histograms count microseconds, with an error of at most 0.1 %. All have the same buckets, so that they merge without loss.
const digits = 3

type tally struct {
	kinds         [kinds]int64
	receivedBytes int64
}

func (t *tally) add(h *Hit) {
	t.kinds[h.Kind]++
	t.receivedBytes += int64(h.ReceivedBytes)
}

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

// cell is the latencies of one endpoint's hits in one second. Most hits of a closed loop are sent at their scheduled time, and count in
// both; the others are separate. Each is nil until it is needed.
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

// Latency holds quantiles of the hits that were answered or timed out; one that timed out counts with the time that it waited.
type Latency struct {
	P50, P90, P99, P999, Max time.Duration
	Mean                     time.Duration
	// Count is the number of hits behind the quantiles.
	Count int64
}

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
