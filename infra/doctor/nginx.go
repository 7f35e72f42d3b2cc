package doctor

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"isukit/infra/engine/nginx"
	"isukit/infra/host"
)

// Nginx is the configuration of an nginx, with its upstreams.
type Nginx struct {
	Name string // of the instance or "nginx"
	// Text is what nginx -T prints, or one configuration file, whose path is File.
	File, Text string
	// Answers are what upstreams answer to requests that the caches are for, by Location.Key.
	Answers map[string]Tried
}

// Location is a place of a configuration that caches.
type Location struct {
	Key        string // "location /api in FILE:LINE"
	File       string
	Line       int
	Match      []string // the words behind "location"
	Cache      string   // name of the cache
	Valid      bool     // proxy_cache_valid is in scope
	ValidAny   bool     // and holds for every status, or for 200
	Ignore     []string // proxy_ignore_headers
	Bypass     bool     // proxy_no_cache is in scope: somebody thought of what may not be cached
	Pass       string   // the argument of proxy_pass
	UpstreamAt string   // address of the first server behind it
	Unix       bool
}

// LookAtNginx reads an nginx's configuration as it would be loaded now: argv is the program with the options that name its files.
func LookAtNginx(ctx context.Context, at host.Host, name string, argv ...string) (Nginx, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	res, err := at.Run(ctx, host.Command{Argv: append([]string{"sh", "-c", host.AsRoot, `PATH=$PATH:/usr/sbin:/sbin; exec "$@" -T`}, argv...)})
	if err != nil {
		return Nginx{}, fmt.Errorf("inspect %s: %w", name, err)
	}
	if res.Code != 0 {
		return Nginx{}, fmt.Errorf("inspect %s: nginx -T: exit status %d: %s", name, res.Code, host.Tail(res.Stderr, 1))
	}
	return Nginx{Name: name, Text: string(res.Stdout)}, nil
}

// Targets are the requests whose answers tell whether the caches that need it can keep anything, by Location.Key.
func (n Nginx) Targets() map[string]Target {
	targets := map[string]Target{}
	for _, l := range n.Locations() {
		if l.UpstreamAt == "" || len(l.Match) > 0 && strings.HasPrefix(l.Match[0], "~") {
			continue // which paths match is unknown
		}
		t := Target{Kind: "http", Network: "tcp", Address: l.UpstreamAt, URI: l.Match[len(l.Match)-1]}
		if l.Unix {
			t.Network = "unix"
		}
		if strings.HasPrefix(l.Pass, "https:") {
			t.Kind = "https"
		}
		targets[l.Key] = t
	}
	return targets
}

// Locations are the places that cache.
func (n Nginx) Locations() []Location {
	all, err := nginx.Parse(n.Text)
	if err != nil {
		return nil // nginx does not take it
	}
	w := &locationWalk{file: n.File, upstreams: map[string]string{}}
	w.findUpstreams(all)
	w.walk(all, Location{})
	return w.found
}

type locationWalk struct {
	file      string // where the text does not name it
	upstreams map[string]string
	found     []Location
}

func (w *locationWalk) findUpstreams(list []nginx.Directive) {
	for _, b := range list {
		if b.Name == "upstream" && len(b.Args) > 0 {
			for _, c := range b.Children {
				if c.Name == "server" && len(c.Args) > 0 && w.upstreams[b.Args[0]] == "" {
					w.upstreams[b.Args[0]] = c.Args[0]
				}
			}
		}
		w.findUpstreams(b.Children)
	}
}

// walk goes down with what is inherited. A directive of the inner block replaces that of the outer ones.
func (w *locationWalk) walk(list []nginx.Directive, outer Location) {
	l := outer
	valid := false
	for _, b := range list {
		if len(b.Args) == 0 {
			continue
		}
		switch args := b.Args; b.Name {
		case "proxy_cache":
			l.Cache = args[0]
		case "proxy_cache_valid":
			if !valid { // all of this block together replace the outer ones
				valid, l.Valid, l.ValidAny = true, true, false
			}
			statuses := args[:len(args)-1]
			l.ValidAny = l.ValidAny || len(statuses) == 0 || slices.Contains(statuses, "any") || slices.Contains(statuses, "200")
		case "proxy_ignore_headers":
			l.Ignore = args
		case "proxy_no_cache":
			l.Bypass = true
		case "proxy_pass":
			l.Pass = args[0]
		}
	}
	for _, b := range list {
		if !b.Block || b.Name == "upstream" {
			continue
		}
		inner := l
		inner.Pass = "" // proxy_pass is not inherited
		if b.Name == "location" {
			inner.Match, inner.File, inner.Line = b.Args, b.File, b.Line
			if b.File == "" {
				inner.File = w.file
			}
		}
		w.walk(b.Children, inner)
	}
	if l.Pass != "" && l.Cache != "" && l.Cache != "off" && len(l.Match) > 0 {
		l.Key = fmt.Sprintf("location %s", strings.Join(l.Match, " "))
		if l.File != "" {
			l.Key += fmt.Sprintf(" (%s:%d)", l.File, l.Line)
		}
		l.UpstreamAt, l.Unix = w.address(l.Pass)
		w.found = append(w.found, l)
	}
}

// address is where a proxy_pass leads to; "" where a variable decides.
func (w *locationWalk) address(pass string) (address string, unix bool) {
	_, rest, ok := strings.Cut(pass, "://")
	if !ok || strings.Contains(rest, "$") {
		return "", false
	}
	if file, ok := strings.CutPrefix(rest, "unix:"); ok {
		file, _, _ = strings.Cut(file, ":")
		return file, true
	}
	rest, _, _ = strings.Cut(rest, "/")
	if server := w.upstreams[rest]; server != "" {
		if file, ok := strings.CutPrefix(server, "unix:"); ok {
			return file, true
		}
		rest = server
	}
	if _, _, err := net.SplitHostPort(rest); err != nil {
		port := "80"
		if strings.HasPrefix(pass, "https:") {
			port = "443"
		}
		rest = net.JoinHostPort(rest, port)
	}
	return rest, false
}

// enoughMisses is how many misses without a hit make a cache one that keeps nothing.
const enoughMisses = 20

func proxyCache(o *Observed, add func(Finding)) {
	for _, r := range o.Routes {
		if misses := r.Counts["MISS"]; misses >= enoughMisses && r.Counts["HIT"] == 0 {
			add(Finding{Severity: Warn, Subject: r.Name, Seen: fmt.Sprintf("the cache had %d misses and not one hit", misses),
				Fix: "isukit doctor --only proxy-cache   # while the servers run: it tells why"})
		}
	}
	for _, h := range o.Hosts {
		for _, n := range h.Proxies {
			for _, l := range n.Locations() {
				answer, asked := n.Answers[l.Key]
				if seen, fix := l.cachesNothing(answer, asked && answer.Plain.OK); seen != "" {
					add(Finding{Severity: Warn, Host: h.Name, Subject: strings.TrimSpace(n.Name + " " + l.Key), Seen: seen, Fix: fix})
				}
			}
		}
	}
}

// cachesNothing tells why the cache of a location keeps nothing; "" where it keeps answers, or where that cannot be told.
func (l Location) cachesNothing(answer Tried, asked bool) (seen, fix string) {
	ignores := func(header string) bool {
		return slices.ContainsFunc(l.Ignore, func(h string) bool { return strings.EqualFold(h, header) })
	}
	valid := "proxy_cache_valid 200 1s;   # in the location"
	if !asked {
		if !l.Valid {
			return "proxy_cache without proxy_cache_valid: only answers with Cache-Control, Expires or X-Accel-Expires are kept", valid
		}
		return "", ""
	}
	var why []string
	if answer.Header.Get("Set-Cookie") != "" && !ignores("Set-Cookie") {
		why = append(why, "the upstream sets a cookie")
	}
	if v := answer.Header.Get("Vary"); v == "*" && !ignores("Vary") {
		why = append(why, "the upstream sends Vary: *")
	}
	lifetime, forbidden := lifetimeOf(answer.Header, ignores)
	if forbidden != "" {
		why = append(why, "the upstream sends "+forbidden)
	}
	if lifetime == "" && forbidden == "" && !l.ValidAny {
		reason := "no proxy_cache_valid"
		if l.Valid {
			reason = "no proxy_cache_valid for status 200"
		}
		return reason + " and the upstream sends no Cache-Control, Expires or X-Accel-Expires: nothing is kept" + also(why), valid
	}
	if len(why) > 0 {
		return "nothing is kept: " + strings.Join(why, ", "), "proxy_ignore_headers Set-Cookie Cache-Control Expires;   # where the answer is the same for everybody; and " + valid
	}
	return "", ""
}

func also(why []string) string {
	if len(why) == 0 {
		return ""
	}
	return " (" + strings.Join(why, ", ") + ", too)"
}

// lifetimeOf is the header that gives a response a time in the cache, and the one that forbids to keep it. X-Accel-Expires comes first.
func lifetimeOf(h http.Header, ignores func(string) bool) (lifetime, forbidden string) {
	if v := h.Get("X-Accel-Expires"); v != "" && !ignores("X-Accel-Expires") {
		if v == "0" {
			return "", "X-Accel-Expires: 0"
		}
		return "X-Accel-Expires", ""
	}
	if v := strings.ToLower(h.Get("Cache-Control")); v != "" && !ignores("Cache-Control") {
		for _, word := range []string{"private", "no-cache", "no-store", "s-maxage=0", "max-age=0"} {
			if slices.Contains(splitList(v), word) {
				return "", "Cache-Control: " + word
			}
		}
		if strings.Contains(v, "max-age=") || strings.Contains(v, "s-maxage=") {
			return "Cache-Control", ""
		}
	}
	if v := h.Get("Expires"); v != "" && !ignores("Expires") {
		if at, err := http.ParseTime(v); err != nil || !at.After(time.Now()) {
			return "", "Expires: " + strconv.Quote(v)
		}
		return "Expires", ""
	}
	return "", ""
}

func splitList(text string) []string {
	words := strings.Split(text, ",")
	for i, w := range words {
		words[i] = strings.TrimSpace(w)
	}
	return words
}
