package external

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Rules describe a benchmark's output. Without Score it is FindScore's, without Pass the optional paths .pass and .passed are tried.
type Rules struct {
	Score Rule
	// Pass must be found and be true (true, a number above 0, or a text other than "false", "no", "0", "ng", "fail", "failed").
	Pass Rule
	// Fail must not be found.
	Fail Rule
	// Messages is a list of texts, or the matches of a regular expression, with the failures; without it .messages is tried.
	Messages Rule
}

// Verdict is what a benchmark's output says.
type Verdict struct {
	Score float64
	// Found says that a score was found.
	Found bool
	// Unread is why the score in the output cannot be read; nil if it can, or if there is none.
	Unread error
	Passed bool
	// Reason says in one sentence why it did not pass.
	Reason string
	// Messages are what the benchmark has to say, at most maxMessages.
	Messages []string
}

const maxMessages = 50

// NoScore is the reason of a benchmark that did not pass for nothing but that.
const NoScore = "the benchmark told no score that could be found"

// Judge reads an output by the rules. A benchmark passes with exit status 0 and a score, unless Pass or Fail speaks against it.
func (r Rules) Judge(output []byte, exit int) Verdict {
	var v Verdict
	v.Score, v.Found, v.Unread = r.score(output)
	v.Messages = r.messages(output)
	switch reason := r.failure(output); {
	case reason != "":
		v.Reason = reason
	case exit != 0:
		v.Reason = fmt.Sprintf("the benchmark exited with status %d", exit)
	case v.Unread != nil:
		v.Reason = fmt.Sprintf("the benchmark told no score that could be read: %v", v.Unread)
	case !v.Found:
		v.Reason = NoScore
	default:
		v.Passed = true
	}
	return v
}

func (r Rules) failure(output []byte) string {
	if !r.Fail.IsZero() {
		if value, ok := r.Fail.find(output); ok && truth(value) {
			return fmt.Sprintf("record the benchmark as failed: %s", short(value))
		}
	}
	value, ok := r.Pass.find(output)
	if r.Pass.IsZero() {
		if value, ok = (Rule{JSON: ".pass"}).find(output); !ok {
			value, ok = Rule{JSON: ".passed"}.find(output)
		}
	}
	switch {
	case ok && !truth(value):
		return fmt.Sprintf("the benchmark says pass: %s", short(value))
	case !ok && !r.Pass.IsZero():
		return "the benchmark did not report that it passed"
	}
	return ""
}

// score finds the score; it is an error if the one in the output cannot be read completely.
func (r Rules) score(output []byte) (float64, bool, error) {
	if r.Score.IsZero() {
		return FindScore(output)
	}
	if r.Score.Regexp != "" {
		found, before, behind, ok := lastMatch(r.Score.Regexp, []byte(plain(string(output))))
		if !ok {
			return 0, false, nil
		}
		v, err := Number(found)
		if err == nil && (partOfNumber.MatchString(before) || restOfNumber.MatchString(behind)) {
			err = fmt.Errorf("the expression of score takes %q out of %q", found, before+found+behind)
		}
		return v, err == nil, err
	}
	value, ok := r.Score.find(output)
	if !ok || value == nil {
		return 0, false, nil
	}
	v, err := Number(fmt.Sprint(value))
	return v, err == nil, err
}

// partOfNumber is what a number goes on with to the left of what was found, restOfNumber to the right.
var (
	partOfNumber = regexp.MustCompile(`[\d.,+-]$`)
	restOfNumber = regexp.MustCompile(`^(?:\d|[.,]\d|[eE][+-]?\d|[eE]$)`)
)

func (r Rules) messages(output []byte) []string {
	rule := r.Messages
	if rule.IsZero() {
		rule = Rule{JSON: ".messages"}
	}
	if rule.Regexp != "" {
		return findAll(rule.Regexp, output)
	}
	value, _ := rule.find(output)
	list, _ := value.([]any)
	var texts []string
	for _, one := range list[:min(len(list), maxMessages)] {
		texts = append(texts, short(one))
	}
	return texts
}

func truth(value any) bool {
	switch v := value.(type) {
	case bool:
		return v
	case nil:
		return false
	case json.Number:
		f, err := v.Float64()
		return err == nil && f > 0
	}
	switch strings.ToLower(strings.TrimSpace(fmt.Sprint(value))) {
	case "false", "no", "0", "ng", "fail", "failed", "":
		return false
	}
	return true
}

func short(value any) string {
	text, ok := value.(string)
	if !ok {
		raw, err := json.Marshal(value)
		if err != nil {
			return "?"
		}
		text = string(raw)
	}
	const most = 300
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
