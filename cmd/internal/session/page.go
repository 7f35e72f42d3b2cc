package session

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"isukit/bench/experiment"
	"isukit/bench/report"
)

// Page is what a screen found.
func (r *ScreenResult) Page(played []Played) report.Page {
	v := r.Verdict
	p := report.Page{Title: "isukit screen", About: fmt.Sprintf("%d of %d rounds, %d complete pairs, %d failed; %s, seed %d", v.Rounds, r.Planned, v.Pairs, v.Failed, r.Metric, r.Seed)}
	t := report.Table{Columns: []string{"tuning", "verdict", "effect", "95 %", "makes rounds fail"}}
	for _, j := range v.Suspects {
		f := v.Factors[j]
		effect, interval := "", ""
		switch {
		case f.Low > 0:
			effect, interval = percent(f.Ratio), percent(f.Low)+" to "+percent(f.High)
		case v.SmallestRatio > 0:
			effect = fmt.Sprintf("within %.1f %%", 100*(v.SmallestRatio-1))
		}
		t.Rows = append(t.Rows, append(report.Row(f.Name, string(f.Effect), effect, interval), fails(f.Fails)))
	}
	p.Tables = append(p.Tables, t)
	if !v.Proves {
		p.Notes = append(p.Notes, "too few pairs for a verdict; the most suspicious tunings are first")
	}
	if v.Suspicion.Together >= experiment.Sure/2 {
		p.Notes = append(p.Notes, fmt.Sprintf("rounds seem to fail only when two tunings are on together, most likely %s and %s",
			v.Factors[v.Suspicion.Pair[0]].Name, v.Factors[v.Suspicion.Pair[1]].Name))
	}
	if r.Confirmed != nil {
		p.Notes = append(p.Notes, r.Confirmed.words("recommended", r.Metric))
	}
	p.Notes = append(p.Notes, warnings(r.Warnings)...)
	switch {
	case r.Keep != "":
		p.Notes = append(p.Notes, "apply the recommended tunings: "+r.Keep)
	case v.Proves:
		p.Notes = append(p.Notes, "no tuning is recommended")
	}
	p.Rounds = rounded(played, r.Metric)
	return p
}

// words are what fresh pairs say of a side.
func (c *Confirmation) words(side, metric string) string {
	text := fmt.Sprintf("%d fresh pairs, %s against %s: %s %s", c.Pairs, side, c.Against, metric, percent(c.Ratio))
	if c.Low > 0 {
		text += fmt.Sprintf(", 95 %% interval %s to %s", percent(c.Low), percent(c.High))
	}
	return text + ", " + string(c.Verdict)
}

func fails(p float64) report.Cell {
	return report.Cell{Text: fmt.Sprintf("%.2f", p), Ratio: p, Drawn: true}
}

func warnings(list []string) (notes []string) {
	for _, text := range list {
		notes = append(notes, "! "+text)
	}
	return notes
}

func percent(ratio float64) string { return fmt.Sprintf("%+.1f %%", 100*(ratio-1)) }

func rounded(played []Played, metric string) report.Table {
	t := report.Table{Title: "Every round", About: "in the order in which they ran; the experiment decides by " + metric, Columns: []string{"", "part", "what was set", "score", "hits/s", "outcome", "record"}}
	best := 1.0
	for _, p := range played {
		best = max(best, p.Score)
	}
	for n, p := range played {
		row := report.Row(fmt.Sprint(n+1), p.Stage, cmp.Or(strings.Join(p.Args, " "), "nothing"), fmt.Sprintf("%.0f", p.Score), fmt.Sprintf("%.0f", p.HitsPerSec), cmp.Or(p.Failed, "passed"), p.ID)
		row[3].Ratio, row[3].Drawn = p.Score/best, true
		t.Rows = append(t.Rows, row)
	}
	return t
}

// Page is what a search believes, and what fresh rounds confirm.
func (r *TuneResult) Page(plan TunePlan, played []Played) report.Page {
	s := r.Search
	p := report.Page{Title: "isukit autotune", About: fmt.Sprintf("%d of %d rounds; %s, seed %d", s.Rounds, r.Planned, r.Metric, r.Seed), Rounds: rounded(played, r.Metric)}
	t := report.Table{Columns: []string{"what", "estimated effect", "makes rounds fail", "in the best"}}
	inBest := map[bool]string{true: "yes"}
	for j, name := range r.Tunings {
		t.Rows = append(t.Rows, append(report.Row(name, percent(1+s.Tunings[j])), fails(s.Fails[j]), report.Cell{Text: inBest[s.Best.On[j]]}))
	}
	for q, z := range plan.Sizes {
		t.Rows = append(t.Rows, report.Row(fmt.Sprintf("%s.%s from %d to %d%s", z.Role, z.Key, z.Low, z.High, z.Unit), percent(1+s.Sizes[q]), "", z.At(s.Best.Sizes[q])))
	}
	for n, name := range r.Places {
		t.Rows = append(t.Rows, report.Row(name, percent(1+s.Placements[n]), "", inBest[s.Best.Placement == n]))
	}
	p.Tables, p.Notes = []report.Table{t}, warnings(r.Warnings)
	believed := fmt.Sprintf("the search estimated %+.0f %%", 100*(s.Believed-1))
	switch {
	case s.Rejected:
		p.Notes = append(p.Notes, "the best configuration was rejected, because one of its confirmation rounds failed. Keep the baseline, or search again without what makes rounds fail")
	case r.Confirmed == nil:
		p.Notes = append(p.Notes, "not confirmed: "+believed)
	default:
		p.Notes = append(p.Notes, "confirmed in "+r.Confirmed.words("the best", r.Metric)+" ("+believed+")")
	}
	if r.Keep != "" {
		p.Notes = append(p.Notes, "run rounds with the best: "+r.Keep)
	} else {
		p.Notes = append(p.Notes, "the best configuration: "+cmp.Or(strings.Join(r.Best, " "), "nothing"))
	}
	return p
}

// shownPlacements limits the lines of the table of placements, not counting the current one.
const shownPlacements = 12

// Page draws placements as rows and hosts as columns: how busy each makes them, and with what.
func (a *Advice) Page() report.Page {
	about := "from round " + a.Round + ": CPU time for 1,000 hits"
	for _, d := range a.Demands {
		about += fmt.Sprintf("  %s %.2f s", d.Role, 1000*d.CPUSecondsPerHit)
	}
	p := report.Page{Title: "isukit advise", About: about}
	t := report.Table{Columns: []string{"rank", "of best"}}
	for _, h := range a.Hosts {
		t.Columns = append(t.Columns, fmt.Sprintf("%s (%.3g CPUs)", h.Name, h.Cores))
	}
	if len(a.tables) > 0 {
		t.Columns = append(t.Columns, "data")
	}
	for n, pr := range a.Ranked {
		if n >= shownPlacements && n != a.Today {
			continue
		}
		rank := fmt.Sprint(n + 1)
		if n == a.Today {
			rank += " today"
		}
		row := report.Row(rank, fmt.Sprintf("%.0f %%", 100*pr.ShareOfBest))
		for h, busy := range pr.Utilisation {
			text := fmt.Sprintf("%3.0f %%", 100*busy)
			for r, parts := range pr.Placement.Parts {
				if parts[h] > 0 {
					text += " " + a.Demands[r].Role
				}
			}
			row = append(row, report.Cell{Text: text, Ratio: busy, Drawn: true})
		}
		if len(a.tables) > 0 {
			_, data, _ := strings.Cut(pr.Placement.Name, ", ")
			row = append(row, report.Cell{Text: data})
		}
		t.Rows = append(t.Rows, row)
	}
	p.Tables = []report.Table{t}
	for _, why := range slices.Sorted(maps.Keys(a.Refused)) {
		p.Notes = append(p.Notes, fmt.Sprintf("left out, %d: %s", a.Refused[why], why))
	}
	for _, m := range a.Measured {
		p.Notes = append(p.Notes, fmt.Sprintf("played: %s: score %.0f, %.0f hits/s, %.0f %% of the best (predicted %.0f %%), %d of %d failed", m.Placement, m.Score, m.HitsPerSec, 100*m.ShareOfBest,
			100*m.Predicted, m.Failed, len(m.Rounds)))
		if wrong := math.Abs(m.ShareOfBest - m.Predicted); wrong > 0.2 {
			p.Notes = append(p.Notes, fmt.Sprintf("! the prediction was wrong by %.0f points: the bottleneck is not a CPU, but perhaps locks, connections or a disk", 100*wrong))
		}
	}
	if len(a.Ranked) > 0 && a.app.base == nil {
		p.Notes = append(p.Notes, "the first one as a topology of isukit.yaml: "+a.entry(a.Ranked[0].Placement)+"; isukit topology apply --dry-run checks that its units are there")
	}
	p.Notes = append(p.Notes, a.Data, "predicted from CPU and memory; locks, disks and networks are not included")
	return p
}

// entry is a placement as an isukit.yaml has it.
func (a *Advice) entry(p experiment.Placement) string {
	where, parts := a.where(p).Where, []string{}
	for _, role := range a.app.roles {
		parts = append(parts, role+": ["+strings.Join(where[role], ", ")+"]")
	}
	return "advised: {" + strings.Join(parts, ", ") + "}"
}
