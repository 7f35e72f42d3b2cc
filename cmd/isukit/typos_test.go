package main

import (
	"strings"
	"testing"

	"isukit/cmd/internal/ui"
)

// TestTyposAreGuessed: the hints of commands suggest the nearest name.
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
		if code != ui.ExitUsage || !strings.Contains(errs, want) {
			t.Errorf("isukit %s: exit code %d, want %d and %q:\n%s", line, code, ui.ExitUsage, want, errs)
		}
	}
}
