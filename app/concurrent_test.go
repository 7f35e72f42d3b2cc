package app_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"isukit/app"
	"isukit/app/dataset"
	portalv1 "isukit/proto/portal/v1"
	"isukit/proto/wire"
)

// rounds is how often each race is run: a race that is lost once in a few hundred times is found, most days.
const rounds = 15

// TestRaces runs requests at the same time of which one may win, through two processes of the portal.
func TestRaces(t *testing.T) {
	onEngines(t, func(t *testing.T, s *site) { testRaces(t, s) })
}

// TestRacesOnReplicas does the same on two replicas, which must hold the same rows at the end.
func TestRacesOnReplicas(t *testing.T) {
	forEachEngine(t, func(t *testing.T, engine string) {
		s := newSite(t, engine, dataset.Small, 2)
		testRaces(t, s)
		s.checkReplicas(t)
	})
}

// testRaces runs the races of these names, or all.
func testRaces(t *testing.T, s *site, only ...string) {
	s.initialize(t)
	second := *s
	second.url = s.serve(t, app.RoleAll, 2)
	races := []struct {
		name string
		run  func(t *testing.T, a, b *site)
	}{
		{"sign-ups of one name", raceSignups},
		{"two jobs of a team", raceEnqueues},
		{"two results of a job", raceResults},
		{"two teams of a founder", raceTeams},
		{"two founders of a name", raceTeamNames},
		{"the last place in a team", raceJoins},
		{"many workers", raceWorkers},
		{"notifications", raceNotifications},
		{"initialize under load", raceInitialize},
	}
	for _, race := range races {
		if len(only) > 0 && !slices.Contains(only, race.name) {
			continue
		}
		t.Run(race.name, func(t *testing.T) { race.run(t, s, &second) })
	}
	if log := s.log.String(); strings.Contains(log, `"status":5`) {
		t.Errorf("the portal answered 5xx:\n%s", log)
	}
}

// together runs the calls at the same time and gives their errors.
func together(calls ...func() error) []error {
	errs := make([]error, len(calls))
	var ready, done sync.WaitGroup
	ready.Add(1)
	for i, call := range calls {
		done.Go(func() {
			ready.Wait()
			errs[i] = call()
		})
	}
	ready.Done()
	done.Wait()
	return errs
}

// oneWins wants all but one call to be refused with 409 and this code.
func oneWins(t *testing.T, code string, errs []error) {
	t.Helper()
	won := 0
	for _, err := range errs {
		var f *wire.Fault
		switch {
		case err == nil:
			won++
		case !errors.As(err, &f) || f.Status != 409 || f.Code != code:
			t.Errorf("a call that lost: %v, want 409 %s", err, code)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d calls won, want 1", won, len(errs))
	}
}

func raceSignups(t *testing.T, a, b *site) {
	for n := range rounds {
		var calls []func() error
		for i := range 6 {
			c := []*site{a, b}[i%2].client()
			calls = append(calls, func() error {
				return c.try(t.Context(), "POST", "/api/signup",
					&portalv1.SignupRequest{Name: fmt.Sprint("race-", n), Password: "long enough"}, &portalv1.SignupResponse{})
			})
		}
		oneWins(t, "name_taken", together(calls...))
	}
}

func raceEnqueues(t *testing.T, a, b *site) {
	clients := []*client{a.login(t, a.member(t, 0)), b.login(t, b.member(t, 0))}
	for range rounds {
		var calls []func() error
		for i := range 6 {
			calls = append(calls, func() error {
				return clients[i%2].try(t.Context(), "POST", "/api/jobs", &portalv1.EnqueueJobRequest{Target: "t"}, &portalv1.EnqueueJobResponse{})
			})
		}
		oneWins(t, "job_unfinished", together(calls...))
		w := a.worker()
		finish(t, w, receiveAgain(t, a), 1, true)
	}
}

// receiveAgain reads which job waits, without giving it to a worker.
func receiveAgain(t *testing.T, s *site) *portalv1.Job {
	t.Helper()
	var id int64
	if err := s.reader("jobs").GetContext(t.Context(), &id, "SELECT id FROM jobs WHERE status = 1 ORDER BY id LIMIT 1"); err != nil {
		t.Fatal(err)
	}
	return &portalv1.Job{Id: id}
}

func raceResults(t *testing.T, a, b *site) {
	c := a.login(t, a.member(t, 1))
	before := countOf(t, a, "results")
	for range rounds {
		j := enqueue(t, c)
		receive(t, a.worker(), "w")
		var calls []func() error
		for i := range 6 {
			w := []*site{a, b}[i%2].worker()
			calls = append(calls, func() error {
				return w.try(t.Context(), "POST", fmt.Sprintf("/worker/jobs/%d/result", j.Id),
					&portalv1.ReportResultRequest{Worker: "w", Score: int64(i), Passed: true}, &portalv1.ReportResultResponse{})
			})
		}
		oneWins(t, "job_finished", together(calls...))
	}
	if got := countOf(t, a, "results") - before; got != rounds {
		t.Errorf("%d results were recorded, want %d", got, rounds)
	}
}

func countOf(t *testing.T, s *site, table string) (n int) {
	t.Helper()
	if err := s.reader(table).GetContext(t.Context(), &n, "SELECT COUNT(*) FROM "+table); err != nil {
		t.Fatal(err)
	}
	return n
}

func raceTeams(t *testing.T, a, b *site) {
	for n := range 5 {
		a.initialize(t)
		founders := []*client{a.login(t, a.free(t, 0)), b.login(t, a.free(t, 0))}
		var calls []func() error
		for i := range 6 {
			calls = append(calls, func() error {
				return founders[i%2].try(t.Context(), "POST", "/api/teams",
					&portalv1.CreateTeamRequest{Name: fmt.Sprintf("race %d %d", n, i)}, &portalv1.CreateTeamResponse{})
			})
		}
		oneWins(t, "in_team", together(calls...))
	}
}

func raceTeamNames(t *testing.T, a, b *site) {
	for n := range 3 {
		a.initialize(t)
		var calls []func() error
		for i := range 6 {
			c := []*site{a, b}[i%2].login(t, a.free(t, i))
			calls = append(calls, func() error {
				return c.try(t.Context(), "POST", "/api/teams", &portalv1.CreateTeamRequest{Name: fmt.Sprint("one name ", n)}, &portalv1.CreateTeamResponse{})
			})
		}
		oneWins(t, "team_name_taken", together(calls...))
	}
}

func raceJoins(t *testing.T, a, b *site) {
	for range 3 {
		a.initialize(t)
		team := a.roomyTeam(t, 0)
		for n := 0; n < 2-len(team.MemberIDs); n++ { // leave one place
			a.login(t, a.free(t, 10+n)).do(t, "POST", fmt.Sprintf("/api/teams/%d/members", team.ID),
				&portalv1.JoinTeamRequest{InviteToken: team.InviteToken}, &portalv1.JoinTeamResponse{})
		}
		var calls []func() error
		for i := range 6 {
			c := []*site{a, b}[i%2].login(t, a.free(t, i))
			calls = append(calls, func() error {
				return c.try(t.Context(), "POST", fmt.Sprintf("/api/teams/%d/members", team.ID),
					&portalv1.JoinTeamRequest{InviteToken: team.InviteToken}, &portalv1.JoinTeamResponse{})
			})
		}
		oneWins(t, "team_full", together(calls...))
	}
}

// raceWorkers checks that every job is handed out once, to any worker.
func raceWorkers(t *testing.T, a, b *site) {
	a.initialize(t)
	var want []int64
	for n := range 40 {
		want = append(want, enqueue(t, a.login(t, a.member(t, n))).Id)
	}
	var mu sync.Mutex
	var got []int64
	var calls []func() error
	for i := range 8 {
		w := []*site{a, b}[i%2].worker()
		calls = append(calls, func() error {
			for {
				var res portalv1.ReceiveJobResponse
				err := w.try(t.Context(), "POST", "/worker/jobs/receive", &portalv1.ReceiveJobRequest{Worker: fmt.Sprint("w", i)}, &res)
				if err != nil || res.Job == nil {
					return err
				}
				mu.Lock()
				got = append(got, res.Job.Id)
				mu.Unlock()
			}
		})
	}
	if err := errors.Join(together(calls...)...); err != nil {
		t.Error(err)
	}
	for rest := receive(t, a.worker(), "w"); rest != nil; rest = receive(t, a.worker(), "w") {
		got = append(got, rest.Id) // a worker may find nothing while others hold what waits
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("received %v, want %v", got, want)
	}
}

// raceNotifications ends a team's job and answers its questions at the same time: the numbers have no gap.
func raceNotifications(t *testing.T, a, b *site) {
	a.initialize(t)
	c, admin := a.login(t, a.member(t, 2)), b.admin(t)
	var asked [4]portalv1.AskClarificationResponse
	for i := range asked {
		c.do(t, "POST", "/api/clarifications", &portalv1.AskClarificationRequest{Question: "?"}, &asked[i])
	}
	for range rounds {
		j := enqueue(t, c)
		receive(t, a.worker(), "w")
		calls := []func() error{func() error {
			return a.worker().try(t.Context(), "POST", fmt.Sprintf("/worker/jobs/%d/result", j.Id),
				&portalv1.ReportResultRequest{Worker: "w"}, &portalv1.ReportResultResponse{})
		}}
		for i := range asked {
			calls = append(calls, func() error {
				return admin.try(t.Context(), "PUT", fmt.Sprint("/api/clarifications/", asked[i].Clarification.Id),
					&portalv1.AnswerClarificationRequest{Answer: "!"}, &portalv1.AnswerClarificationResponse{})
			})
		}
		if err := errors.Join(together(calls...)...); err != nil {
			t.Fatal(err)
		}
	}
	var seqs []int64
	for last := int64(0); ; last = seqs[len(seqs)-1] {
		var page portalv1.ListNotificationsResponse
		c.do(t, "GET", fmt.Sprint("/api/notifications?after=", last), nil, &page)
		if len(page.Notifications) == 0 {
			break
		}
		for _, n := range page.Notifications {
			seqs = append(seqs, n.Seq)
		}
	}
	for i, seq := range seqs {
		if seq != int64(i+1) {
			t.Fatalf("notification %d has number %d", i+1, seq)
		}
	}
	if len(seqs) != 5*rounds {
		t.Errorf("%d notifications, want %d", len(seqs), 5*rounds)
	}
}

// raceInitialize resets the data again and again, also from two processes, while everything else runs: no answer is a 5xx, and the dataset
// is left. The others pause for twice as long as their requests took: a slow machine would have no time left for the initializes.
func raceInitialize(t *testing.T, a, b *site) {
	a.initialize(t)
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for i := range 6 {
		s := []*site{a, b}[i%2]
		c, w := s.login(t, a.member(t, i)), s.worker()
		load.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				began := time.Now()
				errs := []error{
					c.try(ctx, "POST", "/api/jobs", &portalv1.EnqueueJobRequest{Target: "t"}, &portalv1.EnqueueJobResponse{}),
					c.try(ctx, "GET", "/api/dashboard", nil, &portalv1.GetDashboardResponse{}),
					c.try(ctx, "GET", "/api/leaderboard", nil, &portalv1.GetLeaderboardResponse{}),
					c.try(ctx, "POST", "/api/signup", &portalv1.SignupRequest{Name: fmt.Sprintf("init-%d-%d", i, n), Password: "long enough"}, &portalv1.SignupResponse{}),
					c.try(ctx, "GET", "/api/teams?tag=go", nil, &portalv1.SearchTeamsResponse{}),
				}
				var res portalv1.ReceiveJobResponse
				errs = append(errs, w.try(ctx, "POST", "/worker/jobs/receive", &portalv1.ReceiveJobRequest{Worker: "w"}, &res))
				if res.Job != nil {
					errs = append(errs, w.try(ctx, "POST", fmt.Sprintf("/worker/jobs/%d/result", res.Job.Id),
						&portalv1.ReportResultRequest{Worker: "w"}, &portalv1.ReportResultResponse{}))
				}
				for _, err := range errs {
					var f *wire.Fault
					if err != nil && ctx.Err() == nil && (!errors.As(err, &f) || f.Status >= 500) {
						t.Errorf("while initializing: %v", err)
					}
				}
				c = s.client() // the session of the newcomer is over once his row is gone
				if err := c.try(ctx, "POST", "/api/login", &portalv1.LoginRequest{Name: a.data.Contestants[n%100].Name, Password: a.data.Contestants[n%100].Password}, &portalv1.LoginResponse{}); err != nil && ctx.Err() == nil {
					t.Errorf("login while initializing: %v", err)
				}
				time.Sleep(2 * time.Since(began))
			}
		})
	}
	initialize := func(s *site) func() error {
		return func() error {
			return s.client().try(t.Context(), "POST", "/initialize", &portalv1.InitializeRequest{}, &portalv1.InitializeResponse{})
		}
	}
	for range 3 {
		start := time.Now()
		if err := errors.Join(together(initialize(a), initialize(b), initialize(b))...); err != nil {
			t.Errorf("initialize three times at once: %v", err)
		}
		t.Logf("three initializes under load took %v", time.Since(start))
	}
	cancel()
	load.Wait()
	testInitialize(t, a)
}
