package decode

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Learner finds out which message the bodies of each method and path are. One body fits many types, a hundred bodies fit few; names of
// types and paths, pairs of XRequest and XResponse, and services' definitions decide among these.
type Learner struct {
	schema   *Schema
	services Routes
	suffixes bool // types are called ...Request and ...Response

	sides map[sideKey]*side
	// guesses are what was concluded, until more is seen.
	guesses map[sideKey]Guess
	errors  []string        // types that are called an error
	words   map[string]bool // of types' names
	// siblings are the segments below a path without a type of their name, chosen the paths below which users chose the names.
	siblings map[string][]string
	chosen   map[string]bool
}

type sideKey struct {
	method, path string
	direction    Direction
}

type side struct {
	bodies, empty int
	named         string // by a content type
	shapes        map[uint64]int
	// tried counts the bodies of which each candidate has every field, strange those that no candidate has.
	tried, strange int
	candidates     []candidate
	settled        int // how many bodies were tried since a candidate was last ruled out
}

type candidate struct {
	md     protoreflect.MessageDescriptor
	fields int // the most that a body had
	// known are the fields of all bodies together, and odd those of them whose values are rarely meant.
	known, odd int
}

// Bounds of a Learner: routes, shapes of bodies a side, bodies of one shape, bodies of one side, and bodies that rule out nothing.
const (
	maxSides   = 5_000
	maxShapes  = 200
	triedShape = 3
	maxTried   = 100
	maxSettled = 20
)

// Guess is what is thought of one direction of a route.
type Guess struct {
	// Type is the message's full name; empty where nothing fits.
	Type string `json:"type"`
	// Sure is false where others are nearly as likely.
	Sure bool `json:"sure"`
	// Evidence says why, in a few words.
	Evidence string `json:"evidence"`
	// Others are further types that fit, the likeliest first, at most five.
	Others []string `json:"others,omitempty"`
	// Bodies is how many were seen.
	Bodies int `json:"bodies"`
	score  float64
	named  bool // its name has every word of the path
}

// IsZero reports that no body was seen.
func (g Guess) IsZero() bool { return g.Bodies == 0 }

// LearnedRoute is one line of a routes file that was learned.
type LearnedRoute struct {
	Method   string `json:"method"`
	Path     string `json:"path"`
	Request  Guess  `json:"request,omitzero"`
	Response Guess  `json:"response,omitzero"`
}

// NewLearner starts without having seen a body.
func NewLearner(schema *Schema) *Learner {
	l := &Learner{schema: schema, services: serviceRoutes(schema), sides: map[sideKey]*side{}, guesses: map[sideKey]Guess{},
		words: map[string]bool{}, siblings: map[string][]string{}, chosen: map[string]bool{}}
	directed := 0
	for _, md := range schema.Types() {
		for _, w := range slices.Concat(splitWords(string(md.Name())), scopeWords(md)) {
			l.words[w] = true
		}
		if directionOf(string(md.Name())) >= 0 {
			directed++
		}
		if strings.HasPrefix(string(md.Name()), "Error") {
			l.errors = append(l.errors, string(md.FullName()))
		}
	}
	l.suffixes = 4*directed >= len(schema.Types())
	return l
}

// Add learns from one body. Answers of status 400 and above carry errors, and are left out.
func (l *Learner) Add(method, path string, direction Direction, status int, contentType string, body []byte) {
	if status >= 400 || !IsProtobuf(contentType) && (contentType != "" || len(body) == 0) {
		return
	}
	shape := Shape(body)
	key := sideKey{strings.ToUpper(method), l.template(path), direction}
	s := l.sides[key]
	if s == nil {
		if len(l.sides) >= maxSides {
			return
		}
		s = &side{shapes: map[uint64]int{}}
		l.sides[key] = s
		clear(l.guesses)
	}
	s.bodies++
	if name := TypeOfContentType(contentType); name != "" {
		s.named = name
	}
	if len(body) == 0 {
		s.empty++
		return
	}
	if s.shapes[shape] >= triedShape || len(s.shapes) >= maxShapes || s.tried >= maxTried || s.settled >= maxSettled {
		return
	}
	s.shapes[shape]++
	if s.try(l.schema, body) {
		clear(l.guesses)
		l.gather(key)
	}
}

// try rules out the candidates that do not have every field of a body. A body that none has is damaged or foreign, and rules out nothing;
// if there are more of these than of others, the first body was one, and learning begins again. changed: more is known than before.
func (s *side) try(schema *Schema, body []byte) (changed bool) {
	if s.strange > s.tried {
		s.tried, s.strange, s.candidates = 0, 0, nil
	}
	before := s.candidates
	if s.tried == 0 {
		for _, md := range schema.Types() {
			before = append(before, candidate{md: md})
		}
	}
	var left []candidate
	for _, c := range before {
		fit := schema.Decode(c.md, body, DefaultLimits()).Fit
		if !fit.Whole() {
			continue
		}
		changed = changed || fit.Known > c.fields
		c.fields, c.known, c.odd = max(c.fields, fit.Known), c.known+fit.Known, c.odd+fit.Odd
		left = append(left, c)
	}
	if len(left) == 0 {
		s.strange++
		s.settled++
		return false
	}
	if s.tried++; len(left) < len(before) {
		s.settled, changed = 0, true
	}
	s.settled++
	s.candidates = left
	return changed
}

// Shape is a hash of the field numbers and wire types at the top of a body, in their order.
func Shape(body []byte) uint64 {
	h := fnv.New64a()
	last := -1
	for len(body) > 0 {
		number, wire, n := protowire.ConsumeTag(body)
		if n < 0 {
			break
		}
		size := protowire.ConsumeFieldValue(number, wire, body[n:])
		if size < 0 {
			break
		}
		if tag := int(number)<<3 | int(wire); tag != last {
			last = tag
			_, _ = h.Write(protowire.AppendVarint(nil, uint64(tag))) // it never fails
		}
		body = body[n+size:]
	}
	return h.Sum64()
}

// Guess returns what is thought of a body. Answers of status 400 and above are errors: the only type of that name is guessed.
func (l *Learner) Guess(method, path string, direction Direction, status int) Guess {
	if status >= 400 {
		if len(l.errors) != 1 {
			return Guess{}
		}
		return Guess{Type: l.errors[0], Evidence: "it is an answer of status 400 or above"}
	}
	key := sideKey{strings.ToUpper(method), l.template(path), direction}
	if g, ok := l.guesses[key]; ok {
		return g
	}
	request, response := l.conclude(key.method, key.path)
	l.guesses[sideKey{key.method, key.path, Request}], l.guesses[sideKey{key.method, key.path, Response}] = request, response
	return l.guesses[key]
}

// Routes returns what was learned, by path and method.
func (l *Learner) Routes() []LearnedRoute {
	var list []LearnedRoute
	for key := range l.sides {
		if key.direction == Response && l.sides[sideKey{key.method, key.path, Request}] != nil {
			continue // it is in the list with that
		}
		r := LearnedRoute{Method: key.method, Path: key.path}
		r.Request, r.Response = l.conclude(key.method, key.path)
		if s := l.sides[sideKey{key.method, key.path, Request}]; s != nil {
			r.Request.Bodies = s.bodies
		}
		if s := l.sides[sideKey{key.method, key.path, Response}]; s != nil {
			r.Response.Bodies = s.bodies
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b LearnedRoute) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	return list
}

// conclude decides both directions of a route together.
func (l *Learner) conclude(method, path string) (request, response Guess) {
	if route, ok := l.services.Match(method, path); ok {
		request, response = l.declared(method, path, Request, route.Request), l.declared(method, path, Response, route.Response)
		if request.Type+response.Type != "" {
			return request, response
		}
	}
	requests, responses := l.ranked(method, path, Request), l.ranked(method, path, Response)
	if s := l.sides[sideKey{method, path, Response}]; s != nil && s.bodies == s.empty && len(requests) > 0 {
		responses = append(responses, l.partner(requests[0])...)
	}
	var pair float64
	for _, a := range requests[:min(len(requests), 20)] {
		for _, b := range responses[:min(len(responses), 20)] {
			if score := a.score + b.score + together(a.Type, b.Type); pair == 0 || score > pair {
				pair, request, response = score, a, b
			}
		}
	}
	if len(requests) > 0 && len(responses) == 0 {
		request = requests[0]
	}
	if len(responses) > 0 && len(requests) == 0 {
		response = responses[0]
	}
	matched := together(request.Type, response.Type)
	request, response = settle(request, requests, matched), settle(response, responses, matched)
	if s := l.sides[sideKey{method, path, Request}]; matched == 0 && response.Type != "" && s != nil && s.bodies == s.empty && s.named == "" {
		request.Sure = false // nothing but its name speaks for it, and the response is not called like it
	}
	return request, response
}

// partner is the response that is called like a request, for answers that are all empty.
func (l *Learner) partner(request Guess) []Guess {
	for _, ending := range directionEndings[Response] {
		if md := l.schema.types[protoreflect.FullName(stem(request.Type)+ending)]; md != nil && stem(request.Type) != request.Type {
			return []Guess{{Type: string(md.FullName()), score: 0.4, Evidence: "all bodies were empty"}}
		}
	}
	return nil
}

// declared is what a service's definition says, where bodies of that direction were seen.
func (l *Learner) declared(method, path string, direction Direction, typ string) Guess {
	if l.sides[sideKey{method, path, direction}] == nil || typ == "" {
		return Guess{}
	}
	return Guess{Type: typ, Sure: true, Evidence: "a service's definition"}
}

// stemBonus is what a pair of XRequest and XResponse gains.
const stemBonus = 0.5

func together(request, response string) float64 {
	if request == "" || response == "" {
		return 0
	}
	a, b := stem(lastName(request)), stem(lastName(response))
	if a == b && a != lastName(request) && b != lastName(response) {
		return stemBonus
	}
	return 0
}

// sureMargin is by how much the first has to be ahead of the second to be sure.
const sureMargin = 0.25

// settle sets the confidence of a choice, and its alternatives.
func settle(g Guess, all []Guess, matched float64) Guess {
	if g.Type == "" {
		return g
	}
	margin := 1.0
	for _, other := range all {
		if other.Type == g.Type {
			continue
		}
		margin = min(margin, g.score+matched-other.score)
		if len(g.Others) < 5 {
			g.Others = append(g.Others, other.Type)
		}
	}
	g.Sure = g.Sure || margin >= sureMargin && g.named
	if matched > 0 {
		g.Evidence += ", request and response are a pair"
	}
	return g
}

// ranked lists the types that may be those of one direction, the likeliest first.
func (l *Learner) ranked(method, path string, direction Direction) []Guess {
	s := l.sides[sideKey{method, path, direction}]
	if s == nil {
		return nil
	}
	if s.named != "" {
		return []Guess{{Type: s.named, Sure: true, score: 10, Evidence: "a content type names it"}}
	}
	words := pathWords(path)
	var list []Guess
	candidates := s.candidates
	if s.bodies == s.empty { // they fit every type
		for _, md := range l.schema.Types() {
			candidates = append(candidates, candidate{md: md})
		}
	}
	for _, c := range candidates {
		if g, ok := l.rate(s, c, method, path, words, direction); ok {
			list = append(list, g)
		}
	}
	slices.SortStableFunc(list, func(a, b Guess) int { return cmp.Compare(b.score, a.score) })
	if len(list) == 1 && s.bodies > s.empty {
		list[0].Sure, list[0].Evidence = true, fmt.Sprintf("the only type that fits %s", plural(s.bodies, "body", "bodies"))
	}
	return list
}

// rate scores a type: names first, then how much of it is used, and how often its values are odd.
func (l *Learner) rate(s *side, c candidate, method, path string, words []string, direction Direction) (Guess, bool) {
	is := directionOf(string(c.md.Name()))
	if is >= 0 && Direction(is) != direction || 2*c.odd > c.known {
		return Guess{}, false
	}
	g := Guess{Type: string(c.md.FullName())}
	g.score, g.named = nameScore(method, path, words, c.md)
	if l.suffixes && is < 0 {
		g.score -= 0.5
	}
	switch {
	case s.bodies == s.empty:
		g.Evidence = "its name; all bodies were empty"
		return g, g.score >= 0.5 // only the name can say it
	case g.score >= 0.5:
		g.Evidence = fmt.Sprintf("fits %s, its name is like the path", plural(s.bodies, "body", "bodies"))
	default:
		g.Evidence = fmt.Sprintf("fits %s", plural(s.bodies, "body", "bodies"))
	}
	g.score += 0.3*min(1, float64(c.fields)/float64(max(1, c.md.Fields().Len()))) - float64(c.odd)/float64(max(1, c.known))
	return g, true
}
