package ui

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"isukit/bench/report"
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

// StyleOf returns how text for w should look: colours and the real width on a terminal, neither elsewhere.
func StyleOf(w any) report.Style {
	out, ok := w.(*Output)
	if !ok {
		return report.Style{}
	}
	f, ok := out.to.(*os.File)
	if !ok {
		return report.Style{}
	}
	width, tty := terminalWidth(f)
	return report.Style{Width: width, Color: tty && os.Getenv("NO_COLOR") == "", Mark: out.mark}
}

// NewTable aligns its cells, which end in a tab, into columns. Its first line is a heading in capitals. Cells that are signals are coloured
// where w shows colours. On a terminal lines are cut to its width, as wrapped ones cannot be read. The caller must Flush.
func NewTable(w io.Writer) *tabwriter.Writer { return newAligned(w, 0) }

// NewNumbers is newTable for numbers, which stand right.
func NewNumbers(w io.Writer) *tabwriter.Writer { return newAligned(w, tabwriter.AlignRight) }

func newAligned(w io.Writer, flags uint) *tabwriter.Writer {
	style := StyleOf(w)
	if style.Color || style.Width > 0 {
		w = &signalWriter{w: w, color: style.Color, width: style.Width, mark: style.Mark}
	}
	return tabwriter.NewWriter(w, 0, 0, 2, ' ', flags)
}

// signals are the few words that are worth a colour, where they stand alone: as parameters of ANSI's SGR sequence.
var signals = map[string]string{
	"pass": "32", "PASS": "32", "BETTER": "32", "FAIL": "31", "WORSE": "31",
	"crit": "31", "warn": "33", "failed": "31", "drifted": "31", "refused": "33", "left": "33", "needs you": "33",
	"does not answer": "31", "killed: out of memory": "31",
}

// aSignal is one that fills the cell of a line: between its ends, and what is two spaces away from other cells.
var aSignal = regexp.MustCompile(`(?m)((?:^|  )[> ]*)(pass|PASS|BETTER|FAIL|WORSE|crit|warn|failed|drifted|refused|left|needs you|does not answer|killed: out of memory)(  |$)`)

// Signalling is w, with colours for signals where it shows colours.
func Signalling(w io.Writer) io.Writer {
	if !StyleOf(w).Color {
		return w
	}
	return &signalWriter{w: w, color: true, mark: markOf(w)}
}

// signalWriter paints signals line by line; what is written ends in a line's end.
type signalWriter struct {
	w     io.Writer
	color bool
	mark  string // of w, see Output
	width int    // in columns, to which lines are cut; 0 cuts none
	line  []byte // an incomplete line so far
}

func (s *signalWriter) Write(p []byte) (int, error) {
	s.line = append(s.line, p...)
	whole := bytes.LastIndexByte(s.line, '\n') + 1
	for line := range bytes.Lines(s.line[:whole]) {
		line = cutLine(line, s.width)
		if s.color {
			line = paintSignals(line, s.mark)
		}
		if _, err := s.w.Write(line); err != nil {
			return 0, err
		}
	}
	s.line = append(s.line[:0], s.line[whole:]...)
	return len(p), nil
}

// cutLine shortens a line, which has its end, to so many columns.
func cutLine(line []byte, width int) []byte {
	if width <= 0 || utf8.RuneCount(line) <= width+1 {
		return line
	}
	return append([]byte(string([]rune(string(line))[:width-1])), "…\n"...)
}

func paintSignals(text []byte, mark string) []byte {
	return aSignal.ReplaceAllFunc(text, func(found []byte) []byte {
		m := aSignal.FindSubmatch(found)
		return fmt.Appendf(nil, "%s\x1b%s[%sm%s\x1b%s[0m%s", m[1], mark, signals[string(m[2])], m[2], mark, m[3])
	})
}

// frame is a block of lines at the bottom of a terminal that is redrawn in place.
type frame struct {
	w     io.Writer
	mark  string // of w, see Output
	lines int
}

// draw redraws the lines of the block and erases each line, so that a shorter frame leaves nothing behind.
func (f *frame) draw(lines []string) {
	if f.lines > 0 {
		fmt.Fprintf(f.w, "\x1b%s[%dA", f.mark, f.lines)
	}
	for _, l := range lines {
		fmt.Fprintf(f.w, "\x1b%s[2K%s\n", f.mark, l)
	}
	for range f.lines - len(lines) {
		fmt.Fprintf(f.w, "\x1b%s[2K\n", f.mark)
	}
	f.lines = max(f.lines, len(lines))
}

// OrDash is s, or a dash in a cell that would be empty.
func OrDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// ShortTime is a time as one would type it: 1m instead of 1m0s.
func ShortTime(d time.Duration) string {
	text := d.String()
	for _, none := range []string{"0s", "0m"} {
		if rest, ok := strings.CutSuffix(text, none); ok && strings.HasSuffix(rest, "m") || ok && strings.HasSuffix(rest, "h") {
			text = rest
		}
	}
	return text
}
