package report

import (
	"cmp"
	_ "embed" // for the site's templates and script
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

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

// SitePolicy is the content security policy of Index and DiffHTML: their own style and scripts, and requests to the same origin.
func SitePolicy() string {
	return "default-src 'none'; style-src " + sourceHash(pageCSS) + "; script-src " + sourceHash(siteScript()) +
		"; img-src data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

func siteScript() string { return pageJS + siteJS }

type siteView struct {
	Title, Home string
	CSS         template.CSS
	JS          template.JS
	Entries     []IndexEntry
	Diff        *diff.Diff
	Page        Page
	Policy      string // for a page that no server sends one with
	Groups      []siteGroup
	// Flames are those of the same profile before and after, side by side.
	Flames [][2]flame
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
	At            time.Time
	// Commit is its subject, perhaps with its author; Changed lists other differences from the round before.
	Commit  string
	Changed []string
	Notes   []result.Note
	// Best is set for the round with the highest score of those that passed.
	Best bool
}

// IndexEntryOf takes from a round what Index shows; before is the round before it, nil when there is none.
func IndexEntryOf(e result.Entry, before *result.Round) IndexEntry {
	if e.Err != nil {
		return IndexEntry{ID: e.ID, Err: cut(e.Err.Error(), 1000)}
	}
	r := e.Round
	entry := IndexEntry{
		At: r.StartedAt, Commit: strings.Clone(cut(commitOf(r), 120)),
		ID: e.ID, Passed: r.Passed, Warnings: len(r.Warnings), Score: r.Score.Total, Errors: r.All.Errors, Rate: r.HitsPerSec(),
		P99: r.All.Latency.P99Ms, Limit: strings.Clone(cut(r.Bottleneck.Text, 90)),
	}
	if before != nil {
		entry.Changed = changesSince(before, r)
		if commitOf(before) == commitOf(r) {
			entry.Commit = ""
		}
	}
	return entry
}

// commitOf is the subject of the round's commit, or its hash where that is all, with its author.
func commitOf(r *result.Round) string {
	hash, subject, _ := strings.Cut(r.Fact("commit"), " ")
	text := cmp.Or(subject, hash[:min(len(hash), 12)])
	if by := r.Fact("author"); by != "" {
		text += " (" + by + ")"
	}
	return text
}

// shownChanges is how many changes the list of rounds names of each.
const shownChanges = 6

func changesSince(a, b *result.Round) []string {
	var texts []string
	changes := diff.Of(a, b).Changed
	changes = slices.DeleteFunc(changes, func(c diff.Change) bool { return c.Key == "commit" || c.Key == "author" || c.Key == "seed" })
	for _, c := range changes[:min(len(changes), shownChanges)] {
		texts = append(texts, cut(clean(c.Key), 60)+": "+cut(absent(c.From), 40)+" → "+cut(absent(c.To), 40))
	}
	if more := len(changes) - len(texts); more > 0 {
		texts = append(texts, plural(int64(more), "more change"))
	}
	return texts
}

type siteGroup struct {
	Title string
	Rows  []siteRow
}

type siteRow struct{ Name, Figure, From, To, Change string }

// Index writes the page of all rounds, newest first; it fetches "live" from the same address for the round in progress.
func Index(w io.Writer, entries []IndexEntry) error {
	best := -1
	for i, e := range entries {
		if e.Passed && (best < 0 || e.Score >= entries[best].Score) {
			best = i
		}
	}
	if best >= 0 {
		entries = slices.Clone(entries)
		entries[best].Best = true
	}
	return site(w, "index", siteView{Title: "rounds", Home: ".", Entries: entries})
}

// pageMoves is how many names of each group the page of a difference shows.
const pageMoves = 40

// DiffHTML writes the page of what differs between two rounds.
func DiffHTML(w io.Writer, d *diff.Diff) error {
	v := siteView{Title: "what differs", Home: ".", Diff: d, Flames: flamePairs(d.A, d.B)}
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
	t, err := template.New("site").Funcs(template.FuncMap{"count": count, "figure": figure, "millis": millis, "clean": clean, "absent": absent, "wide": wide, "diffNote": diffNote,
		"millisOf": func(t time.Time) int64 { return t.UnixMilli() }, "when": func(t time.Time) string { return t.UTC().Format("15:04:05") }}).Parse(flameTemplate + siteTemplate)
	if err != nil {
		return err
	}
	return t.ExecuteTemplate(w, name, v)
}
