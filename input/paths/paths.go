// Package paths distinguishes segments of URL paths that name one thing of many, for example an identifier, a date or a user, from those
// that are written in the program. It returns a placeholder for the former. Which paths make up a route is left to others.
package paths

import (
	"bytes"
	"strings"
)

// Template is a path without its query, with its segments replaced by Collapse.
func Template(path string) string {
	path, _, _ = strings.Cut(path, "?")
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if kind, ok := Collapse([]byte(s)); ok {
			segments[i] = kind
		}
	}
	return strings.Join(segments, "/")
}

// Collapse returns the placeholder of a path's segment that looks like the name of one thing of many: "{id}" for digits, "{uuid}",
// "{date}", "{hex}", "{token}", "@{slug}". An extension stays: "12.jpg" is "{id}.jpg". Any other segment is itself.
func Collapse(segment []byte) (kind string, ok bool) {
	if len(segment) > 1 && segment[0] == '@' {
		return "@{slug}", true // by convention a user
	}
	stem, extension := segment, []byte(nil)
	if dot := bytes.LastIndexByte(segment, '.'); dot > 0 && len(segment)-dot <= 6 {
		stem, extension = segment[:dot], segment[dot:]
	}
	kind = kindOf(stem)
	if kind == "" {
		return "", false
	}
	return kind + string(extension), true
}

func kindOf(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	var digits, hexLetters, letters, dashes, others int
	upper, lower := false, false
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'z':
			lower = true
			letters++
			if c <= 'f' {
				hexLetters++
			}
		case c >= 'A' && c <= 'Z':
			upper = true
			letters++
			if c <= 'F' {
				hexLetters++
			}
		case c == '-':
			dashes++
		default:
			others++
		}
	}
	n := len(b)
	isHex := digits+hexLetters+dashes == n
	switch {
	case digits == n:
		return "{id}"
	case n == 36 && isHex && dashes == 4 && b[8] == '-' && b[13] == '-' && b[18] == '-' && b[23] == '-':
		return "{uuid}"
	case n == 10 && digits == 8 && b[4] == '-' && b[7] == '-':
		return "{date}"
	case n >= 8 && isHex && dashes == 0 && digits >= 2 && (n >= 16 || digits >= 3):
		return "{hex}"
	case n == 26 && digits+letters == n && digits >= 3 && upper != lower:
		return "{ulid}"
	case n >= 20 && others == 0 && digits >= 3 && letters >= 3 && dashes <= 2 && (upper || dashes == 0):
		return "{token}"
	}
	return ""
}
