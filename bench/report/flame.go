package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"isukit/bench/result"
)

// flame is a flame graph: boxes placed in percent of its width.
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
	flameFocused = 0.02 // of the width
)

func flames(r *result.Round) []flame {
	var all []flame
	for i, p := range r.Profiles {
		if p.Total <= 0 || len(p.Frames) == 0 {
			continue
		}
		f := flame{ID: "flame" + strconv.Itoa(i), Title: clean(p.Host + ": " + p.Name), About: amount(p.Total, p.Unit) + " in all"}
		deepest := 0
		for _, frame := range p.Frames {
			if frame.Depth < flameDepth {
				deepest = max(deepest, frame.Depth)
			}
		}
		f.Height = (deepest + 1) * flameRow
		for _, frame := range p.Frames {
			if frame.Depth < flameDepth && frame.Depth >= 0 {
				f.Boxes = append(f.Boxes, boxOf(frame, p, deepest))
			}
		}
		f.Top = topsOf(p)
		all = append(all, f)
	}
	return all
}

func boxOf(f result.Frame, p result.Profile, deepest int) flameBox {
	total := float64(p.Total)
	name := clean(f.Name)
	sum := 0
	for _, c := range name {
		sum += int(c)
	}
	from, part := float64(f.From)/total, float64(f.Value)/total
	return flameBox{
		X: num(100*from) + "%", Width: num(100*part) + "%", Y: (deepest - f.Depth) * flameRow, Depth: f.Depth, Name: shortFunction(name),
		Text:  fmt.Sprintf("%s: %s, %s; itself %s", name, percent(part), amount(f.Value, p.Unit), amount(f.Self, p.Unit)),
		Class: "f" + strconv.Itoa(sum%flameColors), From: strconv.FormatFloat(from, 'f', 6, 64), Part: strconv.FormatFloat(part, 'f', 6, 64),
		Focus: part >= flameFocused,
	}
}

// shortFunction leaves the package's path away.
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

// amount writes a value of a profile with its unit.
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
