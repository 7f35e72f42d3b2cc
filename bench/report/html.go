package report

import (
	"crypto/sha256"
	_ "embed" // for the page's template, style and script
	"encoding/base64"
	"html/template"
	"io"
	"slices"

	"isukit/bench/result"
)

//go:embed page.html.tmpl
var pageTemplate string

//go:embed flame.html.tmpl
var flameTemplate string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// HTML writes the round as one page with style, script and charts in it; its content security policy forbids all requests.
func HTML(w io.Writer, r *result.Round) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"count": count, "count64": func(n int) string { return count(int64(n)) }, "signed": signed, "percent": percent, "figure": figure, "millis": millis, "seconds": seconds,
		"size": size, "fixed": fixed, "cpus": cpus, "moment": moment, "clean": clean, "span": span, "openFiles": openFiles,
		"routesOf": routesOf, "meanMs": meanMs, "percentOf": func(part, all float64) string { return percent(part / max(all, 1e-9)) },
		"width": wide,
	}).Parse(flameTemplate + pageTemplate)
	if err != nil {
		return err
	}
	return t.Execute(w, newView(r))
}

// wide writes a ratio as a width in percent.
func wide(ratio float64) string { return num(100*min(max(ratio, 0), 1)) + "%" }

type view struct {
	*result.Round
	CSS        template.CSS
	JS         template.JS
	Policy     string
	Loaded     bool
	HitsPerSec float64
	LoadTook   float64
	LineSum    int64
	// GeneratorCores is the mean over the load.
	GeneratorCores, GeneratorMsPer1000 float64
	Zeroed                             string
	// Endpoints are the round's, the busiest first.
	Endpoints []result.Endpoint
	Charts    []chart
	Times     []timeLabel
	Phases    []phaseBar
	Cursor    cursor
	// LastSecond is the highest value of the time slider.
	LastSecond int
	// Observed is set for an app with a benchmark of its own; what follows is of such rounds only.
	Observed bool
	Subtitle string
	// Statements are those that are counted in the queries.
	Statements int64
	Queries    []queryView
	Flames     []flame
	Settings   []settingsView
}

type timeLabel struct{ X, Label, Anchor string }

type phaseBar struct {
	result.Phase
	X, Width string
}

// cursor holds, for every second, the texts that the read-out shows, in the order of its labels.
type cursor struct {
	Labels []string   `json:"labels"`
	Rows   [][]string `json:"rows"`
}

func newView(r *result.Round) view {
	v := view{Round: r, CSS: template.CSS(pageCSS), JS: template.JS(pageJS), Loaded: loaded(r),
		Policy:     pagePolicy(),
		HitsPerSec: r.HitsPerSec(), LoadTook: r.LoadTook(), Zeroed: zeroed(r),
		Endpoints: byHits(r.Endpoints), Charts: charts(r), Times: timeLabels(len(r.Timeline)), Phases: phaseBars(r.Phases), Cursor: newCursor(r),
		LastSecond:     len(r.Timeline) - 1,
		Observed:       r.Observed(),
		Subtitle:       subtitle(r),
		Statements:     r.Queries.Counted(),
		Queries:        queryViews(r),
		Flames:         flames(r),
		Settings:       settingsViews(r),
		GeneratorCores: r.Generator.CPUSeconds / r.LoadTook(), GeneratorMsPer1000: 1000 * r.Generator.CPUSecondsPer1000Hits}
	for _, l := range r.Score.Lines {
		v.LineSum += l.Points
	}
	return v
}

func pagePolicy() string {
	return "default-src 'none'; style-src " + sourceHash(pageCSS) + "; script-src " + sourceHash(pageJS) +
		"; img-src data:; base-uri 'none'; form-action 'none'"
}

// sourceHash names a script or style by its content, as a content security policy wants it.
func sourceHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func timeLabels(n int) []timeLabel {
	if n == 0 {
		return nil
	}
	step := 1
	for i := 0; n/step > 6; i++ {
		step = []int{2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600}[min(i, 10)]
		if i > 10 {
			step = n / 5
		}
	}
	labels := []timeLabel{{X: "0%", Label: "0 s", Anchor: "start"}}
	for t := step; t <= n; t += step {
		l := timeLabel{X: num(100*float64(t)/float64(n)) + "%", Label: count(int64(t)) + " s", Anchor: "middle"}
		if 3*(n-t) < step {
			l.Anchor = "end"
		}
		labels = append(labels, l)
	}
	return labels
}

func phaseBars(phases []result.Phase) []phaseBar {
	end := 0.0
	for _, p := range phases {
		end = max(end, p.StartSeconds+p.DurationSeconds)
	}
	bars := make([]phaseBar, len(phases))
	for i, p := range phases {
		bars[i] = phaseBar{Phase: p, X: num(100*p.StartSeconds/max(end, 1e-9)) + "%", Width: num(100*p.DurationSeconds/max(end, 1e-9)) + "%"}
	}
	return bars
}

func newCursor(r *result.Round) cursor {
	colors := roleColors(r)
	var roles []string
	for role := range colors {
		roles = append(roles, role)
	}
	roles = orderRoles(roles)
	var users []string
	if !r.Observed() {
		users = []string{"users"}
	}
	c := cursor{Labels: slices.Concat([]string{"second"}, users, []string{"hits/s", "errors", "p50", "p99"}, roles)}
	for i := range c.Labels {
		c.Labels[i] = clean(c.Labels[i])
	}
	for i := len(c.Labels) - len(roles); i < len(c.Labels); i++ {
		c.Labels[i] += " cores"
	}
	for _, s := range r.Timeline {
		row := []string{count(int64(s.At))}
		if !r.Observed() {
			row = append(row, count(int64(s.Users)))
		}
		row = append(row, count(s.Hits), count(s.Errors), millis(s.P50Ms), millis(s.P99Ms))
		for _, role := range roles {
			row = append(row, fixed(s.CoresByRole[role], 2))
		}
		c.Rows = append(c.Rows, row)
	}
	return c
}
