package plan

import (
	"fmt"
	"path"
	"strings"
)

// mostLines is how many differences of a file are told.
const mostLines = 20

// mostCompared is how many lines of a text are compared: it takes the square of it.
const mostCompared = 2000

// Lines tells how a text differs from an older one, a line each: "old -> new", "- old" or "+ new".
func Lines(before, after string) []string {
	if strings.Count(before, "\n") > mostCompared || strings.Count(after, "\n") > mostCompared {
		return []string{"(too long to compare)"}
	}
	a, b := linesOf(before), linesOf(after)
	var out []string
	var gone, come []string
	flush := func() {
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
		gone, come = nil, nil
	}
	common := longestCommon(a, b)
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j] && common[i][j] == common[i+1][j+1]+1:
			flush()
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			gone, i = append(gone, a[i]), i+1
		default:
			come, j = append(come, b[j]), j+1
		}
	}
	flush()
	if len(out) > mostLines {
		out = append(out[:mostLines], fmt.Sprintf("... and %d more", len(out)-mostLines))
	}
	return out
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

// Text is the plan for a host as people read it; "" when there is nothing to do.
func (h Host) Text() string {
	var b strings.Builder
	for _, s := range h.Steps {
		fmt.Fprintf(&b, "  %-7s %s", s.Op, s.What())
		if s.Reason != "" {
			fmt.Fprintf(&b, " (%s)", s.Reason)
		}
		if s.Foreign {
			b.WriteString(" [changed by someone else]")
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
