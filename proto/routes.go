// Package proto holds routes: which method and path take which message and answer with which. It reads files of them and finds the route of
// a request.
//
// routes.tsv has those of the portal, the single truth that the app's mux, the load generator and the decoder read. The messages themselves
// are in proto/portal/v1; a message's bytes on the wire are the business of proto/wire.
package proto

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"
)

//go:embed routes.tsv
var routesTSV string

// Portal gives every route of the portal in the order of routes.tsv. The slice is the caller's own.
func Portal() Routes {
	routes, err := ParseRoutes(strings.NewReader(routesTSV))
	if err != nil {
		panic("proto: the embedded routes.tsv: " + err.Error()) // held by a test
	}
	return routes
}

// Route names the messages in the bodies of one method and path.
type Route struct {
	// Method is the HTTP method in capitals; "*" is any.
	Method string `json:"method"`
	// Path is a template: ":id" and "{id}" match one segment, a last "*" or "{rest...}" all that follow.
	Path string `json:"path"`
	// Request and Response are full message names; empty without a body.
	Request  string `json:"request,omitempty"`
	Response string `json:"response,omitempty"`
}

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

// Match finds the route of a request. A query in path is ignored.
func (rs Routes) Match(method, path string) (Route, bool) {
	path, _, _ = strings.Cut(path, "?")
	best, score := Route{}, -1
	for _, r := range rs {
		if !r.takes(method) {
			continue
		}
		if s := matchPath(r.Path, path); s > score {
			best, score = r, s
		}
	}
	return best, score >= 0
}

func (r Route) takes(method string) bool {
	return r.Method == "*" || strings.EqualFold(r.Method, method)
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

// IsPlaceholder reports whether a segment of a template matches many: "*", ":id", "{id}", "{id}.png".
func IsPlaceholder(segment string) bool {
	return segment == "*" || strings.HasPrefix(segment, ":") || strings.Contains(segment, "{")
}

func fitsPlaceholder(want, got string) bool {
	if !IsPlaceholder(want) || got == "" {
		return false
	}
	before, rest, braced := strings.Cut(want, "{")
	_, after, _ := strings.Cut(rest, "}")
	return !braced || len(got) > len(before)+len(after) && strings.HasPrefix(got, before) && strings.HasSuffix(got, after)
}

// Find returns the routes of a method that have template as their path, or whose path a concrete template fits; "" is any method.
func (rs Routes) Find(method, path string) Routes {
	path, _, _ = strings.Cut(path, "?")
	var found Routes
	for _, r := range rs {
		if (method == "" || r.takes(method)) && (r.Path == path || matchPath(r.Path, path) >= 0) {
			found = append(found, r)
		}
	}
	return found
}
