package decode

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"google.golang.org/protobuf/reflect/protoreflect"

	"isukit/proto"
)

// Endings of names of types that say the direction.
var directionEndings = [2][]string{Request: {"Request", "Req", "Input", "Params", "Query", "Command", "Args"}, Response: {"Response", "Resp", "Reply", "Result", "Output"}}

// withoutEnding is a type's name without its ending, and the Direction that the ending says, or -1.
func withoutEnding(name string) (stem string, direction int) {
	for direction, endings := range directionEndings {
		for _, ending := range endings {
			if rest, ok := strings.CutSuffix(name, ending); ok && rest != "" {
				return rest, direction
			}
		}
	}
	return name, -1
}

func directionOf(name string) int {
	_, direction := withoutEnding(name)
	return direction
}

func stem(name string) string {
	rest, _ := withoutEnding(name)
	return rest
}

// IsFor reports whether a type of that name may be one of a direction's: ...Response is none of a request's.
func IsFor(name string, direction Direction) bool {
	d := directionOf(name)
	return d < 0 || Direction(d) == direction
}

func lastName(full string) string { return full[strings.LastIndexByte(full, '.')+1:] }

// pathWords are the words of a path's literal segments, in the singular; "api" and versions say nothing.
func pathWords(path string) []string {
	var words []string
	for _, segment := range strings.Split(path, "/") {
		if proto.IsPlaceholder(segment) {
			continue
		}
		for _, w := range splitWords(segment) {
			if saysSomething(w) {
				words = append(words, w)
			}
		}
	}
	return words
}

func saysSomething(w string) bool {
	return w != "api" && !(len(w) <= 3 && strings.HasPrefix(w, "v") && w[1:] != "" && w[1] >= '0' && w[1] <= '9')
}

// splitWords takes a name in any style apart, in lower case and the singular: "ListClarifications" is list, clarification.
func splitWords(name string) []string {
	var words []string
	var word []rune
	flush := func() {
		if len(word) > 0 {
			words = append(words, singular(strings.ToLower(string(word))))
		}
		word = nil
	}
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
			continue
		case unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			flush()
		}
		word = append(word, r)
	}
	flush()
	return words
}

// sibilant are plurals that take "es": dishes, matches, boxes, addresses.
var sibilant = regexp.MustCompile("(sh|ch|x|ss|zz)es$")

func singular(w string) string {
	switch {
	case len(w) > 4 && strings.HasSuffix(w, "ies"):
		return w[:len(w)-3] + "y"
	case sibilant.MatchString(w):
		return w[:len(w)-2]
	case len(w) > 3 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss") && !strings.HasSuffix(w, "us"):
		return w[:len(w)-1]
	}
	return w
}

// verbs are what messages are called that methods carry; collection is for paths that end in a name, element in an identifier.
var verbs = map[string]struct{ collection, element []string }{
	"GET":    {[]string{"list", "get", "query", "search", "find", "fetch", "show", "index"}, []string{"get", "show", "fetch", "find", "describe", "read"}},
	"POST":   {[]string{"create", "add", "post", "enqueue", "register", "send", "request", "new", "insert"}, []string{"create", "add", "post", "update", "do"}},
	"PUT":    {[]string{"update", "set", "put", "replace", "respond"}, []string{"update", "set", "put", "replace", "respond"}},
	"PATCH":  {[]string{"update", "patch", "edit"}, []string{"update", "patch", "edit"}},
	"DELETE": {[]string{"delete", "remove", "clear"}, []string{"delete", "remove", "cancel"}},
}

// nameScore compares a type's name and package with a method and path: about 1 for the same words. all: every word of the path is in it.
func nameScore(method, path string, words []string, md protoreflect.MessageDescriptor) (score float64, all bool) {
	name := splitWords(stem(string(md.Name())))
	var about []string // the name's words without its verb
	verb := 0.0
	v := verbs[method]
	fit := v.collection
	if proto.IsPlaceholder(path[strings.LastIndexByte(path, '/')+1:]) {
		fit = v.element
	}
	for i, w := range name {
		switch {
		case slices.Contains(words, w) || i > 0 || !isVerb(w):
			about = append(about, w)
		case slices.Contains(fit, w):
			verb = 0.2 - 0.02*float64(slices.Index(fit, w))
		case !slices.Contains(v.element, w) && !slices.Contains(v.collection, w):
			verb = -0.2
		}
	}
	scope := scopeWords(md)
	inPath, inName := 0.0, 0.0
	all = len(words) > 0
	for i, w := range words {
		switch {
		case slices.Contains(about, w):
			inPath++
		case slices.Contains(scope, w):
			inPath += 0.9
		case i == 0 && len(words) > 1:
			inPath += 0.3 // an audience or area that types need not repeat
		default:
			all = false
		}
	}
	for _, w := range about {
		if slices.Contains(words, w) {
			inName++
		}
	}
	score = verb
	if len(words) > 0 && len(about) > 0 {
		p, n := inPath/float64(len(words)), inName/float64(len(about))
		if p+n > 0 {
			score += 2 * p * n / (p + n)
		}
	}
	for _, w := range scope {
		if slices.Contains(words, w) {
			score += 0.15
		}
	}
	return score, all
}

func isVerb(w string) bool {
	for _, v := range verbs {
		if slices.Contains(v.collection, w) || slices.Contains(v.element, w) {
			return true
		}
	}
	return false
}

// scopeWords are the words of a type's file and of the last part of its package: "services/admin" is about admin.
func scopeWords(md protoreflect.MessageDescriptor) []string {
	pkg := string(md.ParentFile().Package())
	return splitWords(pkg[strings.LastIndexByte(pkg, '.')+1:])
}
