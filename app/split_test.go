package app_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"isukit/app"
	"isukit/app/dataset"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
	portalv1 "isukit/proto/portal/v1"
)

// flakyStore fails so many of the next transactions before they begin, as a database that is away does.
type flakyStore struct {
	app.Store
	failures atomic.Int64
}

var errAway = errors.New("the database is away")

func (s *flakyStore) InTx(ctx context.Context, opts *sql.TxOptions, fn func(*sqlx.Tx) error) error {
	if s.failures.Add(-1) >= 0 {
		return errAway
	}
	return s.Store.InTx(ctx, opts, fn)
}

// TestSplitCrashes stops the end of a job between its transactions: the team is notified once anyway.
func TestSplitCrashes(t *testing.T) {
	forEachEngine(t, func(t *testing.T, engine string) {
		s := newSplitSite(t, engine, dataset.Small)
		rest := &flakyStore{Store: s.rest}
		s.rest = rest
		s.url = s.serve(t, app.RoleAll, 2)
		s.initialize(t)
		member := s.login(t, s.member(t, 0))
		crashes := []struct {
			name string
			end  func(t *testing.T, j *portalv1.Job) error
			mend func(t *testing.T, j *portalv1.Job)
		}{
			{"the app died before it told the team", s.endUntold(rest), s.tend},
			{"the worker asks again", s.endUntold(rest), func(t *testing.T, j *portalv1.Job) {
				s.worker().refused(t, 409, "job_finished", "POST", fmt.Sprintf("/worker/jobs/%d/result", j.Id), &portalv1.ReportResultRequest{Worker: "w", Score: 9})
			}},
			{"the app died after it told the team", s.endToldOnly, s.tend},
			{"nothing died", s.end, s.tend},
		}
		for n, crash := range crashes {
			j := enqueue(t, member)
			receive(t, s.worker(), "w")
			err := crash.end(t, j)
			var jobs portalv1.ListJobsResponse
			member.do(t, "GET", "/api/jobs", nil, &jobs)
			if got := jobs.Jobs[0]; got.Id != j.Id || got.Status != portalv1.JobStatus_JOB_STATUS_FINISHED || got.Score != 7 {
				t.Errorf("%s (%v): the job is %v, want it finished with score 7", crash.name, err, got)
			}
			crash.mend(t, j)
			var told portalv1.ListNotificationsResponse
			member.do(t, "GET", "/api/notifications", nil, &told)
			if got := told.Notifications; len(got) != n+1 || got[n].GetFinishedJobId() != j.Id || got[n].Seq != int64(n+1) {
				t.Errorf("%s: the notifications are %v, want %d, the last one of job %d", crash.name, got, n+1, j.Id)
			}
			if got := s.statusOf(t, j.Id); got != 3 {
				t.Errorf("%s: the job's row has status %d in the end, want 3", crash.name, got)
			}
		}
		if got := countOf(t, s, "results") - len(s.data.Jobs); got != len(crashes) {
			t.Errorf("%d results were recorded, want %d", got, len(crashes))
		}
	})
}

func (s *site) end(t *testing.T, j *portalv1.Job) error {
	t.Helper()
	return s.worker().try(t.Context(), "POST", fmt.Sprintf("/worker/jobs/%d/result", j.Id),
		&portalv1.ReportResultRequest{Worker: "w", Score: 7, Passed: true}, &portalv1.ReportResultResponse{})
}

// endUntold reports a result while the databases of the other tables are away.
func (s *site) endUntold(rest *flakyStore) func(*testing.T, *portalv1.Job) error {
	return func(t *testing.T, j *portalv1.Job) error {
		t.Helper()
		rest.failures.Store(1)
		defer rest.failures.Store(0)
		err := s.end(t, j)
		if err == nil {
			t.Error("the result was acknowledged although the team could not be told")
		}
		if got := s.statusOf(t, j.Id); got != 4 {
			t.Errorf("the job's row has status %d, want 4, untold", got)
		}
		return err
	}
}

// endToldOnly leaves the job as a process does that dies after the second transaction.
func (s *site) endToldOnly(t *testing.T, j *portalv1.Job) error {
	t.Helper()
	err := s.end(t, j)
	return errors.Join(err, s.jobs.InTx(t.Context(), nil, func(tx *sqlx.Tx) error {
		_, err := tx.Exec("UPDATE jobs SET status = 4 WHERE id = ?", j.Id)
		return err
	}))
}

func (s *site) statusOf(t *testing.T, id int64) (status int) {
	t.Helper()
	if err := s.reader("jobs").GetContext(t.Context(), &status, "SELECT status FROM jobs WHERE id = ?", id); err != nil {
		t.Fatal(err)
	}
	return status
}

// tend lets two processes tend until no job is untold; their clocks are ahead, so that they need not wait.
func (s *site) tend(t *testing.T, _ *portalv1.Job) {
	t.Helper()
	s.setShift(time.Minute)
	defer s.setShift(0)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for n := range 2 {
		go func() { ended <- s.portal(t, app.RoleAll, 3+n).Tend(ctx) }()
	}
	wait.For(t, "no job to be untold", func() bool {
		var untold int
		err := s.reader("jobs").Get(&untold, "SELECT COUNT(*) FROM jobs WHERE status = 4")
		return err != nil || untold == 0
	})
	cancel()
	if err := errors.Join(<-ended, <-ended); err != nil {
		t.Error(err)
	}
}

// TestTablesMoveBetweenDatabases prepares one server for all tables, then for jobs and results, then for the rest.
func TestTablesMoveBetweenDatabases(t *testing.T) {
	forEachEngine(t, func(t *testing.T, engine string) {
		db := infratest.StartDB(t, engine)
		db.Exec(t, "CREATE DATABASE portal CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
		for _, tables := range [][]string{allTables(), app.JobTables(), app.OtherTables()} {
			prepare(t, db, dataset.Small, tables)
			var got int
			err := db.Open(t, "portal").QueryRow("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'portal'").Scan(&got)
			if err != nil || got != len(tables) {
				t.Errorf("prepared for %v: %d tables (%v)", tables, got, err)
			}
		}
	})
}
