package query

import (
	"cmp"
	"regexp"
	"slices"
	"time"

	"isukit/infra/digest"
)

// Digest is what the databases had to say.
type Digest struct {
	// Statements is all that was read, of which Unreadable could not be understood and Outside lay out of the window; the
	// rest is counted in Queries.
	Statements, Unreadable, Outside int64
	// Sampled is the highest number of statements of which the server logged one; 0 or 1 when it logged all.
	Sampled int64
	// First and Last are the earliest and the latest time of a counted statement; zero when none told one.
	First, Last time.Time
	// Examples are the first entries that could not be understood, cut.
	Examples []Unreadable
	// Queries are those by the sum of their times, largest first.
	Queries []*Query
}

// Unreadable is an entry that could not be understood.
type Unreadable struct {
	File string
	Line int64 // from 1, where the entry begins
	Text string
}

// Query is the statements of one fingerprint.
type Query struct {
	Fingerprint string
	// Database is where the first of them with a known database ran.
	Database string
	Time     digest.Times
	Lock     time.Duration // sum of the waits for locks
	RowsSent int64
	// RowsExamined is how many rows the server looked at for them.
	RowsExamined int64
	RowsAffected int64
	// Example is the slowest of them, cut at MaxExampleBytes; WholeExample says that it was not cut.
	Example      string
	WholeExample bool
	// Routes counts by what a comment of the statement says; nil when none does.
	Routes map[string]int64

	slowest time.Duration
}

// Bounds of what a log can make of a digest.
const (
	// MaxExampleBytes is the most of a statement that is kept as an example.
	MaxExampleBytes = 4096
	maxQueries      = 20_000
	maxRoutes       = 100
)

// OtherQueries is the fingerprint of what comes beyond the number that is kept apart.
const OtherQueries = "(others)"

// entry is one statement as a log tells it.
type entry struct {
	at           time.Time
	ended        time.Time // by the header of this entry
	database     string
	took, lock   time.Duration
	sent, looked int64
	affected     int64
	timed        bool
	set, used    bool // "SET timestamp" and "use" of its preamble have been read
	statement    []byte
	whole        bool
}

// gatherer puts entries together.
type gatherer struct {
	groups  []*regexp.Regexp
	queries map[string]*Query
	out     Digest
}

func (g *gatherer) add(e *entry) {
	if !e.at.IsZero() {
		if g.out.First.IsZero() || e.at.Before(g.out.First) {
			g.out.First = e.at
		}
		if e.at.After(g.out.Last) {
			g.out.Last = e.at
		}
	}
	fingerprint := Fingerprint(string(e.statement))
	if i := slices.IndexFunc(g.groups, func(expr *regexp.Regexp) bool { return expr.MatchString(fingerprint) }); i >= 0 {
		fingerprint = g.groups[i].String()
	}
	q := g.query(fingerprint)
	q.Database = cmp.Or(q.Database, e.database)
	q.Time.Add(e.took)
	q.Lock += e.lock
	q.RowsSent += e.sent
	q.RowsExamined += e.looked
	q.RowsAffected += e.affected
	if q.Example == "" || e.took > q.slowest {
		q.slowest = e.took
		q.WholeExample = e.whole && len(e.statement) <= MaxExampleBytes
		q.Example = string(e.statement[:min(len(e.statement), MaxExampleBytes)])
	}
	if tag := routeTag(e.statement); tag != "" {
		q.addRoute(tag, 1)
	}
}

func (g *gatherer) query(fingerprint string) *Query {
	q := g.queries[fingerprint]
	if q == nil && len(g.queries) >= maxQueries {
		fingerprint = OtherQueries
		q = g.queries[fingerprint]
	}
	if q == nil {
		q = &Query{Fingerprint: fingerprint}
		g.queries[fingerprint] = q
	}
	return q
}

func (q *Query) addRoute(tag string, n int64) {
	if q.Routes == nil {
		q.Routes = map[string]int64{}
	}
	if _, ok := q.Routes[tag]; !ok && len(q.Routes) >= maxRoutes {
		tag = OtherQueries
	}
	q.Routes[tag] += n
}

func (g *gatherer) digest() *Digest {
	for _, q := range g.queries {
		g.out.Queries = append(g.out.Queries, q)
	}
	Sort(g.out.Queries)
	return &g.out
}

// Sort puts queries in order, those with the largest sums of time first.
func Sort(queries []*Query) {
	slices.SortFunc(queries, func(a, b *Query) int {
		return cmp.Or(cmp.Compare(b.Time.Sum, a.Time.Sum), cmp.Compare(b.Time.Count, a.Time.Count), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
}
