package report

import (
	_ "embed" // for the site's templates and script
	"html/template"
	"io"
	"strings"

	"isukit/bench/diff"
	"isukit/bench/result"
)

//go:embed site.html.tmpl
var siteTemplate string

//go:embed site.js
var siteJS string

// PagePolicy is the content security policy for a page that HTML writes, to be sent with it: its own style and script, in an
// origin of its own that can read nothing else, and no request at all.
func PagePolicy() string { return "sandbox allow-scripts; " + pagePolicy() }

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
	Entries     []IndexEntry
	Diff        *diff.Diff
	Groups      []siteGroup
}

// IndexEntry is what Index shows of one round.
type IndexEntry struct {
	ID string
	// Err says why the round cannot be read; nothing else is set then.
	Err           string
	Limit         string // the bottleneck
	Passed        bool
	Warnings      int
	Score, Errors int64
	Rate          float64 // hits a second
	P99           float64 // milliseconds
}

// IndexEntryOf takes from a round what Index shows.
func IndexEntryOf(e result.Entry) IndexEntry {
	if e.Err != nil {
		return IndexEntry{ID: e.ID, Err: cut(e.Err.Error(), 1000)}
	}
	r := e.Round
	return IndexEntry{
		ID: e.ID, Passed: r.Passed, Warnings: len(r.Warnings), Score: r.Score.Total, Errors: r.All.Errors, Rate: r.HitsPerSec(),
		P99: r.All.Latency.P99Ms, Limit: strings.Clone(cut(r.Bottleneck.Text, 90)),
	}
}

type siteGroup struct {
	Title string
	Rows  []siteRow
}

type siteRow struct{ Name, Figure, From, To, Change string }

// Index writes the page of all rounds, newest first; it asks "live" beside itself for what runs.
func Index(w io.Writer, entries []IndexEntry) error {
	return site(w, "index", siteView{Title: "rounds", Home: ".", Entries: entries})
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
