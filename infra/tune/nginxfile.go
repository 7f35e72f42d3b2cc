package tune

import (
	"fmt"
	"strings"

	"isukit/infra/engine/nginx"
)

// nginxFile reads a tuning's fragment: directives and blocks with a comment line are settings, other blocks only say where.
func (p *parser) nginxFile(text string) {
	list, err := nginx.Parse(text)
	if err != nil {
		p.faults = append(p.faults, fmt.Errorf("%s: %w", p.file, err))
		return
	}
	p.fragment(text, "", list)
}

func (p *parser) fragment(text, path string, list []nginx.Directive) {
	seen := map[string]bool{}
	for _, d := range list {
		key := path + d.Ident()
		if d.Block && !strings.Contains(d.Comment, "risk:") {
			p.fragment(text, key+" > ", d.Children)
			continue
		}
		if seen[key] {
			p.fault(d.Line, "%s is set twice", key)
		}
		seen[key] = true
		value := text[d.Start:d.End]
		if !d.Block {
			value = strings.TrimRight(strings.TrimSpace(strings.TrimPrefix(value[:len(value)-1], d.Name)), " ")
			value = expressionOf(d, value)
		}
		p.add(d.Line, key, value, d.Comment, false)
	}
}

// expressionOf: nginx needs quotes around "2 x cpus", the expression has none.
func expressionOf(d nginx.Directive, value string) string {
	if len(d.Args) == 1 && cpusRE.MatchString(d.Args[0]) {
		return d.Args[0]
	}
	return value
}
