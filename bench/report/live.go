package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"isukit/bench/result"
)

// LiveState is what is known of a round while it runs.
type LiveState struct {
	// Phase is the current phase; PhaseElapsed is its time so far, and PhaseTotal its planned time, 0 if unknown.
	Phase                    string
	PhaseElapsed, PhaseTotal time.Duration
	// Elapsed counts from the round's start.
	Elapsed time.Duration
	// Seconds are the seconds of the load that are over, oldest first; the last one is the present.
	Seconds []result.Second
	// Errors counts the errors of the load so far by kind.
	Errors map[string]int64
	// HostCPUs is how many CPUs all hosts have together; 0 when not known.
	HostCPUs float64
}

func (s LiveState) now() result.Second {
	if len(s.Seconds) == 0 {
		return result.Second{}
	}
	return s.Seconds[len(s.Seconds)-1]
}

// Live renders one frame for a terminal: lines no wider than the style's, without line ends. Every frame has the same number
// of lines as long as the roles stay the same; the caller draws each over the one before.
func Live(s LiveState, style Style) []string {
	p := newSheet(style)
	now := s.now()
	p.line(p.paint(bold, clean(s.Phase)), "  ", progress(s), "   ", p.paint(dim, clock(s.Elapsed)+" total"))
	p.line(fmt.Sprintf("  users %s   hits/s %s   p50 %s   p99 %s",
		p.paint(bold, padLeft(count(int64(now.Users)), 6)), p.paint(bold, padLeft(count(now.Hits), 7)), padLeft(millis(now.P50Ms), 8), padLeft(millis(now.P99Ms), 8)))
	p.line("  hits/s ", p.paint(cyan, spark(s.Seconds, p.width-12)))
	p.line("  errors ", p.errorKinds(s.Errors))
	for _, role := range rolesOf(now) {
		cores := now.CoresByRole[role]
		code := cyan
		if role == result.GeneratorRole {
			code = dim
		}
		p.line("  ", padRight(cut(clean(role), 16), 16), padLeft(fixed(cores, 2), 6), " cores ", p.paint(code, coresBar(cores, s.HostCPUs)))
	}
	return strings.Split(strings.TrimSuffix(p.String(), "\n"), "\n")
}

// Line renders the state as one plain line, for logs: everything that Live shows, on a fixed order of key=value fields.
func Line(s LiveState) string {
	now := s.now()
	parts := []string{
		clock(s.Elapsed), clean(s.Phase) + "=" + clock(s.PhaseElapsed),
		"users=" + fmt.Sprint(now.Users), "hits/s=" + fmt.Sprint(now.Hits),
		"p50=" + strings.ReplaceAll(millis(now.P50Ms), " ", ""), "p99=" + strings.ReplaceAll(millis(now.P99Ms), " ", ""),
	}
	if len(s.Seconds) == 0 {
		parts = parts[:2]
	}
	for _, kind := range slices.Sorted(maps.Keys(s.Errors)) {
		if s.Errors[kind] > 0 {
			parts = append(parts, "errors."+clean(kind)+"="+fmt.Sprint(s.Errors[kind]))
		}
	}
	for _, role := range rolesOf(now) {
		parts = append(parts, "cores."+clean(role)+"="+fixed(now.CoresByRole[role], 2))
	}
	return strings.Join(parts, " ")
}

func progress(s LiveState) string {
	if s.PhaseTotal <= 0 {
		return clock(s.PhaseElapsed)
	}
	return clock(s.PhaseElapsed) + " of " + clock(s.PhaseTotal) + " " + bar(s.PhaseElapsed.Seconds()/s.PhaseTotal.Seconds(), 20)
}

func (p *sheet) errorKinds(errors map[string]int64) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(errors)) {
		if errors[kind] > 0 {
			parts = append(parts, cut(clean(kind), 10)+" "+count(errors[kind]))
		}
	}
	if len(parts) == 0 {
		return p.paint(green, "none")
	}
	return p.paint(red, cut(strings.Join(parts, "  "), p.width-10))
}

// coresBar draws a role's cores as a part of all CPUs.
func coresBar(cores, all float64) string {
	if all <= 0 {
		return ""
	}
	return bar(cores/all, 20) + " " + percent(cores/all)
}

// rolesOf returns the roles of a second by name, the generator last.
func rolesOf(s result.Second) []string {
	return orderRoles(slices.Collect(maps.Keys(s.CoresByRole)))
}

// orderRoles sorts roles by name, the generator last.
func orderRoles(roles []string) []string {
	slices.Sort(roles)
	if i := slices.Index(roles, result.GeneratorRole); i >= 0 {
		roles = append(slices.Delete(roles, i, i+1), result.GeneratorRole)
	}
	return roles
}

// spark draws the last n seconds' hits, the highest of them as a full block.
func spark(seconds []result.Second, n int) string {
	seconds = seconds[max(0, len(seconds)-n):]
	var top int64 = 1
	for _, s := range seconds {
		top = max(top, s.Hits)
	}
	levels := []rune("▁▂▃▄▅▆▇█")
	line := make([]rune, len(seconds))
	for i, s := range seconds {
		line[i] = levels[max(0, s.Hits)*int64(len(levels)-1)/top]
	}
	return string(line)
}

// padLeft fills s with spaces on the left, padRight on the right, up to n columns.
func padLeft(s string, n int) string  { return strings.Repeat(" ", max(0, n-columns(s))) + s }
func padRight(s string, n int) string { return s + strings.Repeat(" ", max(0, n-columns(s))) }
