package envoy

import (
	"strconv"
	"strings"
)

// Separator is between the names of a key: "static_resources:listeners:portal:filter_chains:1:...". It is none of those that
// a file name has to write in three bytes.
const Separator = ":"

// Names are what entries are called among their neighbours.
func Names(list []Entry) []string {
	all, count := make([]string, len(list)), map[string]int{}
	for i, e := range list {
		all[i] = e.Name
		if count[e.Name]++; count[e.Name] > 1 {
			all[i] += "#" + strconv.Itoa(count[e.Name])
		}
	}
	return all
}

// Places finds the keys that a setting's key means: "*" is each item of a list. Its last name need not be there.
func Places(entries []Entry, pattern string) []string {
	name, rest, more := strings.Cut(pattern, Separator)
	if !more {
		return []string{name}
	}
	var places []string
	for i, called := range Names(entries) {
		e := entries[i]
		if called != name && (name != "*" || !e.Item) || len(e.Children) == 0 || e.Children[0].Item && !strings.Contains(rest, Separator) {
			continue
		}
		for _, place := range Places(e.Children, rest) {
			places = append(places, called+Separator+place)
		}
	}
	return places
}

// Find finds a key, and the entry that it belongs into; found is nil where only that is there.
func Find(entries []Entry, key string) (parent, found *Entry) {
	for i, called := range Names(entries) {
		rest, ok := strings.CutPrefix(key, called)
		if !ok {
			continue
		}
		if rest == "" && !entries[i].Item {
			return nil, &entries[i]
		}
		rest, ok = strings.CutPrefix(rest, Separator)
		if !ok {
			continue
		}
		parent, found = Find(entries[i].Children, rest)
		if parent == nil && (found != nil || len(entries[i].Children) > 0 && !strings.Contains(rest, Separator)) {
			parent = &entries[i]
		}
		if parent != nil {
			return parent, found
		}
	}
	return nil, nil
}
