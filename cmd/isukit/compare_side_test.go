package main

import (
	"slices"
	"strings"
	"testing"

	"isukit/cmd/internal/ui"
)

func TestSplitArgs(t *testing.T) {
	tests := []struct {
		text string
		want []string
		ok   bool
	}{
		{"", nil, true},
		{"  --users  20 ", []string{"--users", "20"}, true},
		{`-t "my topology.yaml" --results=''`, []string{"-t", "my topology.yaml", "--results="}, true},
		{`'' x`, []string{"", "x"}, true},
		{`"it's"`, []string{"it's"}, true},
		{`"open`, nil, false},
	}
	for _, tt := range tests {
		got, err := splitArgs(tt.text)
		if !slices.Equal(got, tt.want) || (err == nil) != tt.ok {
			t.Errorf("splitArgs(%q) = %q, %v, want %q", tt.text, got, err, tt.want)
		}
	}
}

func TestCompareRefusesSides(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		args []string
		says string
	}{
		{[]string{"tune=wrong", "tune=none"}, "isukit tune ls"},
		{[]string{"last", "~1", "--rounds", "3"}, "saved rounds"},
		{[]string{"last", "round="}, "saved rounds"},
		{[]string{"round=--nonsense", "round="}, "unknown flag"},
		{[]string{"round=--duration 0s", "round="}, "shorter than a second"},
		{[]string{"round=extra", "round="}, `"extra" is not an option`},
		{[]string{"round=--explain-score", "round="}, "runs no round"},
		{[]string{"round='", "round="}, "is not closed"},
		{[]string{"topology=nowhere", "topology=single", "--rounds", "1"}, "nowhere"},
		{[]string{"round=", "round=", "--both", "--scale huge"}, "--scale"},
		{[]string{"round=", "round=", "--rounds", "1000"}, "--rounds 1000"},
		{[]string{"round=", "round=", "--warmup", "-1"}, "--warmup -1"},
		{[]string{"round=", "commit=no/such/revision"}, "no/such/revision"},
	}
	for _, tt := range tests {
		code, out, errOut := compareArgs(t, append([]string{"--results", dir, "--state-dir", dir}, tt.args...)...)
		if code != ui.ExitUsage || !strings.Contains(errOut, tt.says) || !strings.Contains(errOut, "isukit: hint: ") || out != "" {
			t.Errorf("compare %q: code %d, stderr %q, stdout %q, want code %d, %q and a hint", tt.args, code, errOut, out, ui.ExitUsage, tt.says)
		}
	}
}
