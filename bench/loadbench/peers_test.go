package loadbench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// generator is one way to load the server; parse reads the number of hits from what its command prints.
type generator struct {
	name  string
	args  []string
	parse func(out []byte) (hits float64, err error)
}

// sample is one round of one generator.
type sample struct{ hitsPerSec, cpuPerHit float64 }

func hits(s sample) float64 { return s.hitsPerSec }
func cpu(s sample) float64  { return s.cpuPerHit }

// The generators by name; ours comes with every answer checked, and without checks as wrk does.
const (
	checked   = "isukit, checked"
	unchecked = "isukit, unchecked"
	wrk       = "wrk"
	wrkLua    = "wrk, checking in Lua"
	vegeta    = "vegeta"
	vegetaAll = "vegeta, with its report"
	k6        = "k6"
	k6Check   = "k6, checking in JavaScript"
)

// peers compares the generators, against nginx and against a server that is faster than any of them. The targets are about
// the latter, where it is the generator's core that is full.
func peers(ctx context.Context, o options, srv *nginx, out io.Writer) (any, error) {
	url, stop, err := startResponder(ctx, srv)
	if err != nil {
		return nil, err
	}
	defer stop()
	result := map[string]any{}
	for _, server := range []struct{ name, url string }{{"nginx", srv.url}, {"responder", url}} {
		gens, missing, err := generators(o, server.url)
		if err != nil {
			return nil, err
		}
		if server.name == "nginx" { // the same are missing later
			for _, m := range missing {
				fmt.Fprintf(out, "%s is not installed: not compared\n", m)
			}
		}
		samples, err := play(ctx, o, gens)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(out, "\nagainst %s\n", server.name)
		result[server.name] = compare(gens, samples, out)
		if server.name == "responder" {
			judgePeers(samples, out)
		}
	}
	return result, nil
}

// play runs the rounds, interleaved in random order.
func play(ctx context.Context, o options, gens []generator) (map[string][]sample, error) {
	samples := map[string][]sample{}
	rng := rand.New(rand.NewPCG(1, 2))
	for round := -1; round < o.rounds; round++ { // the first warms up
		for _, i := range rng.Perm(len(gens)) {
			s, err := gens[i].run(ctx, o)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", gens[i].name, err)
			}
			if round >= 0 {
				samples[gens[i].name] = append(samples[gens[i].name], s)
			}
		}
	}
	return samples, nil
}

// compare prints medians and ratios.
func compare(gens []generator, samples map[string][]sample, out io.Writer) any {
	ratios := map[string]any{}
	fmt.Fprintf(out, "%-26s %10s %12s   isukit checked / it\n", "generator", "hits/s", "CPU us/hit")
	for _, g := range gens {
		own, other := samples[checked], samples[g.name]
		h, c := ratioOf(own, other, hits), ratioOf(own, other, cpu)
		fmt.Fprintf(out, "%-26s %10.0f %12.2f   hits/s %v, CPU per hit %v\n", g.name, median(other, hits), 1e6*median(other, cpu), h, c)
		ratios[g.name] = map[string]any{"hits_per_s": h, "cpu_per_hit": c}
	}
	return ratios
}

// judgePeers holds the ratios against the targets.
func judgePeers(samples map[string][]sample, out io.Writer) {
	for _, t := range peerTargets {
		if len(samples[t.peer]) > 0 {
			of := hits
			if t.cpu {
				of = cpu
			}
			r := ratioOf(samples[checked], samples[t.peer], of)
			judge(out, t.text, t.cpu == (r.Ratio <= t.bound) || r.Ratio == t.bound, "%v", r)
		}
	}
}

// peerTargets are what every answer checked is to reach: hits a second at least, or CPU per hit at most, as a ratio.
var peerTargets = [...]struct {
	text, peer string
	cpu        bool
	bound      float64
}{
	{"checked, at least 0.80 of wrk's hits/s", wrk, false, 0.80},
	{"checked, CPU per hit at most 1.25 of wrk's", wrk, true, 1.25},
	{"checked, at least 4 times vegeta's hits/s", vegeta, false, 4},
	{"checked, at least 4 times vegeta's hits/s, its report included", vegetaAll, false, 4},
	{"checked, at least 10 times k6's hits/s", k6, false, 10},
	{"checked, at least 10 times k6's hits/s, checking too", k6Check, false, 10},
	{"checked, at least 2 times wrk's with a script that checks", wrkLua, false, 2},
}

// generators returns those that are installed, ours first, and the names of those that are not.
func generators(o options, url string) (gens []generator, missing []string, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	length, users := o.length.String(), strconv.Itoa(o.users)
	own := []string{self, "-role", "load", "-target", url, "-users", users, "-length", length}
	script := filepath.Join(o.scratch, "check.lua")
	if err := os.WriteFile(script, luaCheck(newMessage()), 0o644); err != nil {
		return nil, nil, err
	}
	k6Script, k6Checks := filepath.Join(o.scratch, "k6.js"), filepath.Join(o.scratch, "k6check.js")
	if err := os.WriteFile(k6Script, fmt.Appendf(nil, k6Source, users, length, url), 0o644); err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(k6Checks, append(fmt.Appendf(nil, k6Head, users, length, url), jsCheck(newMessage())...), 0o644); err != nil {
		return nil, nil, err
	}
	targets := filepath.Join(o.scratch, "targets")
	if err := os.WriteFile(targets, []byte("GET "+url+"\n"), 0o644); err != nil {
		return nil, nil, err
	}
	secs := fmt.Sprintf("%ds", max(int(o.length.Seconds()), 1))
	all := []generator{
		{checked, append(own[:len(own):len(own)], "-check"), parseOwn},
		{unchecked, own, parseOwn},
		{wrk, []string{"wrk", "-t1", "-c" + users, "-d" + secs, url}, parseWrk},
		{wrkLua, []string{"wrk", "-t1", "-c" + users, "-d" + secs, "-s", script, url}, parseWrk},
		{vegeta, []string{"vegeta", "attack", "-rate=0", "-max-workers=" + users, "-duration=" + length, "-targets=" + targets,
			"-output=" + filepath.Join(o.scratch, "vegeta.bin")}, nil},
		{vegetaAll, []string{"sh", "-c", "vegeta attack -rate=0 -max-workers=" + users + " -duration=" + length + " -targets=" + targets +
			" | vegeta report -type=json"}, parseVegeta},
		{k6, []string{"k6", "run", "--quiet", "--no-usage-report", "--address", "", k6Script}, parseK6},
		{k6Check, []string{"k6", "run", "--quiet", "--no-usage-report", "--address", "", k6Checks}, parseK6},
	}
	if _, err := exec.LookPath("vegeta"); err != nil {
		all = slices.DeleteFunc(all, func(g generator) bool { return g.name == vegetaAll }) // its shell is always there
	}
	for _, g := range all {
		if path, err := exec.LookPath(g.args[0]); err != nil {
			missing = append(missing, g.name)
		} else {
			g.args[0] = path
			if g.name == vegeta {
				g.parse = vegetaReport(path, g.args[len(g.args)-1])
			}
			gens = append(gens, g)
		}
	}
	return gens, missing, nil
}

// run makes one round on CPU 0.
func (g generator) run(ctx context.Context, o options) (sample, error) {
	out, ended, err := runPinned(ctx, g.args...)
	if err != nil {
		return sample{}, err
	}
	hits, err := g.parse(out)
	if err != nil {
		return sample{}, err
	}
	used := ended.UserTime() + ended.SystemTime() // clock: a figure of the benchmark
	return sample{hitsPerSec: hits / o.length.Seconds(), cpuPerHit: used.Seconds() / hits}, nil
}

func parseOwn(out []byte) (float64, error) {
	var r childReport
	if err := json.Unmarshal(out, &r); err != nil {
		return 0, fmt.Errorf("%w: %.500s", err, out)
	}
	if r.Errors > 0 {
		return 0, fmt.Errorf("%d errors, such as %s", r.Errors, r.Example)
	}
	return float64(r.Hits), nil
}

func parseWrk(out []byte) (float64, error) {
	if m := regexp.MustCompile(`(?m)Non-2xx.*|Socket errors.*|wrong answer`).Find(out); m != nil {
		return 0, fmt.Errorf("%s", m)
	}
	return find(out, `(\d+) requests in`)
}

// parseK6 takes the number of requests, and no other than right answers for one.
func parseK6(out []byte) (float64, error) {
	const some = `[.: ]+(?:0\.0*)?[1-9]`
	if m := regexp.MustCompile(`wrong answer|checks\.+: +[0-9]{1,2}\.|checks_failed` + some + `|http_req_failed` + some).Find(out); m != nil {
		return 0, fmt.Errorf("%s", m)
	}
	return find(out, `http_reqs[.: ]+(\d+)`)
}

func parseVegeta(out []byte) (float64, error) { return find(out, `"200":(\d+)`) }

// vegetaReport has vegeta itself read its results; that does not count as its load's CPU time.
func vegetaReport(path, output string) func([]byte) (float64, error) {
	file := output[len("-output="):]
	return func([]byte) (float64, error) {
		out, err := exec.Command(path, "report", "-type=json", file).Output()
		if err != nil {
			return 0, err
		}
		return parseVegeta(out)
	}
}

func find(out []byte, pattern string) (float64, error) {
	m := regexp.MustCompile(pattern).FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("no number of hits in %.500q", out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
