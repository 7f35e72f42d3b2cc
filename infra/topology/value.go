package topology

import (
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"isukit/infra/host"
)

var nameRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// name reads a name: it becomes a part of paths, of units and of network namespaces.
func (p *reader) name(n ast.Node, what string) string {
	s := p.Text(n, what)
	if s != "" && !nameRE.MatchString(s) {
		p.Fault(n, "%s %q: want 1 to 32 of a-z, 0-9 and -, not beginning or ending with -", what, s)
		return ""
	}
	return s
}

var hostnameRE = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

func (p *reader) address(n ast.Node) string {
	s := p.Text(n, "address")
	if _, err := netip.ParseAddr(s); s != "" && err != nil && !hostnameRE.MatchString(s) {
		p.Fault(n, "address %q: want an IP address or a host name, without port", s)
		return ""
	}
	return s
}

func (p *reader) cpus(n ast.Node) float64 {
	s := p.Text(n, "cpus")
	if s == "" {
		return 0
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0.01 && f <= 4096) {
		p.Fault(n, "cpus %q: want a number of CPUs between 0.01 and 4096", s)
		return 0
	}
	return f
}

// number reads a whole number from low to high.
func (p *reader) number(n ast.Node, what string, low, high int) int {
	s := p.Text(n, what)
	if s == "" {
		return 0
	}
	v, err := strconv.Atoi(s)
	if err != nil || v < low || v > high {
		p.Fault(n, "%s %q: want a whole number from %d to %d", what, s, low, high)
		return 0
	}
	return v
}

func (p *reader) boolean(n ast.Node, what string) bool {
	b, ok := n.(*ast.BoolNode)
	if !ok {
		p.Fault(n, "%s must be true or false, not %s", what, n.Type().YAMLName())
		return false
	}
	return b.Value
}

var units = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}}

// bytes reads a size. Only the powers of two are taken: GB is written by some for 10^9 and by others for 2^30.
func (p *reader) bytes(n ast.Node, what string, leastMiB int64) int64 {
	s := p.Text(n, what)
	if s == "" {
		return 0
	}
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if size := v * u.bytes; err == nil && v > 0 && v <= 1<<40/u.bytes*16 && size >= leastMiB<<20 {
			return size
		}
	}
	p.Fault(n, "%s %q: want a whole number with KiB, MiB, GiB or TiB, from %dMiB to 16TiB", what, s, leastMiB)
	return 0
}

// link reads what a host's link is: its rate alone, or a mapping.
func (p *reader) link(n ast.Node, h *Host) {
	rate := func(n ast.Node) { h.LinkBitsPerSec = p.bitsPerSec(n) }
	if n.Type() != ast.MappingType && n.Type() != ast.MappingValueType {
		rate(n)
		return
	}
	actions := map[string]func(ast.Node){"rate": rate}
	for _, key := range host.FlawKeys() {
		actions[key] = func(n ast.Node) {
			if text := p.Text(n, key); text != "" {
				if err := h.Flaws.Set(key, text); err != nil {
					p.Fault(n, "%v", err)
				}
			}
		}
	}
	p.Mapping(n, "a link", nil, append(host.FlawKeys(), "rate"), actions)
	if err := h.Flaws.Check(); err != nil {
		p.Fault(n, "link: %v", err)
	}
}

// bitsPerSec reads the speed of a link; networks count in powers of ten.
func (p *reader) bitsPerSec(n ast.Node) int64 {
	s := p.Text(n, "link")
	if s == "" {
		return 0
	}
	for unit, bits := range map[string]float64{"kbit": 1e3, "Mbit": 1e6, "Gbit": 1e9} {
		digits, ok := strings.CutSuffix(s, unit)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if b := v * bits; err == nil && b >= 64e3 && b <= 1e12 {
			return int64(math.Round(b))
		}
	}
	p.Fault(n, "link %q: want a number with kbit, Mbit or Gbit, from 64kbit to 1000Gbit", s)
	return 0
}
