package access

import (
	"fmt"
	"regexp"
	"strings"
)

// Pattern gathers paths under one route that the user names: "/api/posts/:id" or "/api/posts/{id}" (one segment each), a
// last "*" for all that follows, or a regular expression, which begins with "^". The zero value matches nothing.
type Pattern struct {
	text string
	expr *regexp.Regexp
}

// ParsePattern reads a pattern.
func ParsePattern(text string) (Pattern, error) {
	expr := text
	if !strings.HasPrefix(text, "^") {
		if !strings.HasPrefix(text, "/") {
			return Pattern{}, fmt.Errorf("route pattern %q begins neither with / nor, as a regular expression, with ^", text)
		}
		expr = templateExpr(text)
	}
	compiled, err := regexp.Compile(expr)
	if err != nil {
		return Pattern{}, fmt.Errorf("route pattern %q: %w", text, err)
	}
	return Pattern{text, compiled}, nil
}

func templateExpr(template string) string {
	var b strings.Builder
	b.WriteByte('^')
	for i, segment := range strings.Split(template, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		switch {
		case segment == "*":
			b.WriteString(".*")
		case strings.HasPrefix(segment, ":"):
			b.WriteString("[^/]+")
		default:
			b.WriteString(bracedExpr(segment))
		}
	}
	return b.String() + "$"
}

// bracedExpr reads a segment that may have names in braces, "{id}.jpg".
func bracedExpr(segment string) string {
	open := strings.IndexByte(segment, '{')
	end := strings.IndexByte(segment, '}')
	if open < 0 || end < open {
		return regexp.QuoteMeta(segment)
	}
	return regexp.QuoteMeta(segment[:open]) + "[^/]+" + bracedExpr(segment[end+1:])
}
