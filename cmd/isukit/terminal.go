package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// terminalWidth returns the columns of f and whether it is a terminal at all.
func terminalWidth(f *os.File) (columns int, ok bool) {
	if !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return 0, false
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, true
	}
	return columns, true
}

// frame is a block of lines at the bottom of a terminal that is drawn again and again in the same place.
type frame struct {
	w     io.Writer
	lines int
}

// draw puts lines where the ones before stand. It returns to the block's first line and erases each line as it goes, so
// that a shorter frame leaves nothing behind.
func (f *frame) draw(lines []string) {
	if f.lines > 0 {
		fmt.Fprintf(f.w, "\x1b[%dA", f.lines)
	}
	for _, l := range lines {
		fmt.Fprintf(f.w, "\x1b[2K%s\n", l)
	}
	for range f.lines - len(lines) {
		fmt.Fprint(f.w, "\x1b[2K\n")
	}
	f.lines = max(f.lines, len(lines))
}
