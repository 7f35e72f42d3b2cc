package tune

import (
	"fmt"
	"strconv"
	"strings"
)

// yamlSeparator is between the names of a key: "static_resources:listeners:portal:filter_chains:1:...". It is none of those that
// a file name has to write in three bytes.
const yamlSeparator = ":"

// yamlNames are what entries are called among their neighbours.
func yamlNames(list []yamlEntry) []string {
	all, count := make([]string, len(list)), map[string]int{}
	for i, e := range list {
		all[i] = e.name
		if count[e.name]++; count[e.name] > 1 {
			all[i] += "#" + strconv.Itoa(count[e.name])
		}
	}
	return all
}

// envoyPlaces finds the keys that a setting's key means: "*" is each item of a list. Its last name need not be there.
func envoyPlaces(entries []yamlEntry, pattern string) []string {
	name, rest, more := strings.Cut(pattern, yamlSeparator)
	if !more {
		return []string{name}
	}
	var places []string
	for i, called := range yamlNames(entries) {
		e := entries[i]
		if called != name && (name != "*" || !e.item) || len(e.children) == 0 || e.children[0].item && !strings.Contains(rest, yamlSeparator) {
			continue
		}
		for _, place := range envoyPlaces(e.children, rest) {
			places = append(places, called+yamlSeparator+place)
		}
	}
	return places
}

// findYAML finds a key, and the entry that it belongs into; found is nil where only that is there.
func findYAML(entries []yamlEntry, key string) (parent, found *yamlEntry) {
	for i, called := range yamlNames(entries) {
		rest, ok := strings.CutPrefix(key, called)
		if !ok {
			continue
		}
		if rest == "" && !entries[i].item {
			return nil, &entries[i]
		}
		rest, ok = strings.CutPrefix(rest, yamlSeparator)
		if !ok {
			continue
		}
		parent, found = findYAML(entries[i].children, rest)
		if parent == nil && (found != nil || len(entries[i].children) > 0 && !strings.Contains(rest, yamlSeparator)) {
			parent = &entries[i]
		}
		if parent != nil {
			return parent, found
		}
	}
	return nil, nil
}

// envoy reads a tuning's fragment: keys with a comment line are settings, others only say where. An item with a key "name" means
// the one of that name, one without means each.
func (p *parser) envoy(text string) {
	entries, err := parseYAML(text)
	if err != nil {
		p.faults = append(p.faults, fmt.Errorf("%s: %w", p.file, err))
		return
	}
	p.envoyFragment(text, "", entries)
}

func (p *parser) envoyFragment(text, path string, entries []yamlEntry) {
	for _, e := range entries {
		name := e.name
		if e.item && name == "1" {
			name = "*"
		}
		switch {
		case strings.Contains(e.comment, "risk:") && strings.Contains(e.value(text), "\n"):
			p.fault(e.line, "the value of %s must stand on its line", name)
		case strings.Contains(e.comment, "risk:") && path == "":
			p.fault(e.line, "%s must be inside of something", name)
		case strings.Contains(e.comment, "risk:"):
			p.add(e.line, path+name, e.value(text), e.comment, false)
		case len(e.children) > 0:
			p.envoyFragment(text, path+name+yamlSeparator, e.children)
		case name != "name":
			p.fault(e.line, "%s has no comment line above it: why; since VERSION; restart: ...; risk: ...", name)
		}
	}
}
