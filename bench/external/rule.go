package external

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Rule finds something in a benchmark's output: by a path in JSON (".result.score", ".runs[-1].score"), or by a regular
// expression, whose first group is what is looked for, or all of it where there is no group. The last place counts.
type Rule struct {
	JSON   string
	Regexp string
}

// IsZero tells whether there is no rule.
func (r Rule) IsZero() bool { return r == Rule{} }

// Check says what is wrong with the rule.
func (r Rule) Check() error {
	if r.JSON != "" && r.Regexp != "" {
		return errors.New("a rule is either json or regexp")
	}
	if _, err := regexp.Compile(r.Regexp); err != nil {
		return err
	}
	_, err := parsePath(r.JSON)
	return err
}

// find returns what the rule finds: a string, json.Number, bool, nil, list or object; ok is false when there is nothing.
func (r Rule) find(output []byte) (value any, ok bool) {
	if r.Regexp != "" {
		return findRegexp(r.Regexp, output)
	}
	path, err := parsePath(r.JSON)
	if err != nil {
		return nil, false
	}
	for _, document := range documents(output) {
		if value, ok := follow(document, path); ok {
			return value, true
		}
	}
	return nil, false
}

func findRegexp(text string, output []byte) (any, bool) {
	expr, err := regexp.Compile(text)
	if err != nil {
		return nil, false
	}
	all := expr.FindAllSubmatch(output, -1)
	if len(all) == 0 {
		return nil, false
	}
	last := all[len(all)-1]
	return string(last[min(1, len(last)-1)]), true
}

// maxDocuments bounds the JSON objects of an output that are looked at.
const maxDocuments = 1000

// documents returns the JSON objects of an output, the last first: all of it, or what begins with a brace on a line, also after
// what a logger put before it. An object within another is no document of its own.
func documents(output []byte) []any {
	var found []any
	var begins []int // where those of found begin, from the end of the output on
	for end := len(output); end > 0 && len(found) < maxDocuments; {
		begin := bytes.LastIndexByte(output[:end], '\n') + 1
		if brace := bytes.IndexByte(output[begin:end], '{'); brace >= 0 {
			at := begin + brace
			decoder := json.NewDecoder(bytes.NewReader(output[at:]))
			decoder.UseNumber()
			var value any
			if decoder.Decode(&value) == nil {
				outer := len(found)
				for outer > 0 && begins[outer-1] < at+int(decoder.InputOffset()) {
					outer--
				}
				found, begins = append(found[:outer], value), append(begins[:outer], at)
			}
		}
		end = begin - 1
	}
	return found
}

// step is one step of a path: a name, or an index, from the end when it is below zero.
type step struct {
	name  string
	index int
	isIdx bool
}

var stepExpr = regexp.MustCompile(`^(?:\.?([A-Za-z_][A-Za-z0-9_-]*)|\.?\["([^"]*)"\]|\[(-?\d+)\])`)

func parsePath(path string) ([]step, error) {
	var steps []step
	for rest := strings.TrimPrefix(path, "$"); rest != "" && rest != "."; {
		m := stepExpr.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("JSON path %q: cannot read %q; write it as .result.score or .runs[-1].score", path, rest)
		}
		s := step{name: m[1] + m[2]}
		if m[3] != "" {
			s.isIdx = true
			s.index, _ = strconv.Atoi(m[3])
		}
		steps = append(steps, s)
		rest = rest[len(m[0]):]
	}
	return steps, nil
}

func follow(value any, path []step) (any, bool) {
	for _, s := range path {
		switch v := value.(type) {
		case map[string]any:
			next, ok := v[s.name]
			if !ok || s.isIdx {
				return nil, false
			}
			value = next
		case []any:
			i := s.index
			if i < 0 {
				i += len(v)
			}
			if !s.isIdx || i < 0 || i >= len(v) {
				return nil, false
			}
			value = v[i]
		default:
			return nil, false
		}
	}
	return value, true
}

// findAll returns what a regular expression finds, at most maxMessages times.
func findAll(text string, output []byte) []string {
	expr, err := regexp.Compile(text)
	if err != nil {
		return nil
	}
	var texts []string
	for _, m := range expr.FindAllSubmatch(output, maxMessages) {
		texts = append(texts, short(string(m[min(1, len(m)-1)])))
	}
	return texts
}
