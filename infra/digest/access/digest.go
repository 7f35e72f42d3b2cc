package access

import (
	"cmp"
	"slices"
	"time"

	"isukit/infra/digest"
)

// Digest is what logs had to say.
type Digest struct {
	// Lines is all that was read, of which Unreadable could not be understood and Outside lay out of the window; an empty
	// line is none. The rest is counted in Routes.
	Lines, Unreadable, Outside int64
	// Untimed of the counted lines told no time that could be read; with a window they lie outside.
	Untimed int64
	// Zoneless counted lines told a time without a zone, which was taken for that of Options.Zone.
	Zoneless int64
	// Untold is what no counted line had a value for: "time", "method", "path", "status", "request time", "bytes".
	Untold []string
	// First and Last are the earliest and the latest time of a counted line; zero when none told one.
	First, Last time.Time
	Formats     []string // how the files were read: "json", "ltsv", "combined", "envoy", "format"
	// Examples are the first lines that could not be understood, cut.
	Examples []Unreadable
	// All sums up the routes, Routes are those by the sum of their request times, largest first.
	All    Route
	Routes []*Route
	// Seconds are the seconds of the window, from its beginning; only with Options.Seconds.
	Seconds []Second
}

// Unreadable is a line that could not be understood.
type Unreadable struct {
	File string
	Line int64 // from 1
	Text string
}

// Second is what ended within one second.
type Second struct {
	Hits, Errors int64 // Errors have status 500 and above, or 499: the client gave up
	Took         digest.Times
}

// Route is one method with one kind of path.
type Route struct {
	// Method is "" and Path otherwise one of the constants below for requests without a route.
	Method, Path string
	Count        int64
	// Status counts by class: Status[2] is 2xx, Status[0] is unknown. Closed counts nginx's 499, which is in Status[4], too.
	Status [6]int64
	Closed int64
	// Took is the time of the whole request, Upstream that of its upstreams together; their Count is of those that told it.
	Took, Upstream digest.Times
	// Retried counts requests for which several upstreams were asked.
	Retried   int64
	SentBytes int64
	MaxBytes  int64
	// Cache counts by cache status (HIT, MISS, ...); nil without any.
	Cache map[string]int64
	// Slowest are the requests that took longest, the longest first.
	Slowest []Slow
}

// Slow is one request that took long.
type Slow struct {
	At     time.Time // when it ended; zero when not told
	Took   time.Duration
	Status int
	Target string // with its query, cut
}

// Bounds of what is kept of the slowest requests of a route.
const (
	maxSlowest = 5
	maxTarget  = 300
)

// Names of routes for requests without a path.
const (
	// NoRequest is for what was no HTTP request, as a TLS hello on a plain port.
	NoRequest = "(no request)"
	// OtherRoute is for paths beyond the number that is kept apart.
	OtherRoute = "(others)"
)

func (r *Route) add(e *entry) {
	r.Count++
	class := e.status / 100
	if class > 5 {
		class = 0
	}
	r.Status[class]++
	if e.status == 499 {
		r.Closed++
	}
	if e.hasTook {
		r.Took.Add(e.took)
		if n := len(r.Slowest); n < maxSlowest || e.took > r.Slowest[n-1].Took {
			r.addSlow(Slow{e.at, e.took, e.status, string(e.path[:min(len(e.path), maxTarget)])})
		}
	}
	if e.hasUpstream {
		r.Upstream.Add(e.upstream)
	}
	if e.tries > 1 {
		r.Retried++
	}
	r.SentBytes += e.sentBytes
	r.MaxBytes = max(r.MaxBytes, e.sentBytes)
	if e.cache != nil {
		r.addCache(string(e.cache), 1)
	}
}

// addSlow keeps requests if they are among the slowest.
func (r *Route) addSlow(slow ...Slow) {
	r.Slowest = append(r.Slowest, slow...)
	slices.SortStableFunc(r.Slowest, func(a, b Slow) int { return cmp.Compare(b.Took, a.Took) })
	r.Slowest = r.Slowest[:min(len(r.Slowest), maxSlowest)]
}

// maxCacheStates bounds what a log can make of the cache status; nginx knows seven.
const maxCacheStates = 16

func (r *Route) addCache(state string, n int64) {
	if r.Cache == nil {
		r.Cache = map[string]int64{}
	}
	if _, ok := r.Cache[state]; !ok && len(r.Cache) >= maxCacheStates {
		state = "other"
	}
	r.Cache[state] += n
}

func (r *Route) merge(other *Route) {
	r.Count += other.Count
	for i := range r.Status {
		r.Status[i] += other.Status[i]
	}
	r.Closed += other.Closed
	r.Took.Merge(&other.Took)
	r.addSlow(other.Slowest...)
	r.Upstream.Merge(&other.Upstream)
	r.Retried += other.Retried
	r.SentBytes += other.SentBytes
	r.MaxBytes = max(r.MaxBytes, other.MaxBytes)
	for state, n := range other.Cache {
		r.addCache(state, n)
	}
}

// Keep leaves only the routes that are wanted, and sums these up.
func (d *Digest) Keep(want func(*Route) bool) {
	d.sum(slices.DeleteFunc(d.Routes, func(r *Route) bool { return !want(r) }))
}

// sum puts the routes in order and adds them up.
func (d *Digest) sum(routes []*Route) {
	slices.SortFunc(routes, func(a, b *Route) int {
		return cmp.Or(cmp.Compare(b.Took.Sum, a.Took.Sum), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	d.Routes = routes
	d.All = Route{Path: "all"}
	for _, r := range routes {
		d.All.merge(r)
	}
}
