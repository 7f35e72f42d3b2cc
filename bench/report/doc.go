// Package report shows rounds to people. A result.Round goes in; out comes text for a terminal (Text, List), a page that
// needs no network (HTML), and what is seen while a round runs (Live, Line). It is pure: it opens no file, knows no terminal
// and keeps nothing. Everything in a round is taken as hostile, since error texts quote what a server sent.
package report

// Style says for what kind of terminal text is made.
type Style struct {
	// Color turns on ANSI colours and bold.
	Color bool
	// Width is the number of columns; 0 means 80. Less than 72 is taken as 72, but by List.
	Width int
	// Record is where the round is kept, as the reader should see it; empty prints nothing about it.
	Record string
}

// leastWidth is what most pages need.
const leastWidth = 72

func (s Style) width() int {
	if s.Width == 0 {
		return 80
	}
	return max(s.Width, leastWidth)
}
