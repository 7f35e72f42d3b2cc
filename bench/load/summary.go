package load

import (
	"cmp"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Counts says how hits ended. Hits is OK, Refused and Errors together; canceled hits are in none of them.
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
	// Latency counts from when the hit was meant to go, FromSent from when it went.
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
	// Seconds has one entry for every second of the load, empty ones too; a last one that was not whole only if it had hits.
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
	s.mergeInto(intended)
	return SecondSummary{At: at, Users: s.users, Counts: countsOf(&s.kinds), Latency: latencyOf(intended)}
}

// mergeInto adds the second's latencies, counted from intended.
func (s *second) mergeInto(intended *hdrhistogram.PackedHistogram) {
	for _, c := range s.cells {
		c.mergeInto(intended, nil)
	}
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

// Window sums up the whole seconds [from, to) of the load; Users is the highest of them.
func (r *Recorder) Window(from, to int) SecondSummary {
	r.flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	var sum second
	intended := sparse()
	for i := max(from, 0); i < min(to, len(r.seconds)); i++ {
		s := r.seconds[i]
		if s == nil {
			continue
		}
		addKinds(&sum.kinds, &s.kinds)
		sum.users = max(sum.users, s.users)
		s.mergeInto(intended)
	}
	return SecondSummary{At: from, Users: sum.users, Counts: countsOf(&sum.kinds), Latency: latencyOf(intended)}
}
