package session

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"isukit/bench/compare"
	"isukit/bench/experiment"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/infra/project"
	"isukit/infra/topology"
)

// TestAutotune searches three tunings and a size, of which one tuning helps and one makes rounds fail, and reads the finished search again
// without playing a round.
func TestAutotune(t *testing.T) {
	top, err := round.FindTopology("final-1")
	if err != nil {
		t.Fatal(err)
	}
	p := TunePlan{ScreenPlan: ScreenPlan{Rounds: 40, Seed: 3, Metric: "score"}, Topology: top, Sizes: []Size{{"db", "buffer_pool", 64, 256, "MiB"}}}
	for _, name := range []string{"a", "good", "failing"} {
		p.Factors = append(p.Factors, Factor{Names: []string{name}, Members: []string{name}})
	}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	j, err := NewJournal(t.TempDir(), "autotune", p)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(played, "noisy round")
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	j.Isukit, j.Common, j.Say = os.Args[0], []string{"--results", j.Results}, say
	r, err := (&Autotune{Screen: Screen{Journal: j, Say: say}, Plan: p}).Run(t.Context())
	j.Close()
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(said, "\n"))
	}
	if best := strings.Join(r.Best, " "); !strings.Contains(best, "good") || strings.Contains(best, "failing") || !strings.Contains(best, "--topology ") {
		t.Errorf("the best is %q\n%s", best, strings.Join(said, "\n"))
	}
	if c := r.Confirmed; c == nil || c.Verdict != compare.Better || c.Ratio < 1.15 || c.Ratio > 1.35 || c.Pairs < compare.MinPairs {
		t.Errorf("confirmed %+v, want about 1.25", c)
	}
	if notes := strings.Join(r.Page(p, j.Played).Notes, "\n"); !strings.Contains(notes, "confirmed in") || !strings.Contains(notes, "against baseline") || len(r.Page(p, j.Played).Tables[0].Rows) != 4 {
		t.Errorf("%s", notes)
	}
	var again TunePlan
	j, err = OpenJournal(t.Context(), j.Path, "", "autotune", &again, say)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	j.Results, j.Isukit = strings.TrimSuffix(j.Path, "/"+j.Path[strings.LastIndex(j.Path, "/")+1:]), "/nonexistent"
	said = nil
	second, err := (&Autotune{Screen: Screen{Journal: j, Say: say}, Plan: again}).Run(t.Context())
	if err != nil || strings.Join(second.Best, " ") != strings.Join(r.Best, " ") || second.Confirmed.Ratio != r.Confirmed.Ratio {
		t.Errorf("read again: %v, %+v, want %+v", err, second, r)
	}
	if text := strings.Join(said, "\n"); strings.Contains(text, " of 40 (") {
		t.Errorf("rounds of the earlier session are told again:\n%s", text)
	}
}

func TestParseSize(t *testing.T) {
	z, err := ParseSize("db.buffer_pool=128MiB..512MiB")
	if err != nil || z.At(0) != "buffer_pool: 128MiB" || z.At(4) != "buffer_pool: 256MiB" || z.At(8) != "buffer_pool: 512MiB" {
		t.Errorf("%+v, %v: %s %s %s", z, err, z.At(0), z.At(4), z.At(8))
	}
	for _, text := range []string{"", "db=1..2", "db.x=2..1", "db.x=1MiB..2", "db.x=a..b", "db.x=0..4"} {
		if z, err := ParseSize(text); err == nil {
			t.Errorf("%q is %+v, want an error", text, z)
		}
	}
	top, err := round.FindTopology("single")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"cache.x=1..2": "not found", "db.pool=1..2": "pool", "web.db_connections=1..8": "db_connections"} {
		z, err := ParseSize(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := (TunePlan{Topology: top, Sizes: []Size{z}}).Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// fitRound is a round of final-1 that is fit to learn from: the database costs most.
func fitRound() *result.Round {
	r := &result.Round{ID: "r", Topology: "final-1", Scenario: "portal", Passed: true, All: result.Endpoint{Hits: 2000, OK: 2000}}
	r.Generator.PeakUsers = 40
	for role, cpu := range map[string]float64{"proxy-1@s1": 1, "web-1@s1": 2, "api-1@s1": 0.5, "db-1@s2": 8} {
		name, host, _ := strings.Cut(role, "@")
		r.Roles = append(r.Roles, result.RoleUsage{Role: name, Host: host, CPUSeconds: cpu, PeakRSSBytes: 100 << 20})
	}
	r.Hosts = []result.HostUsage{{Host: "s1", CPUs: 1, MemoryBytes: 1 << 30, Busy: 0.3}, {Host: "s2", CPUs: 1, MemoryBytes: 2 << 30, Busy: 0.6}}
	return r
}

func TestAdvise(t *testing.T) {
	top, err := round.FindTopology("final-1")
	if err != nil {
		t.Fatal(err)
	}
	a, err := Advise(fitRound(), OfTopology(top))
	if err != nil {
		t.Fatal(err)
	}
	if a.Hosts[2].Cores != 2 {
		t.Errorf("s3 declares 4 CPUs and the others had half of theirs: it has %g, want 2", a.Hosts[2].Cores)
	}
	best := a.where(a.Ranked[0].Placement)
	if len(best.Where["db"]) != 1 || best.Where["db"][0] != "s3" || a.Today < 1 || a.Ranked[a.Today].Placement.Name != "proxy=s1 web=s1 api=s1 db=s2" {
		t.Errorf("the best is %v, today %d: want the database, which costs most, on the host with most CPUs", best, a.Today)
	}
	places := a.Places()
	if len(places) != mostPlaces+1 || places[0].Name != a.Ranked[a.Today].Placement.Name {
		t.Errorf("places %v, want today's and %d", places, mostPlaces)
	}
	text, err := round.Place(top, "advised", best)
	if err != nil {
		t.Fatal(err)
	}
	placed, err := topology.Parse("advised", text)
	if err != nil || placed.Of(topology.DB)[0].Host != "s3" || placed.Of(topology.Proxy)[0].Kind != top.Of(topology.Proxy)[0].Kind || len(placed.Hosts) != 3 || placed.Hosts[2] != top.Hosts[2] {
		t.Errorf("the file is\n%s\n%v", text, err)
	}
	replicated, err := round.FindTopology("fanout-2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Advise(fitRound(), OfTopology(replicated)); err == nil || !strings.Contains(err.Error(), "several databases") {
		t.Errorf("a topology of two databases: %v", err)
	}
}

// TestAdviseTables divides the tables of the digest: what one statement joins stays together.
func TestAdviseTables(t *testing.T) {
	top, err := round.FindTopology("final-1")
	if err != nil {
		t.Fatal(err)
	}
	r := fitRound()
	for text, seconds := range map[string]float64{
		"SELECT * FROM teams t JOIN `users` u ON u.id = t.leader WHERE t.id = ?": 12, "SELECT id FROM jobs WHERE state = ? FOR UPDATE": 4,
		"INSERT INTO results (job) VALUES (?) ON DUPLICATE KEY UPDATE score = ?": 2, "UPDATE jobs SET state = ?": 2, "SELECT ? FROM jobs JOIN results r ON r.job = jobs.id": 0, "COMMIT": 0,
	} {
		r.Queries.Queries = append(r.Queries.Queries, result.Query{Fingerprint: text, Time: result.Spread{SumSeconds: seconds}})
	}
	a, err := Advise(r, OfTopology(top))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(a.Data, "20 % of the time was of writes") || !strings.Contains(a.Data, "jobs, results (40 % of the time)") {
		t.Errorf("%s", a.Data)
	}
	both := map[string]float64{"all tables on both": 0.6, "the first has jobs results": 0.4, secondFirst + "jobs results": 0.4}
	for _, p := range a.Ranked {
		_, data, _ := strings.Cut(p.Placement.Name, ", ")
		where := a.where(p.Placement)
		if part, ok := both[data]; ok && (len(where.Where["db"]) != 2 || !slices.ContainsFunc(p.Placement.Parts[3], func(v float64) bool { return math.Abs(v-part) < 1e-9 }) || (len(where.Tables) == 2) != strings.Contains(data, "jobs")) {
			t.Errorf("%s: parts %v, %+v", p.Placement.Name, p.Placement.Parts[3], where)
		}
		if data != "" {
			delete(both, data)
			if text, err := round.Place(top, "advised", where); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
		}
	}
	if len(both) > 0 {
		t.Errorf("no placement with %v", both)
	}
}

// TestAdviseProject ranks the placements of a project's roles: the costly database goes to the largest host, roles that a proxy passes to may be on
// several, and what the file speaks against is left out.
func TestAdviseProject(t *testing.T) {
	p, err := project.Parse([]byte(`name: shop
hosts: [{name: s1, address: s1}, {name: s2, address: s2}]
roles:
  db: {units: [mariadb], port: 3306, mysql: {schema: shop, user: shop, password_env: PASS, clients: [app]}}
  app: {units: [shop], port: 1323, env: {/etc/shop: {DB: "{db}", CACHE: "{cache}"}}}
  cache: {units: [memcached], port: 11211}
  proxy: {units: [nginx], port: 80, swap: {/etc/nginx/shop.conf: {"localhost:1323": app}}}
  side: {units: [side], with: app}
topologies:
  one: {db: s1, app: s1, cache: s1, proxy: s1}
benchmark: {external: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	one, _ := p.Placement("one")
	r := &result.Round{ID: "r", Topology: "one", Scenario: "external", Passed: true, All: result.Endpoint{Hits: 2000, OK: 2000}, LoadSeconds: 10}
	for process, role := range map[string]string{"mariadbd": "db", "shop": "app", "memcached": "cache", "nginx": "proxy", "side": "side", "sshd": ""} {
		u := result.RoleUsage{Role: process, Of: role, Host: "s1", CPUSeconds: 1, MeanCores: 0.1, PeakRSSBytes: 10 << 20}
		if role == "db" {
			u.CPUSeconds = 8
		}
		r.Roles = append(r.Roles, u)
	}
	r.Hosts = []result.HostUsage{{Host: "s1", CPUs: 2, MemoryBytes: 1 << 30, Busy: 0.5}, {Host: "s2", CPUs: 4, MemoryBytes: 1 << 30}, {Host: "elsewhere", CPUs: 64}}
	a, err := Advise(r, OfProject(p, one))
	if err != nil {
		t.Fatal(err)
	}
	best := a.where(a.Ranked[0].Placement).Where
	if !slices.Equal(best["db"], []string{"s2"}) || slices.Contains(best["app"], "s2") && len(best["app"]) == 1 || !slices.Equal(best["side"], best["app"]) || a.Today < 1 || len(a.Hosts) != 2 {
		t.Errorf("the best is %v, today is %d of %d", best, a.Today, len(a.Ranked))
	}
	page := a.Page()
	if len(page.Tables[0].Columns) != 4 || !page.Tables[0].Rows[0][2].Drawn || !strings.Contains(strings.Join(page.Notes, "\n"), "advised: {db: [s2], app: [") {
		t.Errorf("%+v", page)
	}
	spread := slices.ContainsFunc(a.Ranked, func(q experiment.Prediction) bool { return len(a.where(q.Placement).Where["app"]) == 2 })
	if !spread || slices.ContainsFunc(a.Ranked, func(q experiment.Prediction) bool { return len(a.where(q.Placement).Where["cache"]) == 2 }) {
		t.Error("the app may be on both hosts, the cache may not")
	}
	r.Roles = append(r.Roles, result.RoleUsage{Role: "java", Host: "s1", MeanCores: 0.9})
	if _, err := Advise(r, OfProject(p, one)); err == nil || !strings.Contains(err.Error(), "java on s1") {
		t.Errorf("a process of no role: %v", err)
	}
}

func TestAdviseRefusesUnfitRounds(t *testing.T) {
	top, err := round.FindTopology("final-1")
	if err != nil {
		t.Fatal(err)
	}
	app := OfTopology(top)
	for want, spoil := range map[string]func(*result.Round){
		"it failed":     func(r *result.Round) { r.Passed, r.Reason = false, "load failed" },
		"95 % busy":     func(r *result.Round) { r.Hosts[1].Busy = 0.95 },
		"had errors":    func(r *result.Round) { r.All.Errors = 1 },
		"timers":        func(r *result.Round) { r.Generator.Limits = []string{"the generator's timers were late"} },
		"only 100":      func(r *result.Round) { r.All.Hits = 100 },
		"other process": func(r *result.Round) { r.Hosts[0].Foreign = 0.5 },
		"of the laten":  func(r *result.Round) { r.All.Latency.P90Ms = 900 },
	} {
		r := fitRound()
		spoil(r)
		if why, hint := app.unfit(r); !strings.Contains(why, want) || hint == "" {
			t.Errorf("want %q, got %q with hint %q", want, why, hint)
		}
	}
	r := fitRound()
	r.Hosts[1].Busy = 0.95
	if _, hint := app.unfit(r); !strings.Contains(hint, "isukit round -t final-1 --users 25") {
		t.Errorf("hint %q, want fewer users than 40", hint)
	}
}
