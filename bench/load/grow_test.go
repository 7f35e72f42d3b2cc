package load_test

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"isukit/bench/load"
	"isukit/infra/infratest/wait"
)

// plant is an app with one bottleneck, as a closed queue: a user thinks, then waits for one of the servers. What a change of users does is seen
// a second later, as in a real load.
type plant struct {
	perSec         float64 // at most
	think, service float64 // seconds
	// collapse is how much of perSec is lost for each user beyond the knee, as a ratio.
	collapse float64
}

// slow is the share of hits that take longer than a person calls fast: what they wait for a server varies exponentially.
func (p plant) slow(seconds float64) float64 {
	return math.Exp((p.service - 0.5) / math.Max(1e-9, seconds-p.service))
}

// knee is the number of users at which one hit of ten is slow.
func (p plant) knee() float64 { return p.perSec * (p.think + p.service + (0.5-p.service)/math.Ln10) }

func (p plant) serve(users int) (perSec, seconds float64) {
	most := p.perSec / (1 + p.collapse*math.Max(0, float64(users)-p.knee()))
	seconds = math.Max(p.service, float64(users)/most-p.think)
	return float64(users) / (seconds + p.think), seconds
}

// play asks a shape once a second, and returns the users of each second, the hits of all, and the rule that held last.
func (p plant) play(g *load.Grow, seconds int, at func(second int) plant) (users []int, hits float64, held string) {
	s := load.State{}
	slow, before := 0.0, 0.0
	for n := range seconds {
		if at != nil {
			p = at(n)
		}
		s.Elapsed = time.Duration(n) * time.Second
		s.Kinds = []load.KindState{{Name: "GET /fast", Limit: time.Second / 2, Due: 1000}, {Name: "GET /limited", Limit: time.Second / 2, Due: 200, Slow: int(200 * math.Max(slow, before))}}
		s.Recent = load.Counts{Hits: 1000, OK: 1000}
		next, _, why := g.Next(s)
		if why != "" {
			held = why
		}
		s.Users = next
		users = append(users, next)
		rate, took := p.serve(next)
		hits += rate
		before, slow = slow, p.slow(took)
	}
	return users, hits, held
}

// TestGrowFindsTheKnee plants bottlenecks: a lock, a slow dependency, few and many servers. The users of the last third of a load are within
// 15 % of the knee, and the kind that is slow is named.
func TestGrowFindsTheKnee(t *testing.T) {
	for name, p := range map[string]plant{
		"a lock":            {perSec: 30, think: 0.1, service: 0.033},
		"a slow dependency": {perSec: 60, think: 0.5, service: 0.3},
		"CPU of the app":    {perSec: 200, think: 0.2, service: 0.01, collapse: 0.002},
		"CPU of a database": {perSec: 900, think: 0.1, service: 0.005, collapse: 0.001},
	} {
		const seconds = 60
		users, _, held := p.play(&load.Grow{}, seconds, nil)
		sum := 0.0
		for _, n := range users[2*seconds/3:] {
			sum += float64(n)
		}
		if got := sum / (seconds - 2*seconds/3); math.Abs(got/p.knee()-1) > 0.15 || !strings.HasPrefix(held, "GET /limited: ") || !strings.HasSuffix(held, " of 200 hits took longer than 500ms") {
			t.Errorf("%s: %.0f users in the last third, held by %q, want within 15 %% of %.0f: %v", name, got, held, p.knee(), users)
		}
	}
}

// TestGrowMoreUsersGiveNoFewerHits holds that a higher limit of users never costs hits, also where an app collapses beyond its knee.
func TestGrowMoreUsersGiveNoFewerHits(t *testing.T) {
	p := plant{perSec: 100, think: 0.2, service: 0.01, collapse: 0.02}
	before := 0.0
	for _, most := range []int{10, 20, 40, 60, 80, 120, 1000, 100000} {
		_, hits, _ := p.play(&load.Grow{Max: most}, 60, nil)
		if hits < 0.96*before { // what the seconds beyond the knee cost, in an app that collapses there
			t.Errorf("with at most %d users there were %.0f hits, with fewer %.0f", most, hits, before)
		}
		before = max(before, hits)
	}
}

// TestGrowFindsTheKneeAgain makes the app twice as fast in the middle of a load.
func TestGrowFindsTheKneeAgain(t *testing.T) {
	slow, fast := plant{perSec: 100, think: 0.1, service: 0.01}, plant{perSec: 200, think: 0.1, service: 0.01}
	users, _, _ := slow.play(&load.Grow{}, 120, func(second int) plant {
		if second < 30 {
			return slow
		}
		return fast
	})
	if last := float64(users[len(users)-1]); math.Abs(last/fast.knee()-1) > 0.15 {
		t.Errorf("%.0f users at the end, want about %.0f: %v", last, fast.knee(), users)
	}
}

func TestGrowRules(t *testing.T) {
	sum := func(ok, errs int64) load.Counts {
		return load.Counts{Hits: ok + errs, OK: ok, Errors: errs}
	}
	slow := []load.KindState{{Name: "GET /a", Limit: time.Second / 2, Due: 40, Slow: 3}, {Name: "POST /b", Limit: time.Second, Due: 10, Slow: 4}}
	for name, tt := range map[string]struct {
		state load.State
		users int
		held  string
	}{
		"beginning":    {load.State{}, 8, ""},
		"good":         {load.State{Users: 8, Recent: sum(100, 0)}, 10, ""},
		"few errors":   {load.State{Users: 8, Recent: sum(995, 5)}, 10, ""},
		"many errors":  {load.State{Users: 8, Recent: sum(80, 20)}, 8, "20.00 % errors, 1.00 % allowed"},
		"silent":       {load.State{Users: 8, Recent: sum(0, 0)}, 8, "no right answers"},
		"full":         {load.State{Users: 20, Recent: sum(100, 0)}, 20, "20 users are the most allowed"},
		"one slow hit": {load.State{Users: 8, Recent: sum(100, 0), Kinds: []load.KindState{{Name: "GET /a", Due: 2, Slow: 1}}}, 10, ""},
		"two of two":   {load.State{Users: 8, Recent: sum(100, 0), Kinds: []load.KindState{{Name: "PUT /c", Limit: time.Second, Due: 2, Slow: 2}}}, 10, ""},
		"rare kinds": {load.State{Users: 12, Recent: sum(100, 0), Kinds: []load.KindState{{Name: "PUT /c", Limit: time.Second, Due: 2, Slow: 2},
			{Name: "POST /d", Limit: time.Second, Due: 9, Slow: 3}}}, 12, "rarer writes: 5 of 11 hits took longer than 1s"},
		"many away":     {load.State{Users: 12, Away: 2, Recent: sum(100, 0)}, 12, "2 of 12 users left, as they waited too long"},
		"one slow kind": {load.State{Users: 12, Recent: sum(100, 0), Kinds: slow}, 12, "POST /b: 4 of 10 hits took longer than 1s"},
	} {
		g := &load.Grow{Start: 8, Max: 20}
		g.Next(load.State{Users: 8, Recent: sum(100, 0)})
		if users, again, held := g.Next(tt.state); users != tt.users || again != time.Second || held != tt.held {
			t.Errorf("%s: got %d users, %v, %q, want %d, 1s, %q", name, users, again, held, tt.users, tt.held)
		}
	}
}

// TestGrowPassesOverAPause has a kind slow for two seconds: growth waits and goes on; it goes back when the kind stays slow, and waits for what that
// brings.
func TestGrowPassesOverAPause(t *testing.T) {
	slow := []load.KindState{{Name: "GET /a", Due: 40, Slow: 20}}
	g, s := &load.Grow{}, load.State{Users: 40, Recent: load.Counts{Hits: 9, OK: 9}}
	var got []int
	for _, kinds := range [][]load.KindState{nil, slow, slow, nil, slow, slow, slow, slow} {
		s.Kinds = kinds
		s.Users, _, _ = g.Next(s)
		got = append(got, s.Users)
	}
	if want := []int{50, 50, 50, 62, 62, 62, 56, 56}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestGrowIgnoresTinyCounts has a kind that is asked for twice in two seconds, and is slow each time: it does not decide.
func TestGrowIgnoresTinyCounts(t *testing.T) {
	g, users := &load.Grow{}, 40
	kinds := []load.KindState{{Name: "GET /b", Due: 90}, {Name: "PUT /a", Limit: time.Second, Due: 2, Slow: 2}}
	for range 5 {
		next, _, held := g.Next(load.State{Users: users, Recent: load.Counts{Hits: 90, OK: 90}, Kinds: kinds})
		if next <= users || held != "" {
			t.Fatalf("%d users after %d, held by %q", next, users, held)
		}
		users = next
	}
}

// TestGrowSeesStuckUsers has users whose requests are never answered: their hits count although none of them has ended.
func TestGrowSeesStuckUsers(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-hold }))
	defer srv.Close()
	defer close(hold)
	o, err := load.ParseOrigin(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	e := load.NewEngine(load.Options{})
	stuck := e.Endpoint("GET /stuck")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan load.Report)
	go func() {
		done <- load.Run(ctx, &load.Grow{Start: 3, Max: 3}, func(n int) load.User {
			return func(ctx context.Context) {
				c := e.NewClient(n, "")
				defer c.Close()
				c.Do(ctx, &load.Request{Endpoint: stuck, Origin: o, Target: "/"}, nil)
			}
		}, e.Recorder(), nil)
	}()
	wait.For(t, "three hits under way", func() bool {
		k := e.Recorder().Kinds(0, 0, time.Now().Add(time.Hour))
		return len(k) == 1 && k[0].Due == 3 && k[0].Slow == 3
	})
	if k := e.Recorder().Kinds(0, 0, time.Now().Add(-time.Hour)); k[0].Due != 0 {
		t.Errorf("hits that are under way for less than the limit count: %+v", k[0])
	}
	cancel()
	<-done
}

// TestGrowCountsWhoIsThere has three users who leave for a while, as each hit takes more than twice its limit: they are not counted meanwhile.
func TestGrowCountsWhoIsThere(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { time.Sleep(1100 * time.Millisecond) }))
	defer srv.Close()
	o, err := load.ParseOrigin(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	e := load.NewEngine(load.Options{})
	slow := e.Endpoint("GET /slow")
	ctx, cancel := context.WithTimeout(t.Context(), wait.Limit)
	defer cancel()
	least := 3
	load.Run(ctx, &load.Grow{Start: 3, Max: 3}, func(n int) load.User {
		return func(ctx context.Context) {
			c := e.NewClient(n, "")
			defer c.Close()
			for load.Stay(ctx) == nil {
				c.Do(ctx, &load.Request{Endpoint: slow, Origin: o, Target: "/"}, nil)
			}
		}
	}, e.Recorder(), func(tk load.Tick) {
		if least = min(least, tk.Users); least == 0 {
			cancel()
		}
	})
	if least != 0 {
		t.Errorf("%d users were counted while all were away", least)
	}
}

// TestGrowStopsAtALock has a server that answers four requests at a time, each after 100 ms: growth stops, names that kind, and removes
// users.
func TestGrowStopsAtALock(t *testing.T) {
	t.Parallel()
	four := make(chan struct{}, 4)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/limited" {
			four <- struct{}{}
			time.Sleep(100 * time.Millisecond)
			<-four
		}
	}))
	defer srv.Close()
	o, err := load.ParseOrigin(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	e := load.NewEngine(load.Options{})
	free, limited := e.Endpoint("GET /free"), e.Endpoint("GET /limited")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	held, most, fell := "", 0, false
	report := load.Run(ctx, &load.Grow{}, func(n int) load.User {
		return func(ctx context.Context) {
			c := e.NewClient(n, "")
			defer c.Close()
			for load.Stay(ctx) == nil {
				c.Do(ctx, &load.Request{Endpoint: free, Origin: o, Target: "/free"}, nil)
				c.Do(ctx, &load.Request{Endpoint: limited, Origin: o, Target: "/limited"}, nil)
			}
		}
	}, e.Recorder(), func(tk load.Tick) {
		if strings.HasPrefix(tk.Held, "GET /limited") {
			held = tk.Held
		}
		fell, most = fell || tk.Users < most, max(most, tk.Users)
		if held != "" && fell || tk.Elapsed > wait.Limit {
			cancel()
		}
	})
	if held == "" || !fell || report.Knee == 0 || report.Knee > most || !strings.HasPrefix(report.Held, "GET /limited") {
		t.Errorf("held by %q, users fell: %t, at most %d; report %+v", held, fell, most, report)
	}
}
