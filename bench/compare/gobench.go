package compare

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	"isukit/bench/result"
)

// GoBench writes every round of both sides as a line of Go's benchmark format, so that benchstat and its like read them:
// `benchstat -col side FILE`. Durations are in seconds, as that format wants base units.
func GoBench(w io.Writer, a, b Side) error {
	var out strings.Builder
	out.WriteString("Unit score better=higher\nUnit hits/s better=higher\nUnit p50-sec better=lower\nUnit p99-sec better=lower\n" +
		"Unit cpu-sec/1000hits better=lower\nUnit errors better=lower\n")
	for i, s := range []Side{a, b} {
		fmt.Fprintf(&out, "\n# %c is %s\nside: %c\n", "AB"[i], word(s.Name), "AB"[i])
		for _, r := range byTime(s.Rounds) {
			if !r.Passed {
				continue
			}
			if r.Metrics != nil {
				out.WriteString(commandLine(r))
				continue
			}
			l := r.All.Latency
			fmt.Fprintf(&out, "BenchmarkRound/%s 1 %d score %g hits/s %g p50-sec %g p99-sec %g cpu-sec/1000hits %d errors\n",
				word(r.Scenario), r.Score.Total, r.HitsPerSec(), l.P50Ms/1000, l.P99Ms/1000, cpuPer1000(r), r.All.Errors)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// commandLine is the line of a round that was a command: every figure with its name as the unit.
func commandLine(r *result.Round) string {
	line := fmt.Sprintf("BenchmarkRound/%s 1", word(r.Scenario))
	for _, name := range slices.Sorted(maps.Keys(r.Metrics)) {
		line += fmt.Sprintf(" %g %s", r.Metrics[name], word(name))
	}
	return line + "\n"
}

func word(s string) string {
	return cmp.Or(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, s), "_")
}
