package ui

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Output is a stream for text that may come from other people: characters that a terminal would obey, and those that make text look like
// another, are written as JSON escapes (\u001b), so that JSON stays valid. Line ends, tabs and isukit's own colours pass; the colours have
// a mark that no other program knows. It may be used from any goroutine.
type Output struct {
	to   io.Writer
	mark string // after the escape character of isukit's own sequences; "" where it makes none

	mu   sync.Mutex
	rest []byte // the beginning of an incomplete character
}

// NewOutput returns what cleans the text for w; an Output is returned as it is.
func NewOutput(w io.Writer) *Output {
	if o, ok := w.(*Output); ok {
		return o
	}
	o := &Output{to: w}
	if f, ok := w.(*os.File); ok {
		if _, tty := terminalWidth(f); tty {
			var random [8]byte
			rand.Read(random[:])
			o.mark = hex.EncodeToString(random[:])
		}
	}
	return o
}

// Bytes is for output that is not text: the stream beneath w, unless that is a terminal.
func Bytes(w io.Writer) io.Writer {
	if o, ok := w.(*Output); ok && o.mark == "" {
		return o.to
	}
	return w
}

// Beneath is the stream itself, for a program that isukit hands its terminal.
func Beneath(w io.Writer) io.Writer {
	if o, ok := w.(*Output); ok {
		return o.to
	}
	return w
}

// markOf is what isukit's own sequences for w have after their escape character.
func markOf(w any) string {
	if o, ok := w.(*Output); ok {
		return o.mark
	}
	return ""
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := p
	if len(o.rest) > 0 {
		text = append(o.rest, p...)
		o.rest = nil
	}
	var clean []byte // with text[:done] in it
	done := 0
	for i := 0; i < len(text); {
		if c := text[i]; c >= ' ' && c < 0x7f || c == '\n' || c == '\t' {
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		broken := r == utf8.RuneError && size == 1
		if broken && !utf8.FullRune(text[i:]) {
			o.rest, text = bytes.Clone(text[i:]), text[:i]
			break
		}
		if !obeyed(r) && !broken {
			i += size
			continue
		}
		clean = append(clean, text[done:i]...)
		switch {
		case r == '\x1b' && o.mark != "" && bytes.HasPrefix(text[i+1:], []byte(o.mark)):
			clean = append(clean, '\x1b')
			size += len(o.mark)
		case broken:
			clean = utf8.AppendRune(clean, utf8.RuneError)
		default:
			clean = fmt.Appendf(clean, `\u%04x`, r)
		}
		i += size
		done = i
	}
	if clean == nil {
		clean = text
	} else {
		clean = append(clean, text[done:]...)
	}
	if _, err := o.to.Write(clean); err != nil {
		return 0, err
	}
	return len(p), nil
}

// obeyed reports whether a terminal does something else with a character than to show it: controls, and what turns the direction of text.
func obeyed(r rune) bool {
	return r != '\n' && r != '\t' && unicode.IsControl(r) || r == 0x061c || r == 0x200e || r == 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// PrintJSON prints one document, indented.
func PrintJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// PrintJSONLines prints one object per line.
func PrintJSONLines[T any](out io.Writer, list []T) error {
	enc := json.NewEncoder(out)
	for _, v := range list {
		if err := enc.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

// PrintList prints a list as one object per line, or as a table with that head; row is an item's cells with tabs between them.
func PrintList[T any](out io.Writer, asJSON bool, list []T, head string, row func(T) string) error {
	if asJSON {
		return PrintJSONLines(out, list)
	}
	w := NewTable(out)
	for n, v := range list {
		if n == 0 && head != "" {
			fmt.Fprintln(w, head)
		}
		fmt.Fprintln(w, row(v))
	}
	return w.Flush()
}

const maxSaid = 64 << 10

// Tail keeps the last maxSaid bytes that are written to it.
type Tail struct{ Text []byte }

var _ io.Writer = (*Tail)(nil)

// Write never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.Text = append(t.Text, p...)
	if n := len(t.Text); n > 2*maxSaid {
		t.Text = append(t.Text[:0], t.Text[n-maxSaid:]...)
	}
	return len(p), nil
}

func (t *Tail) String() string { return string(t.Text[max(0, len(t.Text)-maxSaid):]) }
