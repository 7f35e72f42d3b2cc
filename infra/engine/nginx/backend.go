package nginx

import (
	"slices"
	"strings"

	"isukit/infra/engine"
)

// Backend is an app that locations pass requests to by its address. nginx keeps no connections to it unless it is an upstream.
type Backend struct {
	Name    string   // that its upstream has or is to have
	Address string   // "localhost:1323", "unix:/run/app.sock"
	Passes  []string // keys of the proxy_pass directives
	// HostKey is where the header Host has to be set for the app to see the same one as before; "" where the configuration sets it.
	HostKey string
	Host    string // the header that the app sees without one
	// Refused tells why its upstream cannot be made; "" where it can.
	Refused string
}

type pass struct {
	key, url, host string
	owner          string // the block whose headers are in force, with its separator
	hasHost        bool
}

// Backends are the apps that are passed to without an upstream, or by one that isukit has put there, in the order of the
// configuration. Those whose address a variable decides, or that are reached by TLS, are left out.
func (c *Config) Backends() []Backend {
	var list []Backend
	passes := c.passes()
	for _, p := range passes {
		name, address, ok := c.backendOf(p.url)
		if !ok {
			continue
		}
		n := slices.IndexFunc(list, func(b Backend) bool { return b.Name == name })
		if n < 0 {
			n = len(list)
			list = append(list, Backend{Name: name, Address: address, Host: address})
			if strings.HasPrefix(address, "unix:") {
				list[n].Host = "localhost"
			}
		}
		b := &list[n]
		b.Passes = append(b.Passes, p.key)
		if p.hasHost {
			continue
		}
		if b.HostKey != "" && b.HostKey != p.owner+"proxy_set_header Host" {
			b.Refused = "locations with headers of different blocks pass to it; set proxy_set_header Host for each"
		}
		b.HostKey = p.owner + "proxy_set_header Host"
		for _, o := range passes {
			if o.owner == p.owner && o.host != p.host {
				b.Refused = "the header Host of " + o.host + " would change with it; set proxy_set_header Host for each"
			}
		}
	}
	return list
}

// passes are all proxy_pass directives below http.
func (c *Config) passes() (list []pass) {
	var walk func(inside []Directive, prefix, owner string, hasHost bool)
	walk = func(inside []Directive, prefix, owner string, hasHost bool) {
		own := false
		for _, d := range inside {
			if d.Name != "proxy_set_header" || len(d.Args) == 0 {
				continue
			}
			if !own {
				own, owner, hasHost = true, prefix, false
			}
			hasHost = hasHost || strings.EqualFold(d.Args[0], "Host")
		}
		for i, called := range Names(inside) {
			switch d := inside[i]; {
			case d.Block && levels[d.Name]:
				below := owner
				if below == "" {
					below = prefix + called + Separator // http, where nothing sets a header
				}
				walk(d.Children, prefix+called+Separator, below, hasHost)
			case d.Name == "proxy_pass" && len(d.Args) == 1:
				_, rest, _ := strings.Cut(d.Args[0], "://")
				host, _, _ := strings.Cut(rest, "/")
				list = append(list, pass{key: prefix + called, url: d.Args[0], host: host, owner: owner, hasHost: hasHost})
			}
		}
	}
	walk(c.Tree, "", "", false)
	return list
}

// backendOf takes a URL apart that names no upstream, or one that isukit made.
func (c *Config) backendOf(url string) (name, address string, ok bool) {
	rest, ok := strings.CutPrefix(url, "http://")
	if !ok || strings.Contains(rest, "$") {
		return "", "", false
	}
	if rest, unix := strings.CutPrefix(rest, "unix:"); unix {
		file, _, _ := strings.Cut(rest, ":")
		address = "unix:" + file
	} else {
		address, _, _ = strings.Cut(rest, "/")
	}
	_, up, err := c.Find("http" + Separator + "upstream " + address)
	switch {
	case err != nil:
		return "", "", false
	case up == nil:
		return strings.Trim(nameReplacer.Replace(address), "-"), address, true
	case !c.made(*up):
		return "", "", false
	}
	for _, d := range up.Children {
		if d.Name == "server" && len(d.Args) > 0 {
			return address, d.Args[0], true
		}
	}
	return "", "", false
}

// nameReplacer makes a name of an address that a Host header could be.
var nameReplacer = strings.NewReplacer(":", "-", "/", "-", "[", "", "]", "", "_", "-")

// made tells whether isukit has put a block there.
func (c *Config) made(d Directive) bool {
	return strings.HasPrefix(c.Files[d.File][d.End:], engine.Mark)
}

// Made tells whether a key is inside of an upstream that isukit has put there.
func (c *Config) Made(key string) bool {
	block := key[:max(0, strings.LastIndex(key, Separator))]
	_, d, err := c.Find(block)
	return err == nil && d != nil && d.Name == "upstream" && c.made(*d)
}

// PassTo is the URL of a proxy_pass to an upstream instead of the address in it.
func (b Backend) PassTo(url string) string {
	rest := strings.TrimPrefix(url, "http://")
	for _, before := range []string{b.Address + ":", b.Address, b.Name} {
		if behind, ok := strings.CutPrefix(rest, before); ok {
			return "http://" + b.Name + behind
		}
	}
	return url
}

// Block is the upstream's, on one line.
func (b Backend) Block(keepalive string) string {
	return "upstream " + b.Name + " { server " + b.Address + "; keepalive " + keepalive + "; }"
}

// Key is the one of the upstream's block.
func (b Backend) Key() string { return "http" + Separator + "upstream " + b.Name }
