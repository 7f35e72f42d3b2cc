package report

import (
	"fmt"
	"strings"

	"isukit/bench/result"
)

// Summary is a round in plain text for a chat, with at most most routes and queries. With 10 it has less than 40 lines.
func Summary(r *result.Round, most int) string {
	var b strings.Builder
	verdict := "PASS"
	if !r.Passed {
		verdict = "FAIL"
	}
	fmt.Fprintf(&b, "%s  score %s  %s\n", verdict, count(r.Score.Total), clean(r.ID))
	if r.Reason != "" {
		fmt.Fprintf(&b, "%s\n", cut(clean(r.Reason), 300))
	}
	if r.Bottleneck.Text != "" {
		fmt.Fprintf(&b, "limit: %s\n", cut(clean(r.Bottleneck.Text), 300))
	}
	if commit := r.Fact("commit"); commit != "" {
		fmt.Fprintf(&b, "commit: %s\n", cut(clean(commit), 100))
	}
	for i, route := range r.Access.Routes {
		if i == most {
			break
		}
		fmt.Fprintf(&b, "route: %s %s  %s times, %s, p99 %s\n", clean(route.Method), cut(clean(route.Path), 60), count(route.Hits), seconds(route.Request.SumSeconds), millis(route.Request.P99Ms))
	}
	for i, q := range r.Queries.Queries {
		if i == most {
			break
		}
		fmt.Fprintf(&b, "query: %s  %s times, %s\n", cut(clean(q.Fingerprint), 80), count(q.Time.Count), seconds(q.Time.SumSeconds))
	}
	if n := len(r.Warnings); n > 0 {
		fmt.Fprintf(&b, "%s, the first: %s\n", plural(int64(n), "warning"), cut(clean(r.Warnings[0]), 200))
	}
	for _, h := range r.Hosts[:min(len(r.Hosts), most)] {
		fmt.Fprintf(&b, "host: %s  %s busy\n", cut(clean(h.Host), 40), percent(h.Busy))
	}
	return b.String()
}

// Since is one line about how a round stands to the best that passed among others; "" when there is none.
func Since(r *result.Round, others []result.Entry) string {
	var best *result.Round
	for _, e := range others {
		if o := e.Round; o != nil && o.ID != r.ID && o.Passed && (best == nil || o.Score.Total > best.Score.Total) {
			best = o
		}
	}
	if best == nil {
		return ""
	}
	return fmt.Sprintf("%s against the best, %s of %s\n", signed(r.Score.Total-best.Score.Total), count(best.Score.Total), clean(best.ID))
}
