package ui

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
		if got := DidYouMean(word, tunings); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
	if got := DidYouMean("fanout2", infra.ShippedNames()); got != "did you mean fanout-2?" {
		t.Errorf("fanout2: got %q", got)
	}
}
