package report_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"isukit/bench/result"
)

// passing is a round as a contest's team would see it: users grow until the database has no CPU left, and for two seconds
// it stalls. The figures are drawn from a fixed seed.
func passing() *result.Round {
	rnd := rand.New(rand.NewPCG(7, 1))
	r := &result.Round{
		Format: 1, ID: "20261122T201503Z-single", StartedAt: time.Date(2026, 11, 22, 20, 15, 3, 0, time.UTC),
		Topology: "single", Scenario: "portal", Seed: 7, LoadSeconds: 30, Passed: true,
		Phases: []result.Phase{
			{Name: "initialize", StartSeconds: 0, DurationSeconds: 3.21, OK: true},
			{Name: "validate", StartSeconds: 3.3, DurationSeconds: 2.04, OK: true},
			{Name: "load", StartSeconds: 5.4, DurationSeconds: 30.02, OK: true},
			{Name: "check", StartSeconds: 35.5, DurationSeconds: 1.18, OK: true},
		},
		Hosts: []result.HostUsage{{Host: "s1", CPUs: 2, MemoryBytes: 4 << 30, Busy: 0.94, IOWait: 0.013, Foreign: 0.0042}},
		Generator: result.Generator{CPUSeconds: 4.31, CPUSecondsPer1000Hits: 0.0931, OfSystem: 0.083, PeakRSSBytes: 61 << 20,
			TimerDelayP99Ms: 1.3, PeakUsers: 214},
		Bottleneck: result.Bottleneck{Resource: "cpu", Host: "s1", Role: "db",
			Text: "The CPUs of s1 were 94 % busy; db took the largest part, 1.02 of 2 cores."},
		Warnings: []string{"The load was shorter than 60 s: scores of short rounds differ by several percent between runs of the same code."},
		Facts: []result.Fact{{Key: "commit", Value: "4ae102a"}, {Key: "cpu model", Value: "Example CPU @ 2.40GHz"},
			{Key: "db", Value: "mariadb 10.11.14"}, {Key: "kernel", Value: "6.18.5"}, {Key: "proxy", Value: "nginx 1.22.1"},
			{Key: "topology hash", Value: "sha256:9f2c1be7a0d34c66"}, {Key: "tuning", Value: "none"}},
		Artifacts: []result.Artifact{{Path: "hits.zst", SizeBytes: 391234, About: "every hit"},
			{Path: "hosts/s1/nginx-access.log", SizeBytes: 5312345, About: "access log of the proxy"}},
	}
	r.Endpoints = endpoints()
	for _, e := range r.Endpoints {
		r.All.Hits += e.Hits
		r.All.OK += e.OK
		r.All.Errors += e.Errors
		r.All.Refused += e.Refused
		r.All.ReceivedBytes += e.ReceivedBytes
	}
	r.All.Name, r.All.Share = "all", 1
	r.All.Latency = result.Latency{P50Ms: 8.7, P90Ms: 51.2, P99Ms: 312, MaxMs: 2140.5}
	r.All.FromSent = result.Latency{P50Ms: 8.5, P90Ms: 50.1, P99Ms: 301, MaxMs: 2138.2}
	for i := range r.Endpoints {
		r.Endpoints[i].Share = float64(r.Endpoints[i].Hits) / float64(r.All.Hits)
	}
	r.Errors = []result.ErrorGroup{
		{Kind: "timeout", Endpoint: "GET /api/dashboard", Text: "no answer within the time limit", Count: 31,
			Example: "user contestant-112 at 17.4 s: GET /api/dashboard: no answer after 10.0 s"},
		{Kind: "stale", Endpoint: "GET /api/leaderboard", Text: "the leaderboard is older than 1 s", Count: 4,
			Example: "user audience-9 at 18.9 s: job 1834511213 of team 北海道ラーメン部 finished 2.31 s before, its score 1,204 is missing"},
		{Kind: "status", Endpoint: "POST /api/jobs", Text: "status 502, want 200", Count: 2},
	}
	r.Score = score(r)
	r.Timeline = timeline(rnd, 30)
	r.Roles = []result.RoleUsage{
		{Role: "proxy", Host: "s1", CPUSeconds: 5.1, MeanCores: 0.17, PeakRSSBytes: 14 << 20},
		{Role: "web", Host: "s1", CPUSeconds: 12.9, MeanCores: 0.43, PeakRSSBytes: 88 << 20},
		{Role: "api", Host: "s1", CPUSeconds: 3.3, MeanCores: 0.11, PeakRSSBytes: 41 << 20},
		{Role: "db", Host: "s1", CPUSeconds: 30.6, MeanCores: 1.02, PeakRSSBytes: 412 << 20},
	}
	return r
}

func endpoints() []result.Endpoint {
	make := func(name string, hits, errors, refused int64, p50 float64) result.Endpoint {
		return result.Endpoint{Name: name, Hits: hits, OK: hits - errors - refused, Refused: refused, Errors: errors,
			ReceivedBytes: hits * 700,
			Latency:       result.Latency{P50Ms: p50, P90Ms: p50 * 4.3, P99Ms: p50 * 19, MaxMs: p50 * 61},
			FromSent:      result.Latency{P50Ms: p50 * 0.97, P90Ms: p50 * 4.1, P99Ms: p50 * 17, MaxMs: p50 * 60}}
	}
	return []result.Endpoint{
		make("GET /api/dashboard", 14210, 31, 0, 21.3),
		make("GET /api/leaderboard", 9033, 4, 812, 12.4),
		make("GET /api/notifications", 8120, 0, 0, 2.1),
		make("GET /api/jobs", 4410, 0, 0, 3.3),
		make("POST /api/jobs", 3920, 2, 0, 7.75),
		make("GET /", 2841, 0, 0, 0.21),
		make("POST /worker/jobs/receive", 2230, 0, 0, 5.2),
		make("POST /worker/jobs/{job_id}/result", 1033, 0, 0, 9.9),
		make("PUT /api/clarifications/{clarification_id}", 61, 0, 0, 6.1),
		make("POST /api/login", 428, 0, 0, 62.4),
	}
}

func score(r *result.Round) result.Score {
	var s result.Score
	worth := map[string]int64{"GET /api/dashboard": 5, "GET /api/leaderboard": 3, "POST /api/jobs": 5,
		"POST /worker/jobs/{job_id}/result": 20, "POST /api/login": 2, "PUT /api/clarifications/{clarification_id}": 2}
	add := func(label string, n, each int64) {
		if n > 0 {
			s.Lines = append(s.Lines, result.ScoreLine{Label: label, Count: n, Each: each, Points: n * each})
			s.Total += n * each
		}
	}
	for _, e := range r.Endpoints {
		if worth[e.Name] > 0 {
			add(e.Name, e.OK, worth[e.Name])
		}
	}
	add("errors", 6, -10)
	add("timeouts", 31, -20)
	return s
}

func timeline(rnd *rand.Rand, n int) []result.Second {
	seconds := make([]result.Second, n)
	for i := range seconds {
		users := min(20+9*i, 214)
		cap := 1 - math.Exp(-float64(users)/70)
		stall := i == 17 || i == 18
		noise := func(x float64) float64 { return x * (0.93 + 0.14*rnd.Float64()) }
		s := result.Second{At: i, Users: users, Hits: int64(noise(1900 * cap)), P50Ms: noise(2 + 9*cap*cap), P99Ms: noise(30 + 220*cap*cap)}
		cores := map[string]float64{"proxy": noise(0.2 * cap), "web": noise(0.5 * cap), "api": noise(0.13 * cap),
			"db": min(1.1, noise(1.2*cap)), "generator": noise(0.16 * cap)}
		if stall {
			s.Hits /= 6
			s.Errors = int64(12 + 7*(i-17))
			s.P50Ms, s.P99Ms = 410, 2140.5
			cores["db"], cores["web"] = 0.2, 0.05
		}
		s.CoresByRole = cores
		busy := 0.02
		for _, name := range []string{"proxy", "web", "api", "db", "generator"} {
			busy += cores[name] / 2
		}
		s.BusyByHost = map[string]float64{"s1": min(1, busy)}
		seconds[i] = s
	}
	return seconds
}

// failing is a round on three hosts that check found wrong.
func failing() *result.Round {
	r := passing()
	r.ID, r.Topology, r.Passed = "20261122T211503Z-three", "three", false
	r.Reason = "check failed: 2 results that were acknowledged are not on the leaderboard"
	r.Phases[3].OK = false
	r.Score.Total = 0
	r.Faults = []result.Fault{
		{Phase: "check", Text: "result 88123 of team 12 was acknowledged at 14.2 s and is missing from the database"},
		{Phase: "check", Text: "GET /api/leaderboard says team 12 has 1,204 points; the acknowledged results make it 1,377"},
	}
	r.Hosts = []result.HostUsage{{Host: "s1", CPUs: 1, MemoryBytes: 1 << 30, Busy: 0.31}, {Host: "s2", CPUs: 2, MemoryBytes: 2 << 30, Busy: 0.48, Steal: 0.03},
		{Host: "s3", CPUs: 0.5, MemoryBytes: 1 << 29, Busy: 0.99, IOWait: 0.002}}
	for i, host := range []string{"s1", "s2", "s2", "s3"} {
		r.Roles[i].Host = host
	}
	for i := range r.Timeline {
		c := r.Timeline[i].CoresByRole
		r.Timeline[i].CoresByRole = map[string]float64{"proxy@s1": c["proxy"], "web@s2": c["web"], "api@s2": c["api"], "db@s3": min(c["db"]/2, 0.5), "generator": c["generator"]}
		r.Timeline[i].BusyByHost = map[string]float64{"s1": 0.3, "s2": 0.5, "s3": 0.99}
	}
	r.Bottleneck = result.Bottleneck{Resource: "cpu", Host: "s3", Role: "db", Text: "The CPU of s3 was 99 % busy with db."}
	r.Warnings = append(r.Warnings, "s2 lost 3 % of its CPU time to other guests of its machine (steal).")
	return r
}

// empty is a round that failed before its load.
func empty() *result.Round {
	return &result.Round{Format: 1, ID: "20261122T221503Z-single", StartedAt: time.Date(2026, 11, 22, 22, 15, 3, 0, time.UTC),
		Topology: "single", Scenario: "portal", Seed: 1, LoadSeconds: 60, Reason: "initialize failed: POST /initialize: no answer within 30 s",
		Phases: []result.Phase{{Name: "initialize", DurationSeconds: 30}},
		Faults: []result.Fault{{Phase: "initialize", Text: "POST /initialize: no answer within 30 s"}}}
}

// hostile is a round in which every text tries to be obeyed.
func hostile() *result.Round {
	const evil = "</script><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">" +
		"\x1b]0;pwned\a\x1b[2J\u202e'\"`${alert(1)}{{.}}<!--\u2028]]>\xff javascript:alert(1)"
	r := passing()
	r.Topology, r.Scenario, r.Reason, r.ID = evil, evil, evil, evil
	r.Passed = false
	for i := range r.Phases {
		r.Phases[i].Name += evil
	}
	r.Faults = []result.Fault{{Phase: evil, Text: evil}}
	r.Score.Lines[0].Label = evil
	r.Endpoints[0].Name, r.All.Name = evil, evil
	r.Errors[0] = result.ErrorGroup{Kind: evil, Endpoint: evil, Text: evil, Count: 1, Example: evil}
	r.Roles[0].Role, r.Roles[0].Host, r.Hosts[0].Host = evil, evil, evil
	r.Bottleneck.Text = evil
	r.Warnings = []string{evil}
	r.Facts = []result.Fact{{Key: evil, Value: evil}}
	r.Artifacts = []result.Artifact{{Path: "javascript:alert(1)", About: evil}, {Path: evil, About: evil}}
	for i := range r.Timeline {
		r.Timeline[i].CoresByRole[evil] = 0.1
	}
	return r
}

func entries() []result.Entry {
	return []result.Entry{
		{ID: empty().ID, Round: empty()},
		{ID: failing().ID, Round: failing()},
		{ID: "20261122T205500Z-damaged", Err: fmt.Errorf("read results/20261122T205500Z-damaged/round.json: line 3: damaged JSON: unexpected EOF")},
		{ID: passing().ID, Round: passing()},
	}
}
