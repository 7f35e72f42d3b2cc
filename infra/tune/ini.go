package tune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"isukit/infra/host"
)

// The lines that tell what isukit put into a file: written above a file of its own, added above a section that was not there.
const (
	iniWritten = "# Written by isukit tune."
	iniAdded   = "# Added by isukit tune."
)

// iniSlot is a file of "key = value" lines, in a [section] or without. All else in the file stays byte for byte.
type iniSlot struct {
	host    host.Host
	path    string
	section string              // "" for a file without sections
	name    func(string) string // makes spellings of a key equal; nil: they are
	on      Layer               // "" is FileLayer
}

func (s iniSlot) layer() Layer {
	if s.on != "" {
		return s.on
	}
	return FileLayer
}

func (s iniSlot) file() string { return s.path }

func (s iniSlot) read(ctx context.Context, key string) (Value, error) {
	text, err := getText(ctx, s.host, s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Value{Absent: true}, nil
	}
	if err != nil {
		return Value{}, err
	}
	_, at := s.find(strings.SplitAfter(text, "\n"), key)
	if at.line < 0 {
		return Value{Absent: true}, nil
	}
	return Value{Text: at.value}, nil
}

func (s iniSlot) write(ctx context.Context, key string, v Value) error {
	return s.writeAll(ctx, []assignment{{key: key, to: v}})
}

// writeAll implements many.
func (s iniSlot) writeAll(ctx context.Context, list []assignment) error {
	text, err := getText(ctx, s.host, s.path)
	isNew := errors.Is(err, fs.ErrNotExist)
	if err != nil && !isNew {
		return err
	}
	if isNew {
		text = iniWritten + "\n"
	}
	for _, a := range list {
		text = s.edit(text, a.key, a.to)
	}
	switch {
	case text != iniWritten+"\n":
		err = putText(ctx, s.host, s.path, text)
	case !isNew:
		err = s.host.Remove(ctx, s.path)
	default:
		err = nil
	}
	if err != nil {
		return err
	}
	text, err = getText(ctx, s.host, s.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	lines := strings.SplitAfter(text, "\n")
	for i := range list {
		list[i].got = Value{Absent: true}
		if _, at := s.find(lines, list[i].key); at.line >= 0 {
			list[i].got = Value{Text: at.value}
		}
	}
	return nil
}

// iniLine is where a key stands.
type iniLine struct {
	line          int    // -1: nowhere
	before, after string // what is before and behind its value, with the line's end
	value         string
}

// find returns the line of a section's header and the last line with the key in any such section; -1 for none.
func (s iniSlot) find(lines []string, key string) (header int, at iniLine) {
	header, at.line = -1, -1
	inside := s.section == ""
	for i, line := range lines {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "[") && s.section != "" {
			if inside = trimmed == "["+s.section+"]"; inside && header < 0 {
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

// splitIni cuts "key = value # comment" apart.
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

func (s iniSlot) same(before, key string) bool {
	k := strings.TrimSpace(strings.TrimRight(before, "= \t"))
	if s.name == nil {
		return k == key
	}
	return s.name(k) == s.name(key)
}

// edit gives a key its value in the text, or takes it out.
func (s iniSlot) edit(text, key string, v Value) string {
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
	case s.section == "":
		return endLine(text) + assignment + "\n"
	case header < 0:
		if text == iniWritten+"\n" {
			return text + "[" + s.section + "]\n" + assignment + "\n"
		}
		return endLine(text) + iniAdded + "\n[" + s.section + "]\n" + assignment + "\n"
	default:
		lines[header] = endLine(lines[header]) + assignment + "\n"
	}
	return strings.Join(lines, "")
}

// withoutAdded takes out the section that isukit had added, when nothing is left in it.
func (s iniSlot) withoutAdded(text string) string {
	if s.section == "" {
		return text
	}
	if text == iniWritten+"\n["+s.section+"]\n" {
		return iniWritten + "\n"
	}
	return strings.TrimSuffix(text, iniAdded+"\n["+s.section+"]\n")
}

func endLine(text string) string {
	if text == "" || strings.HasSuffix(text, "\n") {
		return text
	}
	return text + "\n"
}

func getText(ctx context.Context, h host.Host, path string) (string, error) {
	text, err := h.Get(ctx, path)
	return string(text), err
}

// putText replaces a file, behind a link where it is one, and keeps its mode. A directory for it is made, as of a unit's drop-ins.
func putText(ctx context.Context, h host.Host, path, text string) error {
	mode := fs.FileMode(0o644)
	out, err := output(ctx, h, "sh", "-c", `mkdir -p -- "$(dirname -- "$1")" && f=$(readlink -f -- "$1") && printf '%s\n' "$f" && { [ ! -e "$f" ] || stat -c %a -- "$f"; }`, "sh", path)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	real, modeText, _ := strings.Cut(strings.TrimSuffix(out, "\n"), "\n")
	if m, err := strconv.ParseUint(strings.TrimSpace(modeText), 8, 12); err == nil {
		mode = fs.FileMode(m & 0o777)
	}
	if err := h.Put(ctx, real, []byte(text), mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = output(ctx, h, "sync", real)
	return err
}
