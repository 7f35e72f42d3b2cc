package main

import (
	"strings"
	"testing"

	"isukit/infra"
)

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"final1", "final-1", 1}, {"final-1", "final-1", 0}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q, %q: got %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	tunings := []string{"mysql/durability-relaxed", "mysql/memory", "nginx/cache"}
	for word, want := range map[string]string{
		"mysql/memroy": "mysql/memory", "mysql/durability": "mysql/durability-relaxed", "durability-relaxed": "mysql/durability-relaxed",
		"something": "", "x": "",
	} {
		if got := didYouMean(word, tunings); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
	if got := didYouMean("fanout2", infra.ShippedNames()); got != "did you mean fanout-2?" {
		t.Errorf("fanout2: got %q", got)
	}
}

// TestTyposAreGuessed holds that the hints of commands say what may have been meant.
func TestTyposAreGuessed(t *testing.T) {
	for line, want := range map[string]string{
		"round -t fanut-2":               "did you mean fanout-2?",
		"round fanout-2":                 "isukit round -t fanout-2",
		"topology apply final1":          "did you mean final-1?",
		"tune apply mysql/memroy":        "did you mean mysql/memory?",
		"round --tune mysql/memroy":      "did you mean mysql/memory?",
		"tune show durability-relaxed":   "did you mean mysql/durability-relaxed?",
		"tune revert nothing/like/that":  "isukit tune ls lists them",
		"compare single fanout-2":        "topology=single",
		"round --duration 10":            "10s",
		"serve --listen 8090":            "127.0.0.1:8090",
		"show last --results /nowhere/x": "--results",
	} {
		_, errs, code := cli(t, "", strings.Fields(line)...)
		if code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("isukit %s: exit code %d, want %d and %q:\n%s", line, code, exitUsage, want, errs)
		}
	}
}
