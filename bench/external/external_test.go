package external_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"isukit/bench/external"
)

func TestJudge(t *testing.T) {
	asJSON, score := external.Rule{JSON: ".score"}, external.Rule{Regexp: `(?i)score: *([\d,.]+)`}
	for name, c := range map[string]struct {
		rules  external.Rules
		output string
		exit   int
		score  float64
		passed bool
		reason string
	}{
		"private-isu":                    {external.Rules{}, `{"pass":true,"score":1710,"success":1434,"fail":0,"messages":[]}` + "\n", 0, 1710, true, ""},
		"exits 0 and failed":             {external.Rules{}, `{"pass":false,"score":0,"messages":["GET /initialize timed out"]}`, 0, 0, false, "pass: false"},
		"exits 0, failed, high score":    {external.Rules{Score: asJSON, Pass: external.Rule{JSON: ".pass"}}, `{"pass":false,"score":99}`, 0, 99, false, "pass: false"},
		"log lines before and after":     {external.Rules{}, "12:00 start {not json}\n[INFO] {\"score\": 5, \"pass\": true}\nbye\n", 0, 5, true, ""},
		"over several lines":             {external.Rules{}, "log\n{\n  \"pass\": true,\n  \"score\": 12\n}\n", 0, 12, true, ""},
		"in parts":                       {external.Rules{}, "{\n  \"pass\": true,\n  \"score\": 120,\n  \"teams\": [\n    {\"score\": 7},\n    {\n      \"score\": 8\n    }\n  ]\n}\n", 0, 120, true, ""},
		"in parts, then another":         {external.Rules{}, "{\n  \"score\": 120,\n  \"teams\": {\n    \"score\": 7}\n}\nINFO {\"score\": 5}\n", 0, 5, true, ""},
		"the last counts":                {external.Rules{Score: score}, "score: 10\nfinal score: 1,234\n", 0, 1234, true, ""},
		"deep":                           {external.Rules{Score: external.Rule{JSON: ".runs[-1].score"}}, `{"runs":[{"score":1},{"score":2.6}]}`, 0, 2.6, true, ""},
		"exit status":                    {external.Rules{Score: score}, "score: 10", 1, 10, false, "status 1"},
		"no score":                       {external.Rules{Score: score}, "done", 0, 0, false, "no score"},
		"fail rule":                      {external.Rules{Score: score, Fail: external.Rule{Regexp: `(?m)^CRITICAL.*$`}}, "CRITICAL: data lost\nscore: 10", 0, 10, false, "data lost"},
		"pass rule that finds nothing":   {external.Rules{Score: score, Pass: external.Rule{Regexp: `PASSED`}}, "score: 10", 0, 10, false, "did not report"},
		"pass rule":                      {external.Rules{Score: score, Pass: external.Rule{Regexp: `result: (\w+)`}}, "score: 10\nresult: OK", 0, 10, true, ""},
		"pass rule with no":              {external.Rules{Score: score, Pass: external.Rule{Regexp: `result: (\w+)`}}, "score: 10\nresult: FAILED", 0, 10, false, "FAILED"},
		"null score":                     {external.Rules{}, `{"pass":true,"score":null}`, 0, 0, false, "no score"},
		"negative":                       {external.Rules{}, `{"score":-5}`, 0, -5, true, ""},
		"a score beyond an int64's room": {external.Rules{}, `{"score":1e300}`, 0, 0, false, "no score"},
	} {
		got := c.rules.Judge([]byte(c.output), c.exit)
		if got.Score != c.score || got.Passed != c.passed || !strings.Contains(got.Reason, c.reason) || c.passed != (got.Reason == "") {
			t.Errorf("%s: %+v, want score %v, passed %v, reason with %q", name, got, c.score, c.passed, c.reason)
		}
	}
	got := external.Rules{}.Judge([]byte(`{"pass":false,"score":0,"messages":["a","b"]}`), 0)
	if len(got.Messages) != 2 {
		t.Errorf("messages: %q", got.Messages)
	}
}

// TestScores holds the ways in which benchmarks print a score: each is read whole, or refused with what was wrong.
func TestScores(t *testing.T) {
	text, err := os.ReadFile("testdata/scores.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name, Stdout, Stderr, Refused string
		Score                         float64
	}
	if err := json.Unmarshal(text, &cases); err != nil || len(cases) < 60 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, c := range cases {
		got := external.Rules{}.Judge([]byte(c.Stdout+c.Stderr), 0)
		if c.Refused != "" && (got.Found || got.Passed || !strings.Contains(got.Reason, c.Refused)) {
			t.Errorf("%s: %q gives %+v, want it refused with %q", c.Name, c.Stdout, got, c.Refused)
		}
		if c.Refused == "" && (!got.Found || got.Score != c.Score) {
			t.Errorf("%s: %q gives %+v, want score %v", c.Name, c.Stdout+c.Stderr, got, c.Score)
		}
	}
}

// TestRuleCutsNoNumber holds that an expression which stops inside a number is refused.
func TestRuleCutsNoNumber(t *testing.T) {
	for output, want := range map[string]string{"score: 1.2e+07": "1.2", "score: -5": "", "score: 1,234": `"1"`, "score: 77!": ""} {
		got := external.Rules{Score: external.Rule{Regexp: `score: -?(\d+)`}}.Judge([]byte(output), 0)
		if got.Found != (output == "score: 77!") || !strings.Contains(got.Reason, strings.Trim(want, `"`)) {
			t.Errorf("%q: %+v", output, got)
		}
	}
}

func FuzzFindScore(f *testing.F) {
	for _, seed := range []string{"score: 1,234.5\n", "{\"score\": 1e3}", "\x1b[1mscore\x1b[0m = 12.5k req/s", "スコア：１２３点"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, output []byte) {
		v, found, err := external.FindScore(output)
		if found && (err != nil || v != v || v > 1<<53 || v < -1<<53) || !found && v != 0 && err == nil {
			t.Errorf("%q: %v %v %v", output, v, found, err)
		}
	})
}

func TestRuleIsChecked(t *testing.T) {
	for _, rule := range []external.Rule{{JSON: ".a b"}, {Regexp: "("}, {JSON: ".a", Regexp: "a"}} {
		if rule.Check() == nil {
			t.Errorf("%+v is taken", rule)
		}
	}
}

func TestRunTellsHowItEnded(t *testing.T) {
	var log strings.Builder
	var lines []string
	c := external.Command{Line: `echo out; echo err >&2; printf %s "$WORD"; exit 3`, Env: append(os.Environ(), "WORD=here"), Log: &log, OnLine: func(l string) { lines = append(lines, l) }}
	r, err := c.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Exit != 3 || string(r.Output) != log.String() || strings.Join(lines, ",") != "out,err,here" || r.Ending != "" || r.Ended.Before(r.Began) {
		t.Errorf("%+v, output %q, log %q, lines %q", r, r.Output, log.String(), lines)
	}
	if r, err = (external.Command{Line: "kill -9 $$"}).Start(t.Context()); err != nil || r.Exit != 137 {
		t.Errorf("killed: %+v, %v; want exit 137", r, err)
	}
}

// TestHangingBenchmarkIsEnded holds that neither a benchmark that hangs nor its children outlive their time.
func TestHangingBenchmarkIsEnded(t *testing.T) {
	mark := t.TempDir() + "/alive"
	c := external.Command{Line: `(while :; do date >> ` + mark + `; sleep 0.1; done) & echo started; sleep 600`, Timeout: 3 * time.Second}
	r, err := c.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.Ending, "3s") || r.Exit != 143 || string(r.Output) != "started\n" {
		t.Errorf("%+v, output %q", r, r.Output)
	}
	before, _ := os.Stat(mark)
	time.Sleep(400 * time.Millisecond)
	if after, _ := os.Stat(mark); before == nil || after.Size() != before.Size() {
		t.Error("a child of the benchmark is still there")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if r, err = (external.Command{Line: "sleep 600"}).Start(ctx); err != nil || !strings.Contains(r.Ending, "interrupted") {
		t.Errorf("interrupted: %+v, %v", r, err)
	}
}
