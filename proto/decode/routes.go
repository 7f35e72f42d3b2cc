package decode

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"
)

// Route says which messages the bodies of one method and path are.
type Route struct {
	// Method is the HTTP method in capitals; "*" is any.
	Method string
	// Path is a template: ":id" and "{id}" stand for one segment, a last "*" or "{rest...}" for all that follow.
	Path string
	// Request and Response are full message names; empty where there is no body.
	Request, Response string
}

// Direction is which way a body goes.
type Direction int

// A body is of a Request or of a Response.
const (
	Request Direction = iota
	Response
)

// Routes are routes in the order of their file. Where several fit a path, the one with the most literal segments counts,
// then the earlier one.
type Routes []Route

const (
	maxRoutes         = 10_000
	maxRouteLineBytes = 64 << 10
)

// ParseRoutes reads a TSV file: method, path template, request message and response message, "-" for no body. Lines that
// are empty or start with "#" are skipped. Every faulty line is reported, by number.
func ParseRoutes(r io.Reader) (Routes, error) {
	var routes Routes
	var faults []error
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxRouteLineBytes)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimRight(lines.Text(), "\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		route, err := parseRoute(line)
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", number, err))
			continue
		}
		if routes = append(routes, route); len(routes) > maxRoutes {
			return nil, fmt.Errorf("more than %d routes", maxRoutes)
		}
	}
	if err := lines.Err(); err != nil {
		faults = append(faults, err)
	}
	return routes, errors.Join(faults...)
}

func parseRoute(line string) (Route, error) {
	columns := strings.Split(line, "\t")
	if len(columns) != 4 {
		return Route{}, fmt.Errorf("%d columns separated by tabs, want 4 (method, path, request, response): %q", len(columns), line)
	}
	for i, column := range columns {
		if columns[i] = strings.TrimSpace(column); columns[i] == "" {
			return Route{}, fmt.Errorf("column %d is empty: %q", i+1, line)
		}
	}
	if !strings.HasPrefix(columns[1], "/") && columns[1] != "*" {
		return Route{}, fmt.Errorf("path %q does not start with a slash", columns[1])
	}
	dash := func(s string) string {
		if s == "-" {
			return ""
		}
		return strings.TrimPrefix(s, ".")
	}
	return Route{Method: strings.ToUpper(columns[0]), Path: columns[1], Request: dash(columns[2]), Response: dash(columns[3])}, nil
}

// Match finds the route of a request. path may carry a query, which is left aside.
func (rs Routes) Match(method, path string) (Route, bool) {
	path, _, _ = strings.Cut(path, "?")
	best, score := Route{}, -1
	for _, r := range rs {
		if r.Method != "*" && !strings.EqualFold(r.Method, method) {
			continue
		}
		if s := matchPath(r.Path, path); s > score {
			best, score = r, s
		}
	}
	return best, score >= 0
}

// matchPath returns -1 when path does not fit the template, else a number that is larger the more literal the template.
func matchPath(template, path string) int {
	for i := 0; i < len(template) && template[i] != '{' && template[i] != ':' && template[i] != '*'; i++ {
		if i == len(path) || path[i] != template[i] {
			return -1 // most routes are another's already here
		}
	}
	score := 0
	for {
		var want, got string
		var moreWant, moreGot bool
		want, template, moreWant = strings.Cut(template, "/")
		if want == "*" && !moreWant || strings.HasPrefix(want, "{") && strings.HasSuffix(want, "...}") {
			return score
		}
		got, path, moreGot = strings.Cut(path, "/")
		switch {
		case want == got:
			score += 3
		case fitsPlaceholder(want, got):
			score++
		default:
			return -1
		}
		if moreWant != moreGot {
			return -1
		}
		if !moreWant {
			return score
		}
	}
}

// isPlaceholder reports whether a segment of a template stands for many: "*", ":id", "{id}", "{id}.png".
func isPlaceholder(segment string) bool {
	return segment == "*" || strings.HasPrefix(segment, ":") || strings.Contains(segment, "{")
}

func fitsPlaceholder(want, got string) bool {
	if !isPlaceholder(want) || got == "" {
		return false
	}
	before, rest, braced := strings.Cut(want, "{")
	_, after, _ := strings.Cut(rest, "}")
	return !braced || len(got) > len(before)+len(after) && strings.HasPrefix(got, before) && strings.HasSuffix(got, after)
}

// Find returns the routes that have template as their path, or whose path a concrete template fits.
func (rs Routes) Find(path string) Routes {
	path, _, _ = strings.Cut(path, "?")
	var found Routes
	for _, r := range rs {
		if r.Path == path || matchPath(r.Path, path) >= 0 {
			found = append(found, r)
		}
	}
	return found
}

// Type names the message of one body, "" where nothing says which it is. The parameter "proto" (or "messageType") of the
// content type names it itself and wins. Else the route does; but not for an answer with status 400 and above, since such
// answers carry errors, not what the route promises.
func (rs Routes) Type(method, path string, direction Direction, status int, contentType string) string {
	if name := TypeOfContentType(contentType); name != "" {
		return name
	}
	route, ok := rs.Match(method, path)
	switch {
	case !ok:
		return ""
	case direction == Request:
		return route.Request
	case status >= 400:
		return ""
	}
	return route.Response
}

// TypeOfContentType returns the message that a content type's parameter names, or "".
func TypeOfContentType(contentType string) string {
	if !strings.Contains(contentType, ";") {
		return ""
	}
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	for _, key := range []string{"proto", "messagetype", "message"} {
		if name := params[key]; name != "" {
			return strings.TrimPrefix(name, ".")
		}
	}
	return ""
}

// IsProtobuf reports whether a content type announces one protobuf message. An absent content type may be one too: ok is
// then false.
func IsProtobuf(contentType string) (ok bool) {
	kind, _, _ := strings.Cut(contentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch kind {
	case "application/protobuf", "application/x-protobuf", "application/vnd.google.protobuf", "application/x-google-protobuf":
		return true
	}
	return strings.HasPrefix(kind, "application/") && (strings.HasSuffix(kind, "+protobuf") || strings.HasSuffix(kind, "+proto"))
}

// MayBeProtobuf reports whether a body of that content type may be one protobuf message: one that says it is, one without a type, and, where
// a type is named for it, application/octet-stream. A parameter of the content type that names the message decides as well.
func MayBeProtobuf(contentType string, named bool) bool {
	if contentType == "" || IsProtobuf(contentType) || TypeOfContentType(contentType) != "" {
		return true
	}
	kind, _, _ := strings.Cut(contentType, ";")
	return named && strings.EqualFold(strings.TrimSpace(kind), "application/octet-stream")
}
