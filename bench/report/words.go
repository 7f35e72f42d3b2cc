package report

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// clean makes unknown text fit for one line of a terminal: controls and what reorders text become escapes, line ends become spaces.
func clean(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case r == '\n' || r == '\t' || r == '\r' || r == '\u2028' || r == '\u2029':
			b.WriteByte(' ')
		case r < 0x80 && unicode.IsControl(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return strings.TrimSpace(b.String())
}

// columns is how many columns of a terminal s takes: two for East Asian wide characters, none for combining marks.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// cut shortens s to at most that many columns, the last of which is then an ellipsis.
func cut(s string, most int) string {
	if columns(s) <= most {
		return s
	}
	n := 0
	for i, r := range s {
		if n += runeColumns(r); n > most-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// wrap breaks s into lines of at most that many columns, at spaces where there are any.
func wrap(s string, most int) []string {
	most = max(most, 8)
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && columns(line)+1+columns(word) <= most {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for columns(word) > most {
			at := fitting(word, most)
			lines = append(lines, word[:at])
			word = word[at:]
		}
		line = word
	}
	if line == "" {
		return lines
	}
	return append(lines, line)
}

// fitting is how many bytes of s fit into so many columns; at least one character.
func fitting(s string, most int) int {
	n := 0
	for i, r := range s {
		if n += runeColumns(r); n > most && i > 0 {
			return i
		}
	}
	return len(s)
}

// shorten makes an endpoint's name fit: it removes the text between braces before it cuts.
func shorten(name string, most int) string {
	for columns(name) > most {
		open := strings.LastIndex(strings.ReplaceAll(name, "{…}", "(…)"), "{")
		if open < 0 {
			break
		}
		end := strings.IndexByte(name[open:], '}')
		if end < 0 {
			break
		}
		// "{…}" and "(…)" have the same length, so the place holds in both.
		name = name[:open] + "{…}" + name[open+end+1:]
	}
	return cut(name, most)
}
