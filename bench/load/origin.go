package load

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Origin is where a server listens: scheme, host and port. It is made by ParseOrigin and never changes.
type Origin struct {
	https bool
	// host is the Host header; name is its host part, in lower case, without brackets; addr is what is dialled.
	host, name, addr string
	loopback         bool
}

// ParseOrigin reads an origin such as "http://127.0.0.1:8080" or "https://portal.example". A path other than "/", a query
// or user information is an error.
func ParseOrigin(s string) (*Origin, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("parse origin: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("parse origin %q: scheme is %q, want http or https", s, u.Scheme)
	case u.Hostname() == "":
		return nil, fmt.Errorf("parse origin %q: no host", s)
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "", u.User != nil:
		return nil, fmt.Errorf("parse origin %q: more than scheme, host and port", s)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	o := &Origin{https: u.Scheme == "https", host: u.Host, name: strings.ToLower(u.Hostname())}
	o.addr = net.JoinHostPort(o.name, port)
	ip := net.ParseIP(o.name)
	o.loopback = o.name == "localhost" || ip != nil && ip.IsLoopback()
	return o, nil
}

// String returns the origin as a URL without a path.
func (o *Origin) String() string {
	if o.https {
		return "https://" + o.host
	}
	return "http://" + o.host
}

// same reports whether two origins share connections.
func (o *Origin) same(p *Origin) bool {
	return o == p || o.https == p.https && o.addr == p.addr && o.host == p.host
}
