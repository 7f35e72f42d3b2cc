package tune

import (
	"fmt"
	"strings"

	"isukit/infra/engine/envoy"
)

// envoyFile reads a tuning's fragment: keys with a comment line are settings, others only say where. An item with a key "name" means
// the one of that name, one without means each.
func (p *parser) envoyFile(text string) {
	entries, err := envoy.Parse(text)
	if err != nil {
		p.faults = append(p.faults, fmt.Errorf("%s: %w", p.file, err))
		return
	}
	p.envoyFragment(text, "", entries)
}

func (p *parser) envoyFragment(text, path string, entries []envoy.Entry) {
	for _, e := range entries {
		name := e.Name
		if e.Item && name == "1" {
			name = "*"
		}
		switch {
		case strings.Contains(e.Comment, "risk:") && strings.Contains(e.Value(text), "\n"):
			p.fault(e.Line, "the value of %s must stand on its line", name)
		case strings.Contains(e.Comment, "risk:") && path == "":
			p.fault(e.Line, "%s must be inside of something", name)
		case strings.Contains(e.Comment, "risk:"):
			p.add(e.Line, path+name, e.Value(text), e.Comment, false)
		case len(e.Children) > 0:
			p.envoyFragment(text, path+name+envoy.Separator, e.Children)
		case name != "name":
			p.fault(e.Line, "%s has no comment line above it: why; since VERSION; restart: ...; risk: ...", name)
		}
	}
}
