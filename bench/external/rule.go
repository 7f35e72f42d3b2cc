package external

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// Rule finds something in a benchmark's output: by a path in JSON (".result.score", ".runs[-1].score"), or by a regular expression, whose
// first group is the result, or the whole match without a group. The last match counts.
type Rule struct {
	JSON   string
	Regexp string
}

func (r Rule) IsZero() bool { return r == Rule{} }

// Check is an error if the rule is invalid.
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
	docs, _ := documents(output)
	for _, d := range docs {
		if value, ok := follow(d.value, path); ok {
			return value, true
		}
	}
	return nil, false
}

func findRegexp(text string, output []byte) (any, bool) {
	found, _, _, ok := lastMatch(text, output)
	return found, ok
}

// lastMatch is what the first group of an expression holds at its last match, or all of that, with what is around it.
func lastMatch(text string, output []byte) (found, before, behind string, ok bool) {
	expr, err := regexp.Compile(text)
	if err != nil {
		return "", "", "", false
	}
	all := expr.FindAllSubmatchIndex(output, -1)
	if len(all) == 0 {
		return "", "", "", false
	}
	last := all[len(all)-1]
	if len(last) > 2 {
		last = last[2:]
	}
	if last[0] < 0 { // a group that took no part
		return "", "", "", true
	}
	return string(output[last[0]:last[1]]), string(output[max(0, last[0]-1):last[0]]), string(output[last[1]:min(len(output), last[1]+2)]), true
}

const maxDocuments = 1000

type document struct {
	value      any
	begin, end int
}

// documents returns the JSON objects of an output, the last first: all of it, or what begins with a brace on a line, also after the prefix
// of a logger. An object within another is not a document of its own. Cut is where an object begins that the output's end cuts off, -1
// without one: nothing in it is a document either.
func documents(output []byte) (found []document, cut int) {
	cut = -1
	for end := len(output); end > 0 && len(found) < maxDocuments; {
		begin := bytes.LastIndexByte(output[:end], '\n') + 1
		if brace := bytes.IndexByte(output[begin:end], '{'); brace >= 0 {
			at := begin + brace
			decoder := json.NewDecoder(bytes.NewReader(output[at:]))
			decoder.UseNumber()
			var value any
			switch err := decoder.Decode(&value); {
			case err == nil:
				d := document{value, at, at + int(decoder.InputOffset())}
				outer := len(found)
				for outer > 0 && found[outer-1].begin < d.end {
					outer--
				}
				found = append(found[:outer], d)
			case errors.Is(err, io.ErrUnexpectedEOF):
				found, cut = nil, at
			}
		}
		end = begin - 1
	}
	return found, cut
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
