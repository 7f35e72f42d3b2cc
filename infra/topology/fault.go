package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with a file.
type Fault struct {
	Line    int    // from 1; 0 when it is not about a place
	Column  int    // from 1, in characters
	Text    string // the line itself
	Message string
}

// Faults is the error of Parse: everything that is wrong with the file, by line.
type Faults struct {
	File  string
	Items []Fault
}

func (f *Faults) Error() string {
	var b strings.Builder
	for i, item := range f.Items {
		if i > 0 {
			b.WriteByte('\n')
		}
		if item.Line == 0 {
			fmt.Fprintf(&b, "%s: %s", f.File, item.Message)
			continue
		}
		fmt.Fprintf(&b, "%s:%d:%d: %s\n    %s\n    %s^", f.File, item.Line, item.Column, item.Message,
			item.Text, indentTo(item.Text, item.Column))
	}
	return b.String()
}

// indentTo is the white space that puts a mark under the column of text: tabs stay tabs.
func indentTo(text string, column int) string {
	var b strings.Builder
	n := 1
	for _, r := range text {
		if n++; n > column {
			break
		}
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func (f *Faults) sort() {
	slices.SortStableFunc(f.Items, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
