package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"isukit/bench/result"
)

type flame struct {
	ID, Title, About string
	Height           int
	Boxes            []flameBox
	Top              []flameTop
}

type flameBox struct {
	X, Width, Name, Text, Class string
	Y, Depth                    int
	// From and Part are ratios of the whole.
	From, Part string
	// Route is set for boxes that are a route of the app.
	Route string
	// Focus is set for boxes that are wide enough to be chosen with the keyboard.
	Focus bool
}

// flameTop is a function by what it took itself.
type flameTop struct{ Name, Text string }

// Sizes of flame graphs.
const (
	flameRow     = 18
	flameDepth   = 60
	flameColors  = 5
	flameTops    = 10
	flameFocused = 0.02  // of the width
	flameDiffers = 0.005 // of the whole: from what difference a box stands out
)

func flames(r *result.Round) []flame {
	var all []flame
	for i, p := range r.Profiles {
		if p.Total > 0 && len(p.Frames) > 0 {
			all = append(all, flameOf(p, "flame"+strconv.Itoa(i), nil, ""))
		}
	}
	return all
}

// flameOf draws a profile; if another is given, boxes show the share of the same calls in it, and those that differ have another colour.
func flameOf(p result.Profile, id string, other map[string]float64, otherName string) flame {
	f := flame{ID: id, Title: clean(p.Host + ": " + p.Name), About: amount(p.Total, p.Unit) + " total", Top: topsOf(p)}
	if other != nil {
		f.About += "; orange: a larger share than " + otherName + ", blue: a smaller one"
	}
	deepest := 0
	for _, frame := range p.Frames {
		if frame.Depth < flameDepth {
			deepest = max(deepest, frame.Depth)
		}
	}
	f.Height = (deepest + 1) * flameRow
	eachCall(p, func(frame result.Frame, path string) {
		box := boxOf(frame, p, deepest)
		if other != nil {
			box.Class = "even"
			if more := float64(frame.Value)/float64(p.Total) - other[path]; math.Abs(more) >= flameDiffers {
				box.Class = map[bool]string{true: "more", false: "less"}[more > 0]
			}
			box.Text += "; " + otherName + " " + percent(other[path])
		}
		f.Boxes = append(f.Boxes, box)
	})
	return f
}

// eachCall calls f with the frames that are drawn, and with the names of all calls down to each.
func eachCall(p result.Profile, f func(frame result.Frame, path string)) {
	var path []string
	for _, frame := range p.Frames {
		if frame.Depth >= 0 && frame.Depth < flameDepth {
			path = append(path[:min(len(path), frame.Depth)], frame.Name)
			f(frame, strings.Join(path, "\n"))
		}
	}
}

func flamePairs(a, b *result.Round) (pairs [][2]flame) {
	shares := func(p result.Profile) map[string]float64 {
		all := map[string]float64{}
		eachCall(p, func(frame result.Frame, path string) { all[path] = float64(frame.Value) / float64(p.Total) })
		return all
	}
	for _, before := range a.Profiles {
		i := slices.IndexFunc(b.Profiles, func(p result.Profile) bool { return p.Host == before.Host && p.Name == before.Name })
		if i < 0 || before.Total <= 0 || b.Profiles[i].Total <= 0 {
			continue
		}
		id := "flame" + strconv.Itoa(len(pairs))
		pair := [2]flame{flameOf(before, id+"a", shares(b.Profiles[i]), "after"), flameOf(b.Profiles[i], id+"b", shares(before), "before")}
		pair[0].Title, pair[1].Title = "Before: "+pair[0].Title, "After: "+pair[1].Title
		pairs = append(pairs, pair)
	}
	return pairs
}

func boxOf(f result.Frame, p result.Profile, deepest int) flameBox {
	total := float64(p.Total)
	name := clean(f.Name)
	sum := 0
	for _, c := range name {
		sum += int(c)
	}
	from, part := float64(f.From)/total, float64(f.Value)/total
	box := flameBox{
		X: num(100*from) + "%", Width: num(100*part) + "%", Y: (deepest - f.Depth) * flameRow, Depth: f.Depth, Name: shortFunction(name),
		Text:  fmt.Sprintf("%s: %s, %s; itself %s", name, percent(part), amount(f.Value, p.Unit), amount(f.Self, p.Unit)),
		Class: "f" + strconv.Itoa(sum%flameColors), From: strconv.FormatFloat(from, 'f', 6, 64), Part: strconv.FormatFloat(part, 'f', 6, 64),
		Focus: part >= flameFocused,
	}
	if method, path, ok := strings.Cut(name, " "); f.Depth == 1 && (strings.HasPrefix(method, "/") || ok && strings.HasPrefix(path, "/")) {
		box.Name, box.Route = name, name
	}
	return box
}

func shortFunction(name string) string {
	head, _, _ := strings.Cut(name, "(")
	if i := strings.LastIndexByte(head, '/'); i >= 0 {
		return name[i+1:]
	}
	return name
}

func topsOf(p result.Profile) []flameTop {
	self := map[string]int64{}
	for _, f := range p.Frames {
		self[f.Name] += f.Self
	}
	names := slices.SortedFunc(maps.Keys(self), func(a, b string) int { return cmp.Or(cmp.Compare(self[b], self[a]), cmp.Compare(a, b)) })
	var tops []flameTop
	for _, name := range names[:min(len(names), flameTops)] {
		if self[name] > 0 {
			tops = append(tops, flameTop{clean(name), percent(float64(self[name])/float64(p.Total)) + ", " + amount(self[name], p.Unit)})
		}
	}
	return tops
}

func amount(v int64, unit string) string {
	switch unit {
	case "nanoseconds":
		return millis(float64(v) / 1e6)
	case "bytes":
		return size(v)
	case "count":
		return count(v)
	}
	return count(v) + " " + clean(unit)
}
