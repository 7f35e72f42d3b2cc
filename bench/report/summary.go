package report

import (
	"fmt"
	"strings"

	"isukit/bench/result"
)

// Summary is a round in a few lines of plain text, for a chat: score and verdict, the limit, the largest routes and queries,
// and how many warnings there are.
func Summary(r *result.Round) string {
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
		if i == 3 {
			break
		}
		fmt.Fprintf(&b, "route: %s %s  %s times, %s, p99 %s\n", clean(route.Method), cut(clean(route.Path), 60), count(route.Hits), seconds(route.Request.SumSeconds), millis(route.Request.P99Ms))
	}
	for i, q := range r.Queries.Queries {
		if i == 3 {
			break
		}
		fmt.Fprintf(&b, "query: %s  %s times, %s\n", cut(clean(q.Fingerprint), 80), count(q.Time.Count), seconds(q.Time.SumSeconds))
	}
	if n := len(r.Warnings); n > 0 {
		fmt.Fprintf(&b, "%s, the first: %s\n", plural(int64(n), "warning"), cut(clean(r.Warnings[0]), 200))
	}
	return b.String()
}
