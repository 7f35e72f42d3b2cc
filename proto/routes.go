// Package proto holds the routes of the portal: which method and path take which message and answer with which.
//
// routes.tsv is the single truth that the app's mux, the load generator and the decoder read. The messages themselves
// are in proto/portal/v1; a message's bytes on the wire are the business of proto/wire.
package proto

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
)

//go:embed routes.tsv
var routesTSV string

// Route is one line of routes.tsv.
type Route struct {
	// Method is the HTTP method, in capitals.
	Method string
	// Path is the template: a segment such as "{team_id}" matches any one segment.
	Path string
	// Request is the message in the request's body; "" without a body.
	Request protoreflect.FullName
	// Response is the message in the body of a 2xx answer.
	Response protoreflect.FullName
}

var parsed = sync.OnceValues(func() ([]Route, error) { return Parse(routesTSV) })

// Routes gives every route of the portal in the order of routes.tsv. The slice is the caller's own.
func Routes() []Route {
	routes, err := parsed()
	if err != nil {
		panic("proto: the embedded routes.tsv: " + err.Error()) // held by a test
	}
	return append([]Route(nil), routes...)
}

// Match finds the route of the portal that a request with this method and path (without query) takes.
func Match(method, path string) (Route, bool) {
	routes, err := parsed()
	if err != nil {
		return Route{}, false
	}
	return Find(routes, method, path)
}

// Find is Match over other routes. A literal segment goes before a template's; of equals the first one wins.
func Find(routes []Route, method, path string) (Route, bool) {
	best, bestLiteral := Route{}, -1
	for _, r := range routes {
		if r.Method != method {
			continue
		}
		if literal, ok := fits(r.Path, path); ok && literal > bestLiteral {
			best, bestLiteral = r, literal
		}
	}
	return best, bestLiteral >= 0
}

// fits reports whether path is an instance of template, and how many segments are literally the same.
func fits(template, path string) (literal int, ok bool) {
	for {
		var t, p string
		var moreT, moreP bool
		t, template, moreT = strings.Cut(template, "/")
		p, path, moreP = strings.Cut(path, "/")
		switch {
		case t == p:
			literal++
		case !strings.HasPrefix(t, "{") || p == "":
			return 0, false
		}
		if moreT != moreP {
			return 0, false
		}
		if !moreT {
			return literal, true
		}
	}
}

// Parse reads routes in the form of routes.tsv: method, path template, request message ("-" for none) and response
// message, separated by tabs; lines that are empty or begin with "#" are skipped. It reports every fault, by line.
func Parse(text string) ([]Route, error) {
	var routes []Route
	var faults []error
	seen := map[string]int{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		r, err := parseLine(line)
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", i+1, err))
			continue
		}
		if first, ok := seen[r.Method+" "+r.Path]; ok {
			faults = append(faults, fmt.Errorf("line %d: %s %s is on line %d already", i+1, r.Method, r.Path, first))
			continue
		}
		seen[r.Method+" "+r.Path] = i + 1
		routes = append(routes, r)
	}
	return routes, errors.Join(faults...)
}

func parseLine(line string) (Route, error) {
	fields := strings.Split(line, "\t")
	if len(fields) != 4 {
		return Route{}, fmt.Errorf("%d fields separated by tabs, want 4: %q", len(fields), line)
	}
	r := Route{Method: fields[0], Path: fields[1], Response: protoreflect.FullName(fields[3])}
	if fields[2] != "-" {
		r.Request = protoreflect.FullName(fields[2])
	}
	switch {
	case r.Method == "" || strings.Trim(r.Method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "":
		return Route{}, fmt.Errorf("%q is not a method", r.Method)
	case !strings.HasPrefix(r.Path, "/"):
		return Route{}, fmt.Errorf("the path %q does not begin with a slash", r.Path)
	case r.Request != "" && !r.Request.IsValid():
		return Route{}, fmt.Errorf("%q is not a message name", r.Request)
	case !r.Response.IsValid():
		return Route{}, fmt.Errorf("%q is not a message name", r.Response)
	}
	return r, nil
}
