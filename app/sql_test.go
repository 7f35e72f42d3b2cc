package app_test

import (
	"errors"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"isukit/app/dataset"
	portalv1 "isukit/proto/portal/v1"
)

// TestJSONContainsNeedsJSONQuote shows why every search quotes its tag: without JSON_QUOTE, MySQL answers error 3141,
// and MariaDB, which is worse, nothing at all.
func TestJSONContainsNeedsJSONQuote(t *testing.T) {
	onEngines(t, func(t *testing.T, s *site) {
		s.initialize(t)
		want := 0
		for _, team := range s.data.Teams {
			for _, tag := range team.Tags {
				if tag == "学生" {
					want++
				}
			}
		}
		var got int
		err := s.pool.Reader().GetContext(t.Context(), &got, "SELECT COUNT(*) FROM teams WHERE JSON_CONTAINS(tags, JSON_QUOTE(?))", "学生")
		if err != nil || got != want || want == 0 {
			t.Errorf("with JSON_QUOTE: %d teams (%v), want %d", got, err, want)
		}
		err = s.pool.Reader().GetContext(t.Context(), &got, "SELECT COUNT(*) FROM teams WHERE JSON_CONTAINS(tags, ?)", "学生")
		var sqlError *mysql.MySQLError
		switch s.db.Engine {
		case "mysql":
			if !errors.As(err, &sqlError) || sqlError.Number != 3141 {
				t.Errorf("without JSON_QUOTE: %v, want error 3141", err)
			}
		default:
			if err != nil || got != 0 {
				t.Errorf("without JSON_QUOTE: %d teams (%v), want none and no error", got, err)
			}
		}
	})
}

// TestStandardScale prepares and initializes the data of a round. How long that takes is BenchmarkInitialize's business.
func TestStandardScale(t *testing.T) {
	forEachEngine(t, func(t *testing.T, engine string) {
		start := time.Now()
		s := newSite(t, engine, dataset.Standard, 1)
		t.Logf("starting and preparing took %v", time.Since(start))
		prepare(t, s.db, dataset.Standard, allTables())
		for range 2 {
			start = time.Now()
			s.initialize(t)
			t.Logf("initialize took %v", time.Since(start))
		}
		start = time.Now()
		var board portalv1.GetLeaderboardResponse
		s.client().do(t, "GET", "/api/leaderboard", nil, &board)
		t.Logf("leaderboard took %v", time.Since(start))
		if board.Total != 980 {
			t.Errorf("%d teams are ranked, want 980", board.Total)
		}
	})
}
