package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// mostLines is how many differences of a file are told.
const mostLines = 20

// Lines tells how a text differs from an older one, a line each: "old -> new", "- old" or "+ new".
func Lines(before, after string) []string {
	a, b := linesOf(before), linesOf(after)
	var out []string
	for _, h := range Hunks(a, b) {
		gone, come := a[h.A0:h.A1], b[h.B0:h.B1]
		for i := range max(len(gone), len(come)) {
			switch {
			case i < len(gone) && i < len(come):
				out = append(out, strings.TrimSpace(gone[i])+" -> "+strings.TrimSpace(come[i]))
			case i < len(gone):
				out = append(out, "- "+strings.TrimSpace(gone[i]))
			default:
				out = append(out, "+ "+strings.TrimSpace(come[i]))
			}
		}
	}
	if len(out) > mostLines {
		out = append(out[:mostLines], fmt.Sprintf("... and %d more", len(out)-mostLines))
	}
	return out
}

// Hunk are lines A0 to A1 of a text that another one has lines B0 to B1 in place of.
type Hunk struct{ A0, A1, B0, B1 int }

// mostCompared is how many lines are compared with one another: it takes the square of it.
const mostCompared = 2000

// Hunks are where two texts differ, in their order. More lines than can be compared are one difference.
func Hunks(a, b []string) (list []Hunk) {
	i, j, m, n := 0, 0, len(a), len(b)
	for i < m && i < n && a[i] == b[i] {
		i, j = i+1, j+1
	}
	for m > i && n > j && a[m-1] == b[n-1] {
		m, n = m-1, n-1
	}
	if max(m-i, n-j) > mostCompared {
		return []Hunk{{i, m, j, n}}
	}
	top, left := i, j
	common := longestCommon(a[i:m], b[j:n])
	h := Hunk{i, i, j, j}
	for i < m || j < n {
		switch {
		case i < m && j < n && a[i] == b[j] && common[i-top][j-left] == common[i-top+1][j-left+1]+1:
			if h.A0 < h.A1 || h.B0 < h.B1 {
				list = append(list, h)
			}
			i, j = i+1, j+1
			h = Hunk{i, i, j, j}
		case j == n || i < m && common[i-top+1][j-left] >= common[i-top][j-left+1]:
			i++
			h.A1 = i
		default:
			j++
			h.B1 = j
		}
	}
	if h.A0 < h.A1 || h.B0 < h.B1 {
		list = append(list, h)
	}
	return list
}

// linesOf are the lines of a text; an empty one has none.
func linesOf(text string) []string {
	if text = strings.TrimRight(text, "\n"); text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// longestCommon gives, for each pair of positions, how many lines the rests have in common.
func longestCommon(a, b []string) [][]int {
	table := make([][]int, len(a)+1)
	for i := range table {
		table[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	return table
}

// What names an item as people do: "nginx.conf of proxy-1".
func (i Item) What() string {
	name := i.Name
	if i.Kind == File {
		if i.Owner != "" {
			name = base(i.Name)
		}
	} else {
		name = string(i.Kind) + " " + name
	}
	if i.Owner != "" && i.Owner != i.Name {
		name += " of " + i.Owner
	}
	return name
}

// Empty tells that there is nothing to do.
func (p *Plan) Empty() bool {
	return !slices.ContainsFunc(p.Hosts, func(h Host) bool { return h.New || h.Gone || len(h.Steps) > 0 })
}

// Text is the plan as people read it.
func (p *Plan) Text() string {
	var b strings.Builder
	for _, h := range p.Hosts {
		b.WriteString(h.Text())
	}
	if b.Len() == 0 {
		return "nothing to do\n"
	}
	return b.String()
}

// Text is the plan for a host as people read it; "" when there is nothing to do.
func (h Host) Text() string {
	var b strings.Builder
	for _, s := range h.Steps {
		fmt.Fprintf(&b, "  %-7s %s", s.Op, s.What())
		if s.Reason != "" {
			fmt.Fprintf(&b, " (%s)", s.Reason)
		}
		if s.Foreign {
			b.WriteString(" [changed outside isukit]")
		}
		if s.Tunings {
			b.WriteString(" [tunings are applied to it]")
		}
		b.WriteByte('\n')
		for _, line := range s.Lines {
			fmt.Fprintf(&b, "            %s\n", line)
		}
	}
	head := h.Name
	switch {
	case h.New:
		head = "create host " + h.Name
	case h.Gone:
		head = "remove host " + h.Name
	case b.Len() == 0:
		return ""
	}
	return head + "\n" + b.String()
}

func base(name string) string { return path.Base(name) }

func join(list []string) string { return strings.Join(list, ", ") + " changed" }
