package tune

import (
	"fmt"
	"strings"

	"isukit/infra/nginxconf"
)

// keyed are directives that may stand several times in a block, told apart by their first argument.
var keyed = map[string]bool{
	"proxy_set_header": true, "add_header": true, "log_format": true, "proxy_cache_path": true, "proxy_cache_valid": true,
	"error_page": true, "upstream": true, "proxy_hide_header": true, "proxy_ignore_headers": true,
}

// ident names a directive among its neighbours. Of a location or map all arguments count: "location = /x" is not "location /x".
func ident(d nginxconf.Directive) string {
	switch {
	case d.Name == "location", d.Name == "map":
		return d.Name + " " + strings.Join(d.Args, " ")
	case keyed[d.Name] && len(d.Args) > 0:
		return d.Name + " " + d.Args[0]
	}
	return d.Name
}

// nginx reads a tuning's fragment: directives and blocks with a comment line are settings, other blocks only say where.
func (p *parser) nginx(text string) {
	list, err := nginxconf.Parse(text)
	if err != nil {
		p.faults = append(p.faults, fmt.Errorf("%s: %w", p.file, err))
		return
	}
	p.fragment(text, "", list)
}

func (p *parser) fragment(text, path string, list []nginxconf.Directive) {
	seen := map[string]bool{}
	for _, d := range list {
		key := path + ident(d)
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
func expressionOf(d nginxconf.Directive, value string) string {
	if len(d.Args) == 1 && cpusRE.MatchString(d.Args[0]) {
		return d.Args[0]
	}
	return value
}

// NginxValue is the first argument of a directive outside all blocks of a configuration; "" where it is not there.
func NginxValue(text, name string) (string, error) {
	list, err := nginxconf.Parse(text)
	for _, d := range list {
		if d.Name == name && len(d.Args) > 0 {
			return d.Args[0], nil
		}
	}
	return "", err
}
