package report

import (
	"maps"
	"slices"
	"strconv"

	"isukit/bench/result"
)

type queryView struct {
	result.Query
	Anchor, Short string
	Share         float64
}

// pageQueries is how many queries the page shows in full.
const pageQueries = 60

func queryViews(r *result.Round) []queryView {
	var sum float64
	for _, q := range r.Queries.Queries {
		sum += q.Time.SumSeconds
	}
	var views []queryView
	for i, q := range r.Queries.Queries[:min(len(r.Queries.Queries), pageQueries)] {
		views = append(views, queryView{q, "q" + strconv.Itoa(i), cut(clean(q.Fingerprint), 110), q.Time.SumSeconds / max(sum, 1e-9)})
	}
	return views
}

type settingsView struct {
	Title string
	Rows  []result.Fact
}

func settingsViews(r *result.Round) []settingsView {
	var views []settingsView
	for _, s := range r.Settings {
		v := settingsView{Title: clean(s.Host + ": " + s.Source)}
		for _, key := range slices.Sorted(maps.Keys(s.Values)) {
			v.Rows = append(v.Rows, result.Fact{Key: clean(key), Value: cut(clean(s.Values[key]), 500)})
		}
		views = append(views, v)
	}
	return views
}

// openFiles are the open files of the process that came nearest to its limit; "" if unknown.
func openFiles(r *result.Round, u result.RoleUsage) string {
	for _, s := range r.Series {
		for _, p := range s.Processes {
			if s.Host == u.Host && p.Name == u.Role && p.FileLimit > 0 {
				return count(p.OpenFiles) + " of " + count(p.FileLimit)
			}
		}
	}
	return ""
}
