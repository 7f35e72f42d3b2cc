package external

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Rules say how a benchmark's output is to be understood. Without Score the path .score is tried, without Pass the path
// .pass, which need not be there.
type Rules struct {
	Score Rule
	// Pass must be found and be true (true, a number above 0, or a text other than "false", "no", "0", "ng", "fail", "failed").
	Pass Rule
	// Fail must not be found.
	Fail Rule
	// Messages is a list of texts, or what a regular expression finds, that tell what was wrong; without it .messages is tried.
	Messages Rule
}

// Verdict is what a benchmark's output says.
type Verdict struct {
	Score int64
	// Found says that a score was found.
	Found  bool
	Passed bool
	// Reason says in one sentence why it did not pass.
	Reason string
	// Messages are what the benchmark has to say, at most maxMessages.
	Messages []string
}

const maxMessages = 50

// Judge reads an output by the rules; exit is the command's exit status. A benchmark passes when it exits with 0, a score is
// found, and neither of the rules Pass and Fail speaks against it.
func (r Rules) Judge(output []byte, exit int) Verdict {
	var v Verdict
	v.Score, v.Found = r.score(output)
	v.Messages = r.messages(output)
	switch reason := r.failure(output); {
	case reason != "":
		v.Reason = reason
	case exit != 0:
		v.Reason = fmt.Sprintf("the benchmark exited with status %d", exit)
	case !v.Found:
		v.Reason = "the benchmark told no score that could be found"
	default:
		v.Passed = true
	}
	return v
}

func (r Rules) failure(output []byte) string {
	if !r.Fail.IsZero() {
		if value, ok := r.Fail.find(output); ok && truth(value) {
			return fmt.Sprintf("the benchmark says that it failed: %s", short(value))
		}
	}
	pass := r.Pass
	if pass.IsZero() {
		pass = Rule{JSON: ".pass"}
	}
	value, ok := pass.find(output)
	switch {
	case ok && !truth(value):
		return fmt.Sprintf("the benchmark says pass: %s", short(value))
	case !ok && !r.Pass.IsZero():
		return "the benchmark does not say that it passed"
	}
	return ""
}

func (r Rules) score(output []byte) (int64, bool) {
	rule := r.Score
	if rule.IsZero() {
		rule = Rule{JSON: ".score"}
	}
	value, ok := rule.find(output)
	if !ok {
		return 0, false
	}
	return number(value)
}

// number reads a score: thousands may be set apart with commas, and a fraction is rounded.
func number(value any) (int64, bool) {
	text := strings.TrimSpace(strings.ReplaceAll(fmt.Sprint(value), ",", ""))
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(math.Round(f)), true
}

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

// short is a value as a text of at most a line.
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
