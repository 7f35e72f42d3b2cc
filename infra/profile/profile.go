// Package profile reads profiles of pprof and perf script into call stacks, and lays out flame graphs. It does not record them.
package profile

import (
	"cmp"
	"errors"
	"slices"
)

// Stacks are call stacks with their values.
type Stacks struct {
	// Unit is "nanoseconds", "bytes", "count" or "samples"; Type is pprof's name of the value, for example "cpu".
	Unit, Type string
	Stacks     []Stack
}

// Stack is one call stack, the root first.
type Stack struct {
	Frames []string
	Value  int64
}

// Bounds of the input.
const (
	maxBytes  = 64 << 20
	maxStacks = 500_000
	maxDepth  = 256
)

// ErrTooLarge says that a profile has more than is read.
var ErrTooLarge = errors.New("profile too large")

// Box is one box of a flame graph. From is the part of the total left of it, Value its width, Self the part outside boxes above it.
type Box struct {
	Name              string
	Depth             int
	From, Value, Self int64
}

// Total is the sum of all stacks.
func (s *Stacks) Total() int64 {
	var sum int64
	for _, st := range s.Stacks {
		sum += st.Value
	}
	return sum
}

// Flame lays the stacks out. Boxes of less than the share least of the total, a ratio, are left out with all above them.
func (s *Stacks) Flame(least float64) []Box {
	root := &call{name: "all"}
	for _, st := range s.Stacks {
		if st.Value > 0 {
			root.add(st)
		}
	}
	if root.value == 0 {
		return nil
	}
	smallest := max(1, int64(least*float64(root.value)))
	return root.boxes(nil, 0, 0, smallest)
}

// call is one function below the same callers.
type call struct {
	name        string
	value, self int64
	below       map[string]*call
}

func (c *call) add(st Stack) {
	c.value += st.Value
	for _, name := range st.Frames[:min(len(st.Frames), maxDepth)] {
		next := c.below[name]
		if next == nil {
			if c.below == nil {
				c.below = map[string]*call{}
			}
			next = &call{name: name}
			c.below[name] = next
		}
		next.value += st.Value
		c = next
	}
	c.self += st.Value
}

func (c *call) boxes(to []Box, depth int, from, smallest int64) []Box {
	to = append(to, Box{c.name, depth, from, c.value, c.self})
	calls := make([]*call, 0, len(c.below))
	for _, b := range c.below {
		calls = append(calls, b)
	}
	// Largest first: what matters stands left and in the same place whenever the profile is taken again.
	slices.SortFunc(calls, func(a, b *call) int { return cmp.Or(cmp.Compare(b.value, a.value), cmp.Compare(a.name, b.name)) })
	for _, b := range calls {
		if b.value >= smallest {
			to = b.boxes(to, depth+1, from, smallest)
		}
		from += b.value
	}
	return to
}
