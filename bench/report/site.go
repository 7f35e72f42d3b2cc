package report

import (
	_ "embed" // for the site's templates and script
	"html/template"
	"io"

	"isukit/bench/diff"
	"isukit/bench/result"
)

//go:embed site.html.tmpl
var siteTemplate string

//go:embed site.js
var siteJS string

// SitePolicy is the content security policy of the pages that Index and DiffHTML write: their own style and scripts, and
// requests only to where they came from.
func SitePolicy() string {
	return "default-src 'none'; style-src " + sourceHash(pageCSS) + "; script-src " + sourceHash(siteScript()) +
		"; img-src data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

func siteScript() string { return pageJS + siteJS }

// siteView is what the templates see.
type siteView struct {
	Title, Home string
	CSS         template.CSS
	JS          template.JS
	Entries     []siteEntry
	Diff        *diff.Diff
	Groups      []siteGroup
}

type siteEntry struct {
	ID, Err, Limit string
	Passed         bool
	Warnings       int
	Score, Errors  int64
	Rate, P99      float64
}

type siteGroup struct {
	Title string
	Rows  []siteRow
}

type siteRow struct{ Name, Figure, From, To, Change string }

// Index writes the page of all rounds, newest first; it asks "live" beside itself for what runs.
func Index(w io.Writer, entries []result.Entry) error {
	v := siteView{Title: "rounds", Home: "."}
	for _, e := range entries {
		if e.Err != nil {
			v.Entries = append(v.Entries, siteEntry{ID: e.ID, Err: e.Err.Error()})
			continue
		}
		r := e.Round
		v.Entries = append(v.Entries, siteEntry{
			ID: e.ID, Passed: r.Passed, Warnings: len(r.Warnings), Score: r.Score.Total, Errors: r.All.Errors, Rate: r.HitsPerSec(),
			P99: r.All.Latency.P99Ms, Limit: cut(r.Bottleneck.Text, 90),
		})
	}
	return site(w, "index", v)
}

// pageMoves is how many names of each group the page of a difference shows.
const pageMoves = 40

// DiffHTML writes the page of what differs between two rounds.
func DiffHTML(w io.Writer, d *diff.Diff) error {
	v := siteView{Title: "what differs", Home: ".", Diff: d}
	for _, group := range moveGroups {
		g := siteGroup{Title: group.title}
		last, names := "", 0
		for _, m := range d.Moved {
			if m.Group != group.name {
				continue
			}
			name := cut(clean(m.Name), 140)
			if m.Name == last && names > 0 {
				name = ""
			} else {
				last, names = m.Name, names+1
			}
			if names > pageMoves {
				break
			}
			g.Rows = append(g.Rows, siteRow{name, m.Figure, moved(m.Figure, m.From), moved(m.Figure, m.To), changeText(m)})
		}
		if len(g.Rows) > 0 {
			v.Groups = append(v.Groups, g)
		}
	}
	return site(w, "diff", v)
}

func site(w io.Writer, name string, v siteView) error {
	v.CSS, v.JS = template.CSS(pageCSS), template.JS(siteScript())
	t, err := template.New("site").Funcs(template.FuncMap{"count": count, "figure": figure, "millis": millis, "clean": clean, "absent": absent, "diffNote": diffNote}).Parse(siteTemplate)
	if err != nil {
		return err
	}
	return t.ExecuteTemplate(w, name, v)
}
