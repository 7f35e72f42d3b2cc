package report_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/infra/infratest"
)

// watched is a round of an app with a benchmark of its own, on two hosts. evil is put wherever a text comes from outside.
func watched(evil string) *result.Round {
	rnd := rand.New(rand.NewPCG(3, 1))
	began := time.Date(2026, 11, 22, 20, 15, 3, 0, time.UTC)
	r := &result.Round{
		Format: 1, ID: "20261122T201503Z-private-isu", StartedAt: began, Topology: "private-isu" + evil, Scenario: "external", LoadSeconds: 60, Passed: true,
		Score:      result.Score{Total: 12345, Lines: []result.ScoreLine{{Label: "reported by the benchmark", Count: 1, Each: 12345, Points: 12345}}},
		Phases:     []result.Phase{{Name: "rotate", DurationSeconds: 0.3, OK: true}, {Name: "restart", StartSeconds: 0.3, DurationSeconds: 4, OK: true}, {Name: "load", StartSeconds: 4.3, DurationSeconds: 60, OK: true}},
		Benchmark:  result.Benchmark{Command: "./bench" + evil, ScoreFrom: "command", Began: began, Ended: began.Add(time.Minute), Messages: []string{"GET /logout timed out" + evil}},
		All:        result.Endpoint{Name: "all", Hits: 9000, OK: 8990, Errors: 10, Latency: result.Latency{P50Ms: 12, P90Ms: 80, P99Ms: 412, MaxMs: 2100}},
		Bottleneck: result.Bottleneck{Resource: "cpu", Host: "s1", Text: "CPU of s1: 98 % busy, and mysqld used 1.40 of its 2 cores."},
		Warnings:   []string{"2 of 9000 lines of the access logs could not be read" + evil},
		Facts:      []result.Fact{{Key: "commit", Value: "4ae102a index on comments" + evil}},
		Hosts:      []result.HostUsage{{Host: "s1", CPUs: 2, MemoryBytes: 2 << 30, Busy: 0.98}, {Host: "s2", CPUs: 2, MemoryBytes: 2 << 30, Busy: 0.2}},
	}
	for i := range 60 {
		r.Timeline = append(r.Timeline, result.Second{At: i, Hits: 100 + int64(rnd.IntN(90)), Errors: int64(rnd.IntN(20) / 18), P50Ms: 8 + 4*rnd.Float64(), P99Ms: 100 + 300*rnd.Float64(),
			CoresByRole: map[string]float64{"mysqld@s1": 1.2 + 0.3*rnd.Float64(), "app@s1" + evil: 0.3 * rnd.Float64(), "nginx@s2": 0.3 * rnd.Float64()}, BusyByHost: map[string]float64{"s1": 0.98, "s2": 0.2}})
	}
	for _, host := range []string{"s1", "s2"} {
		s := result.HostSeries{Host: host + evil, Processes: []result.ProcessUsage{{Name: "mysqld", CPUSeconds: 80}}}
		for i := range 60 {
			s.Seconds = append(s.Seconds, result.HostSecond{At: float64(i) + 0.1, User: 0.7, System: 0.2, IOWait: 0.1 * rnd.Float64(), MemoryBytes: 1 << 30, DiskWritten: 3e6 * rnd.Float64(),
				DiskBusy: 0.3 * rnd.Float64(), NetSent: 9e6 * rnd.Float64(), Connections: int64(20 + rnd.IntN(10)), TimeWait: int64(rnd.IntN(400))})
		}
		r.Series = append(r.Series, s)
	}
	spread := func(n int64, ms float64) result.Spread {
		return result.Spread{Count: n, SumSeconds: float64(n) * ms / 900, P50Ms: ms, P90Ms: 3 * ms, P95Ms: 4 * ms, P99Ms: 9 * ms, MaxMs: 20 * ms}
	}
	for i, path := range []string{"/", "/posts/{id}", "/image/{id}.jpg", "/@{slug}", "/login", "/comment" + evil} {
		n := int64(3000 / (i + 1))
		r.Access.Routes = append(r.Access.Routes, result.Route{Method: "GET", Path: path, Hits: n, Status: map[string]int64{"2xx": n - 3, "4xx": 2, "5xx": 1}, Request: spread(n, 20), Upstream: spread(n, 19), SentBytes: n * 9000,
			Slowest: []result.SlowRequest{{At: time.Date(2026, 11, 22, 20, 15, 1, 0, time.UTC), Ms: 400, Status: 200, Target: path + "?max=" + strings.Repeat("1", 90) + evil}, {Ms: 300, Status: 500, Target: path}}})
	}
	r.Access.Lines, r.Access.Unreadable, r.Access.Total = 9002, 2, r.Access.Routes[0]
	r.Access.Examples = []result.UnreadableLine{{File: "access.log", Line: 17, Text: "half a li" + evil}}
	for i, text := range []string{"select * from `posts` order by `created_at` desc", "select count(*) as `count` from `comments` where `post_id` = ?", "insert into `comments` (`post_id`, `user_id`, `comment`) values (?+)"} {
		r.Queries.Queries = append(r.Queries.Queries, result.Query{ID: fmt.Sprint(i), Fingerprint: text + evil, Time: spread(int64(5000/(i+1)), 7), RowsExamined: 1e8, RowsSent: 1e4,
			Example: strings.ToUpper(text) + evil, Explain: "+----+\n| id |\n+----+\n|  1 | " + strings.Repeat("wide ", 40) + evil + "\n+----+", Routes: map[string]int64{"GET /" + evil: 17}})
	}
	r.Queries.Statements, r.Queries.Sources = 9100, []string{"slow log of s1"}
	r.Profiles = []result.Profile{{Host: "s1", Name: "cpu of http://localhost:6060", Unit: "nanoseconds", Total: 8e9, Frames: []result.Frame{
		{Name: "all", Value: 8e9}, {Name: "net/http.(*conn).serve", Depth: 1, Value: 6e9}, {Name: "main.getIndex" + evil, Depth: 2, Value: 4e9, Self: 1e9},
		{Name: "main.makePosts" + evil, Depth: 3, Value: 3e9, Self: 3e9}, {Name: "main.getImage", Depth: 2, From: 4e9, Value: 2e9, Self: 2e9}, {Name: "GET /posts/:id" + evil, Depth: 1, From: 6e9, Value: 1e9}, {Name: "main.getPost", Depth: 2, From: 6e9, Value: 1e9, Self: 1e9},
		{Name: "runtime.gcBgMarkWorker", Depth: 1, From: 7e9, Value: 1e9, Self: 1e9}}}}
	r.Settings = []result.Settings{{Host: "s1", Source: "sysctl", Values: map[string]string{"net.core.somaxconn": "4096" + evil, "vm.swappiness": "60"}}}
	return r
}

func TestWatchedText(t *testing.T) {
	var b strings.Builder
	if err := report.Text(&b, watched("\x1b[2J"), report.Style{Width: 100}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"private-isu", "its own benchmark for 60.0 s", "GET /logout timed out", "GET /posts/{id}", "select count(*)", "2 of 9,002 lines could not be read", "CPU of s1"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "\x1b[2J") {
		t.Error("an escape sequence gets through")
	}
}

func TestSummary(t *testing.T) {
	text := report.Summary(watched("\x1b[2J"), 3)
	for _, want := range []string{"PASS  score 12,345", "limit: CPU of s1", "commit: 4ae102a", "route: GET /", "query: select"} {
		if !strings.Contains(text, want) {
			t.Errorf("the summary lacks %q:\n%s", want, text)
		}
	}
}

// TestWatchedPageInChromium looks at the page of an app with a benchmark of its own at both widths and in both themes, and
// uses its flame graph with the keyboard.
func TestWatchedPageInChromium(t *testing.T) {
	b := infratest.StartBrowser(t)
	const evil = "</script><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
	for name, r := range map[string]*result.Round{"watched": watched(""), "watched-hostile": watched(evil)} {
		path := savePage(t, r)
		for _, width := range []int{1280, 400} {
			for _, scheme := range []string{"light", "dark"} {
				b.View(width, scheme)
				b.Open(path)
				var wide []string
				b.Eval(`[...document.querySelectorAll('body, body > *, section')].filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.tagName + '#' + e.id).concat(
					document.documentElement.scrollWidth > innerWidth ? ['page ' + document.documentElement.scrollWidth] : [])`, &wide)
				if len(wide) > 0 {
					t.Errorf("%s at %d px: wider than the window: %v", name, width, wide)
				}
				b.Shoot(fmt.Sprintf("%s-%d-%s", name, width, scheme))
			}
		}
		var title string
		if b.Eval("document.title", &title); title == "pwned" {
			t.Errorf("%s: a text of the round was run as a script", name)
		}
	}
	b.View(1280, "light")
	b.Open(savePage(t, watched("")))
	var sections []string
	b.Eval(`['routes','queries','flame0','settings','messages','usage'].filter(id => !document.getElementById(id))`, &sections)
	if len(sections) > 0 {
		t.Errorf("the page has no %v", sections)
	}
	shown := func() (n int) {
		b.Eval(`[...document.querySelectorAll('#flame0 .box')].filter(x => x.getBoundingClientRect().width > 0).length`, &n)
		return n
	}
	if n := shown(); n != 8 {
		t.Errorf("%d boxes, want 8", n)
	}
	press := func() {
		b.Must("Input.dispatchKeyEvent", map[string]any{"type": "keyDown", "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}, nil)
	}
	var text string
	b.Eval(`document.querySelectorAll('#flame0 .box')[2].focus(), document.querySelector('#flame0 .hover').textContent`, &text)
	press()
	if n := shown(); n != 4 || !strings.HasPrefix(text, "main.getIndex: 50 %") {
		t.Errorf("after Enter on main.getIndex %d boxes are shown, want it, its callers and what it calls; the line says %q", n, text)
	}
	b.Eval(`document.querySelectorAll('#flame0 .box')[0].focus(), ''`, &text)
	press()
	if n := shown(); n != 8 {
		t.Errorf("after Enter on the root %d boxes are shown, want all 8", n)
	}
	// A route leads to its part of the flame graph, and to its slowest requests.
	var route struct{ Link, Slowest string }
	b.Eval(`(() => { const cell = [...document.querySelectorAll('#routes tbody td:first-child')].find(c => c.textContent.startsWith('GET /posts/{id}')), link = [...cell.querySelectorAll('a')].find(a => a.textContent === 'flame graph');
		link.click(); return {Link: link.hash, Slowest: cell.querySelector('li').textContent}; })()`, &route)
	if n := shown(); n != 3 || route.Link != "#flame0" || !strings.HasPrefix(route.Slowest, "400 ms, 200, ") || !strings.Contains(route.Slowest, ": /posts/{id}?max=111") {
		t.Errorf("the route leads to %+v, of which %d boxes are shown, want its own, what it calls and the root", route, n)
	}
	var open bool
	b.Eval(`document.querySelector('#queries td a').click(), document.getElementById('q0').open`, &open)
	if !open {
		t.Error("a click on a query does not open it")
	}
	if got := b.Complaints(); len(got) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(got, "\n"))
	}
}
