package decode

import (
	"slices"
	"strings"

	"isukit/input/paths"
)

// chosenFrom is from how many siblings on segments are taken for names that users chose, and maxSiblings how many are looked at.
const (
	chosenFrom  = 3
	maxSiblings = 200
)

// template is a path without its query and with placeholders for the segments that name one thing of many: by their looks, as digests of
// access logs have it, or because their siblings carry the same types.
func (l *Learner) template(path string) string {
	path = paths.Template(path)
	if len(l.chosen) == 0 {
		return path
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if !l.literal(s) && l.chosen[strings.Join(segments[:i], "/")] {
			segments[i] = "{slug}"
		}
	}
	return strings.Join(segments, "/")
}

// literal reports whether a type is named after a segment, or the segment is not a name.
func (l *Learner) literal(segment string) bool {
	if segment == "" || strings.Contains(segment, "{") {
		return true
	}
	return slices.ContainsFunc(splitWords(segment), func(w string) bool { return l.words[w] || !saysSomething(w) })
}

// gather looks whether a new side's path has segments that are names which users chose: several siblings that no type is named after, with
// bodies that a common type fits wherever the rest of the path is the same. Their sides become one.
func (l *Learner) gather(key sideKey) {
	segments := strings.Split(key.path, "/")
	for i, s := range segments {
		parent := strings.Join(segments[:i], "/")
		names := l.siblings[parent]
		if i == 0 || l.literal(s) || slices.Contains(names, s) || len(names) >= maxSiblings {
			continue
		}
		names = append(names, s)
		l.siblings[parent] = names
		if len(names) >= chosenFrom && l.merge(parent, names) {
			l.chosen[parent] = true
			clear(l.guesses)
			return
		}
	}
}

// merge makes one of the sides below a path that differ in the next segment alone, if they fit together.
func (l *Learner) merge(parent string, names []string) bool {
	groups, largest := map[sideKey][]sideKey{}, 0
	for key, s := range l.sides {
		rest, below := strings.CutPrefix(key.path, parent+"/")
		name, rest, deeper := strings.Cut(rest, "/")
		if !below || !slices.Contains(names, name) || s.tried == 0 && s.empty == 0 {
			continue
		}
		to := sideKey{key.method, parent + "/{slug}", key.direction}
		if deeper {
			to.path += "/" + rest
		}
		groups[to] = append(groups[to], key)
		if s.tried > 0 {
			largest = max(largest, len(groups[to]))
		}
	}
	merged := map[sideKey]*side{}
	for to, keys := range groups {
		if merged[to] = l.joined(keys); merged[to] == nil {
			return false
		}
	}
	if largest < chosenFrom {
		return false
	}
	for to, keys := range groups {
		for _, key := range keys {
			delete(l.sides, key)
		}
		l.sides[to] = merged[to]
	}
	return true
}

// joined is what several sides are together; nil when no type fits all.
func (l *Learner) joined(keys []sideKey) *side {
	all := &side{shapes: map[uint64]int{}}
	for _, key := range keys {
		s := l.sides[key]
		candidates := slices.Clone(s.candidates)
		if all.tried > 0 && s.tried > 0 {
			candidates = nil
			for _, a := range all.candidates {
				if i := slices.IndexFunc(s.candidates, func(b candidate) bool { return a.md == b.md }); i >= 0 {
					b := s.candidates[i]
					candidates = append(candidates, candidate{a.md, max(a.fields, b.fields), a.known + b.known, a.odd + b.odd})
				}
			}
			if len(candidates) == 0 {
				return nil
			}
		}
		if s.tried > 0 {
			all.candidates = candidates
		}
		all.bodies, all.empty, all.tried, all.strange = all.bodies+s.bodies, all.empty+s.empty, all.tried+s.tried, all.strange+s.strange
		if s.named != "" {
			all.named = s.named
		}
	}
	return all
}
