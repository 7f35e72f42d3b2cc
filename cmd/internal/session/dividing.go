package session

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"isukit/bench/experiment"
	"isukit/bench/result"
)

// dividing is what a digest of statements says about data on two databases.
type dividing struct {
	writes float64  // the part of the time that statements which write took
	tables []string // tables that one of two databases can have without statements that need other tables; empty if all belong together
	share  float64  // the part of the time that statements on them took
}

var (
	tableExpr = regexp.MustCompile("(?i)(?:\\b(?:from|join|into)|^\\s*update)\\s+[`\"]?(\\w+)")
	writeExpr = regexp.MustCompile(`(?i)^\s*(?:insert|update|delete|replace)\b`)
)

// secondFirst marks placements whose second host has the tables that are named.
const secondFirst = "the second has "

// divide reads a digest; nil where there is none, or where another app's data is not isukit's to place.
func (a *Advice) divide(d result.QueryDigest) *dividing {
	if a.app.base == nil {
		a.Data = "the database is on one host: where the data of a project is, is its own matter"
		return nil
	}
	if len(d.Queries) == 0 {
		a.Data = "the database is on one host: a round with --tune measure has what is needed to place tables on two"
		return nil
	}
	together := map[string]string{} // a table's representative
	var find func(string) string
	find = func(t string) string {
		if up, ok := together[t]; ok && up != t {
			return find(up)
		}
		together[t] = t
		return t
	}
	var of dividing
	all, time := 0.0, map[string]float64{}
	for _, q := range d.Queries {
		if all += q.Time.SumSeconds; writeExpr.MatchString(q.Fingerprint) {
			of.writes += q.Time.SumSeconds
		}
		first := ""
		for _, m := range tableExpr.FindAllStringSubmatch(q.Fingerprint, -1) {
			table := strings.ToLower(m[1])
			first = cmp.Or(first, table)
			time[table] += 0
			together[find(table)] = find(first)
		}
		time[first] += q.Time.SumSeconds
	}
	groups, sums := map[string][]string{}, map[string]float64{}
	for _, table := range slices.Sorted(maps.Keys(time)) {
		if table != "" {
			groups[find(table)] = append(groups[find(table)], table)
			sums[find(table)] += time[table]
		}
	}
	// The largest stays, the others fill up the second database to half of the time.
	order := slices.SortedFunc(maps.Keys(groups), func(x, y string) int { return cmp.Or(cmp.Compare(sums[y], sums[x]), cmp.Compare(x, y)) })
	for _, g := range order[min(1, len(order)):] {
		if of.share+sums[g] <= all/2 {
			of.tables, of.share = append(of.tables, groups[g]...), of.share+sums[g]
		}
	}
	of.writes, of.share = of.writes/max(all, 1e-9), of.share/max(all, 1e-9)
	a.Data = fmt.Sprintf("databases on two hosts hold the same tables (%.0f %% of the time was of writes, which both do)", 100*of.writes)
	if len(of.tables) > 0 {
		a.Data += fmt.Sprintf(", or one of them has %s (%.0f %% of the time)", strings.Join(of.tables, ", "), 100*of.share)
	}
	return &of
}

// placements are what a placement of the roles can be with its data: as it is where one host has the database, and on two hosts all tables on
// both, or some of them on either.
func (d *dividing) placements(a *Advice, p experiment.Placement) []experiment.Placement {
	db := slices.IndexFunc(a.Demands, func(o experiment.Demand) bool { return o.Role == "db" })
	if d == nil || db < 0 || len(a.on(p.Parts[db])) == 1 {
		return []experiment.Placement{p}
	}
	if len(a.on(p.Parts[db])) > 2 {
		return nil
	}
	with := func(name string, tables []string, first, second float64) experiment.Placement {
		n := experiment.Placement{Name: p.Name + ", " + name, Parts: slices.Clone(p.Parts)}
		n.Parts[db] = slices.Clone(p.Parts[db])
		left := []float64{first, second}
		for h, part := range n.Parts[db] {
			if part > 0 {
				n.Parts[db][h], left = left[0], left[1:]
			}
		}
		if len(tables) > 0 {
			a.tables[n.Name] = tables
		}
		return n
	}
	each := (1 + d.writes) / 2
	list := []experiment.Placement{with("all tables on both", nil, each, each)}
	if len(d.tables) > 0 {
		names := strings.Join(d.tables, " ")
		list = append(list, with("the first has "+names, d.tables, d.share, 1-d.share), with(secondFirst+names, d.tables, 1-d.share, d.share))
	}
	return list
}
