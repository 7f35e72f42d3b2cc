package decode

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Learner finds out which message the bodies of each method and path are. One body fits many types, a hundred bodies fit few; names of
// types and paths, pairs of XRequest and XResponse, and services' definitions decide among these. It is safe for concurrent use.
type Learner struct {
	schema   *Schema
	services Routes
	suffixes bool // types are called ...Request and ...Response

	mu    sync.Mutex
	seed  maphash.Seed
	sides map[sideKey]*side
	// guesses are what was concluded, until more is seen.
	guesses map[sideKey]Guess
}

// sideKey is one direction of a method and path template.
type sideKey struct {
	method, path string
	direction    Direction
}

// side is what was seen of one direction of a route.
type side struct {
	bodies, empty int
	named         string // by a content type
	shapes        map[uint64]int
	fits          map[protoreflect.FullName]*tally
}

// tally is how well a type fits the bodies that were tried.
type tally struct{ tried, exact, known, fields int }

// Bounds of what a Learner keeps: routes, shapes of bodies a side, and bodies of one shape that are tried.
const (
	maxSides   = 20_000
	maxShapes  = 200
	triedShape = 3
)

// Guess is what is thought of one direction of a route.
type Guess struct {
	// Type is the message's full name; empty where nothing fits.
	Type string
	// Sure is false where others are nearly as likely.
	Sure bool
	// Evidence says why, in a few words.
	Evidence string
	// Others are further types that fit, the likeliest first, at most five.
	Others []string
	score  float64
	named  bool // its name has every word of the path
}

// LearnedRoute is one line of a routes file that was learned.
type LearnedRoute struct {
	Method, Path      string
	Request, Response Guess
	// Bodies is how many of each direction were seen.
	RequestBodies, ResponseBodies int
}

// NewLearner starts without having seen a body.
func NewLearner(schema *Schema) *Learner {
	l := &Learner{schema: schema, services: serviceRoutes(schema), seed: maphash.MakeSeed(), sides: map[sideKey]*side{}, guesses: map[sideKey]Guess{}}
	n := 0
	for _, md := range schema.Types() {
		if directionOf(string(md.Name())) >= 0 {
			n++
		}
	}
	l.suffixes = 4*n >= len(schema.Types())
	return l
}

// Add learns from one body. Answers of status 400 and above carry errors, and are left out.
func (l *Learner) Add(method, path string, direction Direction, status int, contentType string, body []byte) {
	if status >= 400 || !IsProtobuf(contentType) && (contentType != "" || len(body) == 0) {
		return
	}
	key := sideKey{strings.ToUpper(method), PathTemplate(path), direction}
	shape := l.shape(body)
	l.mu.Lock()
	s := l.sides[key]
	if s == nil {
		if len(l.sides) >= maxSides {
			l.mu.Unlock()
			return
		}
		s = &side{shapes: map[uint64]int{}, fits: map[protoreflect.FullName]*tally{}}
		l.sides[key] = s
	}
	s.bodies++
	if name := TypeOfContentType(contentType); name != "" {
		s.named = name
	}
	known := len(body) == 0 || s.shapes[shape] >= triedShape || len(s.shapes) >= maxShapes
	if len(body) == 0 {
		s.empty++
	} else if !known {
		s.shapes[shape]++
	}
	if !known || s.bodies == 1 {
		clear(l.guesses)
	}
	l.mu.Unlock()
	if known {
		return
	}
	fits := l.fits(body)
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.guesses)
	for _, f := range fits {
		t := s.fits[f.Type]
		if t == nil {
			t = &tally{}
			s.fits[f.Type] = t
		}
		t.add(f)
	}
}

func (t *tally) add(f Fit) {
	t.tried++
	if f.Exact() {
		t.exact++
	}
	t.known += f.Known
	t.fields = max(t.fields, f.Known)
}

// fits tries a body as each type.
func (l *Learner) fits(body []byte) []Fit {
	var list []Fit
	for _, md := range l.schema.Types() {
		list = append(list, l.schema.Decode(md, body, DefaultLimits()).Fit)
	}
	return list
}

// shape is a hash of the field numbers and wire types at the top of a body, in their order.
func (l *Learner) shape(body []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
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
			h.Write(protowire.AppendVarint(nil, uint64(tag)))
		}
		body = body[n+size:]
	}
	return h.Sum64()
}

// Guess returns what is thought of a body. Answers of status 400 and above are errors: a type of that name is guessed.
func (l *Learner) Guess(method, path string, direction Direction, status int) Guess {
	key := sideKey{strings.ToUpper(method), PathTemplate(path), direction}
	if status >= 400 {
		return l.errorType()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if g, ok := l.guesses[key]; ok {
		return g
	}
	request, response := l.conclude(key.method, key.path)
	l.guesses[sideKey{key.method, key.path, Request}], l.guesses[sideKey{key.method, key.path, Response}] = request, response
	return l.guesses[key]
}

// errorType is the only type whose name says that it is an error, if there is one.
func (l *Learner) errorType() Guess {
	var found Guess
	for _, md := range l.schema.Types() {
		if strings.HasPrefix(string(md.Name()), "Error") {
			if found.Type != "" {
				return Guess{}
			}
			found = Guess{Type: string(md.FullName()), Evidence: "it is an answer of status 400 or above"}
		}
	}
	return found
}

// Routes returns what was learned, by path and method.
func (l *Learner) Routes() []LearnedRoute {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []LearnedRoute
	seen := map[[2]string]bool{}
	for key := range l.sides {
		at := [2]string{key.method, key.path}
		if seen[at] {
			continue
		}
		seen[at] = true
		r := LearnedRoute{Method: key.method, Path: key.path}
		r.Request, r.Response = l.conclude(key.method, key.path)
		if s := l.sides[sideKey{key.method, key.path, Request}]; s != nil {
			r.RequestBodies = s.bodies
		}
		if s := l.sides[sideKey{key.method, key.path, Response}]; s != nil {
			r.ResponseBodies = s.bodies
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
	return settle(request, requests, matched), settle(response, responses, matched)
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

// settle says how sure a choice is, and what else there was.
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
	for _, md := range l.schema.Types() {
		if g, ok := l.rate(s, md, method, path, words, direction); ok {
			list = append(list, g)
		}
	}
	slices.SortStableFunc(list, func(a, b Guess) int { return cmp.Compare(b.score, a.score) })
	if len(list) == 1 && s.bodies > s.empty {
		list[0].Sure, list[0].Evidence = true, fmt.Sprintf("the only type that fits %s", plural(s.bodies, "body", "bodies"))
	}
	return list
}

// rate scores a type: that it fits comes first, then names, then how much of it is used.
func (l *Learner) rate(s *side, md protoreflect.MessageDescriptor, method, path string, words []string, direction Direction) (Guess, bool) {
	name := string(md.Name())
	is := directionOf(name)
	if is >= 0 && Direction(is) != direction {
		return Guess{}, false
	}
	names, all := nameScore(method, path, words, md)
	if l.suffixes && is < 0 {
		names -= 0.5
	}
	t := s.fits[md.FullName()]
	if t == nil {
		// Only empty bodies were seen: they fit every type, so that the name has to say it.
		if s.bodies > s.empty || names < 0.5 {
			return Guess{}, false
		}
		return Guess{Type: string(md.FullName()), score: names, named: all, Evidence: "its name; all bodies were empty"}, true
	}
	if t.exact < t.tried {
		return Guess{}, false
	}
	used := min(1, float64(t.fields)/float64(max(1, md.Fields().Len())))
	evidence := fmt.Sprintf("fits %s", plural(s.bodies, "body", "bodies"))
	if names >= 0.5 {
		evidence += ", its name is like the path"
	}
	return Guess{Type: string(md.FullName()), score: names + 0.3*used, named: all, Evidence: evidence}, true
}
