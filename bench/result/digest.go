package result

import "time"

// Spread sums up times. Quantiles come from a histogram and are off by 0.2 % at most; the highest is exact.
type Spread struct {
	Count      int64   `json:"count"`
	SumSeconds float64 `json:"sum_s"`
	P50Ms      float64 `json:"p50_ms"`
	P90Ms      float64 `json:"p90_ms"`
	P95Ms      float64 `json:"p95_ms"`
	P99Ms      float64 `json:"p99_ms"`
	MaxMs      float64 `json:"max_ms"`
}

// AccessDigest is what the access logs of a round say.
type AccessDigest struct {
	// Lines is all that was read; each of them is unreadable, outside the window, or counted in one route.
	Lines      int64 `json:"lines"`
	Unreadable int64 `json:"unreadable"`
	Outside    int64 `json:"outside"`
	// Untimed lines have no time; without a window they count anyway.
	Untimed int64 `json:"untimed,omitempty"`
	// Zoneless lines told a time without a zone, which was taken for the host's, or the given one.
	Zoneless int64 `json:"zoneless,omitempty"`
	// Untold is what no counted line told: "time", "method", "path", "status", "request time", "bytes".
	Untold  []string `json:"untold,omitempty"`
	Formats []string `json:"formats,omitempty"`
	// Examples are the first of the unreadable lines, cut.
	Examples []UnreadableLine `json:"examples,omitempty"`
	Total    Route            `json:"total"`
	// Routes are those with the largest sums of time; Left is how many more there were.
	Routes []Route `json:"routes"`
	Left   int     `json:"routes_left,omitempty"`
}

// UnreadableLine is a line of a log that could not be understood.
type UnreadableLine struct {
	File string `json:"file"`
	// Line counts from 1.
	Line int64  `json:"line"`
	Text string `json:"text"`
}

// Route sums up the requests of one method to one kind of path, as the proxy logged them.
type Route struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Hits   int64  `json:"hits"`
	// Status counts answers by class ("2xx"); "other" is what has none.
	Status map[string]int64 `json:"status"`
	// Closed counts requests whose client gave up before the answer (499); "4xx" counts them, too.
	Closed   int64  `json:"closed,omitempty"`
	Request  Spread `json:"request"`
	Upstream Spread `json:"upstream"`
	// Retried counts requests for which more than one upstream was asked.
	Retried   int64 `json:"retried,omitempty"`
	SentBytes int64 `json:"sent_bytes"`
	// MaxBytes is the largest answer.
	MaxBytes int64            `json:"max_bytes"`
	Cache    map[string]int64 `json:"cache,omitempty"`
	// Slowest are the requests that took longest, the longest first.
	Slowest []SlowRequest `json:"slowest,omitempty"`
}

// SlowRequest is one request that took long.
type SlowRequest struct {
	// At is when it ended, in UTC; absent if the log does not contain it.
	At     time.Time `json:"at,omitzero"`
	Ms     float64   `json:"ms"`
	Status int       `json:"status"`
	// Target is its path with its query; what looks like a secret is masked.
	Target string `json:"target"`
}

// QueryDigest is what databases say about the statements of a round.
type QueryDigest struct {
	// Statements is all that was read; Unreadable are entries that could not be understood, Outside lay out of the window.
	Statements int64 `json:"statements"`
	Unreadable int64 `json:"unreadable"`
	Outside    int64 `json:"outside"`
	// Sampled is the highest number of statements of which the server logged only one; what is counted is what was logged.
	Sampled int64 `json:"sampled,omitempty"`
	// Sources are where it was read: "slow log of s1", "performance_schema of s1".
	Sources  []string         `json:"sources,omitempty"`
	Examples []UnreadableLine `json:"examples,omitempty"`
	// Queries are those with the largest sums of time; Left is how many more there were.
	Queries []Query `json:"queries"`
	Left    int     `json:"queries_left,omitempty"`
}

// Counted is how many of the statements the queries sum up.
func (d *QueryDigest) Counted() int64 { return d.Statements - d.Unreadable - d.Outside }

// Query sums up the statements of one fingerprint in one source.
type Query struct {
	// ID is the fingerprint's hash in hexadecimal digits, the same in every round.
	ID          string `json:"id"`
	Fingerprint string `json:"fingerprint"`
	Database    string `json:"database,omitempty"`
	Time        Spread `json:"time"`
	// LockSeconds is the sum of the waits for locks.
	LockSeconds  float64 `json:"lock_s"`
	RowsSent     int64   `json:"rows_sent"`
	RowsExamined int64   `json:"rows_examined"`
	RowsAffected int64   `json:"rows_affected,omitempty"`
	// Example is the slowest of them; Explain is how the server plans to run it, and Host where that was.
	Example string `json:"example,omitempty"`
	Explain string `json:"explain,omitempty"`
	Host    string `json:"host,omitempty"`
	// Routes counts by what the app says in a comment of the statement.
	Routes map[string]int64 `json:"routes,omitempty"`
}
