package load

import (
	"context"
	"strings"
	"sync/atomic"
	"time"
)

// seat is a user's place in a load. Its user is away while too many are there, and for a while after a hit that took far too long.
type seat struct {
	n    int
	all  *seats
	away atomic.Int64 // until then, in nanoseconds of Unix time
}

// seats are those of one load: how many users are allowed, and how many of these are away for a while.
type seats struct{ allowed, away atomic.Int64 }

type seatKey struct{}

func seatOf(ctx context.Context) *seat {
	s, _ := ctx.Value(seatKey{}).(*seat)
	return s
}

// How long a user leaves for, at least and at most, after a hit of so many times its limit, and how often one who is away looks again.
const (
	leaveFor, leaveSpread = 2 * time.Second, 2 * time.Second
	leaveAt               = 2
	lookAgain             = 200 * time.Millisecond
)

// Stay returns when this context's user may go on: users call it between two steps. The error is that of ctx.
func Stay(ctx context.Context) error {
	for s := seatOf(ctx); s != nil; {
		away := int64(0)
		if int64(s.n) < s.all.allowed.Load() {
			if time.Now().UnixNano() >= s.away.Load() {
				break
			}
			away = 1
		}
		s.all.away.Add(away)
		err := Sleep(ctx, lookAgain)
		s.all.away.Add(-away)
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// took has the user leave for a while after a hit that took far too long.
func (s *seat) took(d, limit time.Duration) {
	if d > leaveAt*limit {
		s.away.Store(time.Now().Add(leaveFor + time.Duration(s.n%8)*leaveSpread/8).UnixNano())
	}
}

// The latency up to which a person calls an answer fast: of what is read, and of what is written.
const fastRead, fastWrite = 500 * time.Millisecond, time.Second

// fastFor is the limit of an endpoint, whose name begins with its method, or of a method.
func fastFor(endpoint string) time.Duration {
	if method, _, _ := strings.Cut(endpoint, " "); method == "POST" || method == "PUT" || method == "PATCH" || method == "DELETE" {
		return fastWrite
	}
	return fastRead
}

// KindState is how the hits of one endpoint did that were due in some seconds.
type KindState struct {
	Name  string
	Limit time.Duration
	// Due counts hits that were due then and have ended, and hits in progress for longer than the limit. Slow took longer than the limit.
	Due, Slow int
}

type dueCount struct{ n, slow int }

type flight struct {
	endpoint atomic.Int32
	due      atomic.Int64 // in nanoseconds of Unix time, 0 for none
}

// flight adds a client whose hits under way are watched.
func (r *Recorder) flight() *flight {
	f := &flight{}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flights = append(r.flights, f)
	return f
}

// addDue counts a hit for the second that it was due in; r.mu is held.
func (r *Recorder) addDue(h *Hit) {
	if h.Kind == Canceled {
		return
	}
	s := r.second(h.Intended)
	for len(s.dues) <= int(h.Endpoint) {
		s.dues = append(s.dues, dueCount{})
	}
	d := &s.dues[h.Endpoint]
	d.n++
	if h.Latency() > fastFor(r.names[h.Endpoint]) {
		d.slow++
	}
}

// Kinds is the state of each endpoint's hits that were due in the whole seconds [from, to), or are in progress at now.
func (r *Recorder) Kinds(from, to int, now time.Time) []KindState {
	r.flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	kinds := make([]KindState, len(r.names))
	for e, name := range r.names {
		kinds[e] = KindState{Name: name, Limit: fastFor(name)}
	}
	for i := max(from, 0); i < min(to, len(r.seconds)); i++ {
		if s := r.seconds[i]; s != nil {
			for e, d := range s.dues {
				kinds[e].Due += d.n
				kinds[e].Slow += d.slow
			}
		}
	}
	for _, f := range r.flights {
		k := &kinds[f.endpoint.Load()]
		if at := f.due.Load(); at != 0 && now.Sub(time.Unix(0, at)) > k.Limit {
			k.Due++
			k.Slow++
		}
	}
	return kinds
}

// enoughHits is how many hits a kind needs to be judged alone. Rarer kinds with the same limit are judged together.
const enoughHits = 10

func worst(kinds []KindState) (at KindState) {
	rare := []KindState{{Name: "rarer reads", Limit: fastRead}, {Name: "rarer writes", Limit: fastWrite}}
	consider := func(k KindState) {
		if k.Due >= enoughHits && k.Slow*max(1, at.Due) > at.Slow*k.Due {
			at = k
		}
	}
	for _, k := range kinds {
		consider(k)
		for i := range rare {
			if k.Due < enoughHits && rare[i].Limit == k.Limit {
				rare[i].Due += k.Due
				rare[i].Slow += k.Slow
			}
		}
	}
	consider(rare[0])
	consider(rare[1])
	return at
}
