package engine

import "strings"

// Comments that mark isukit's text in a file: at the top of a file of its own, and above a section that it added.
const (
	IniWritten = "# Written by isukit tune."
	iniAdded   = "# Added by isukit tune."
)

// Ini is how a file of "key = value" lines is read and edited, in a [section] or without. All else in the file stays byte for byte.
type Ini struct {
	Section string              // "" for a file without sections
	Name    func(string) string // makes spellings of a key equal; nil: they are
}

// Value is what a key has in the text.
func (s Ini) Value(text, key string) Value {
	if _, at := s.find(strings.SplitAfter(text, "\n"), key); at.line >= 0 {
		return Value{Text: at.value}
	}
	return Value{Absent: true}
}

// iniLine is where a key stands.
type iniLine struct {
	line          int    // -1: nowhere
	before, after string // what is before and behind its value, with the line's end
	value         string
}

// find returns the line of a section's header and the last line with the key in any such section; -1 for none.
func (s Ini) find(lines []string, key string) (header int, at iniLine) {
	header, at.line = -1, -1
	inside := s.Section == ""
	for i, line := range lines {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "[") && s.Section != "" {
			if inside = trimmed == "["+s.Section+"]"; inside && header < 0 {
				header = i
			}
			continue
		}
		if !inside || trimmed == "" || strings.IndexByte("#;!", trimmed[0]) >= 0 {
			continue
		}
		if l := splitIni(line); s.same(l.before, key) {
			l.line = i
			at = l
		}
	}
	return header, at
}

func splitIni(line string) iniLine {
	body := strings.TrimRight(line, "\r\n")
	l := iniLine{after: line[len(body):]}
	eq := strings.IndexByte(body, '=')
	if eq < 0 {
		trimmed := strings.TrimRight(body, " \t")
		l.before, l.after = trimmed, body[len(trimmed):]+l.after
		return l
	}
	rest := body[eq+1:]
	value := rest
	if i := strings.Index(rest, " #"); i >= 0 && !strings.HasPrefix(strings.TrimSpace(rest), `"`) {
		value = rest[:i]
	}
	trimmed := strings.TrimSpace(value)
	start := strings.Index(rest, trimmed)
	l.before, l.value, l.after = body[:eq+1]+rest[:start], trimmed, rest[start+len(trimmed):]+l.after
	return l
}

func (s Ini) same(before, key string) bool {
	k := strings.TrimSpace(strings.TrimRight(before, "= \t"))
	if s.Name == nil {
		return k == key
	}
	return s.Name(k) == s.Name(key)
}

// Edit gives a key its value in the text, or takes it out.
func (s Ini) Edit(text, key string, v Value) string {
	lines := strings.SplitAfter(text, "\n")
	header, at := s.find(lines, key)
	assignment := key
	if v.Text != "" {
		assignment += " = " + v.Text
	}
	switch {
	case v.Absent && at.line < 0:
		return text
	case v.Absent:
		lines[at.line] = ""
		return s.withoutAdded(strings.Join(lines, ""))
	case at.line >= 0 && (v.Text == "") == (at.value == ""):
		lines[at.line] = at.before + v.Text + at.after
	case at.line >= 0:
		lines[at.line] = assignment + "\n"
	case s.Section == "":
		return endLine(text) + assignment + "\n"
	case header < 0:
		if text == IniWritten+"\n" {
			return text + "[" + s.Section + "]\n" + assignment + "\n"
		}
		return endLine(text) + iniAdded + "\n[" + s.Section + "]\n" + assignment + "\n"
	default:
		lines[header] = endLine(lines[header]) + assignment + "\n"
	}
	return strings.Join(lines, "")
}

// withoutAdded takes out the section that isukit had added, when nothing is left in it.
func (s Ini) withoutAdded(text string) string {
	if s.Section == "" {
		return text
	}
	if text == IniWritten+"\n["+s.Section+"]\n" {
		return IniWritten + "\n"
	}
	return strings.TrimSuffix(text, iniAdded+"\n["+s.Section+"]\n")
}

func endLine(text string) string {
	if text == "" || strings.HasSuffix(text, "\n") {
		return text
	}
	return text + "\n"
}
