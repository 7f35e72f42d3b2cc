package app_test

import (
	"strings"
	"testing"

	"isukit/infra/infratest/wait"
	portalv1 "isukit/proto/portal/v1"
)

// TestWithoutDatabase stops the database under a portal, and starts it again.
func TestWithoutDatabase(t *testing.T) {
	onEngines(t, func(t *testing.T, s *site) {
		c := s.client()
		health := func() (int, string) {
			got, err := c.send(t.Context(), "GET", "/healthz", nil)
			if err != nil {
				t.Fatal(err)
			}
			if contentType := got.header.Get("Content-Type"); !strings.HasPrefix(contentType, "text/plain") {
				t.Errorf("health is of type %q", contentType)
			}
			return got.status, string(got.body)
		}
		// Prepared, but not initialized.
		if status, body := health(); status != 200 || body != "ok\n" {
			t.Errorf("health is %d %q", status, body)
		}
		c.refused(t, 503, "not_initialized", "GET", "/api/leaderboard", nil)
		s.initialize(t)
		s.db.Kill()
		if status, _ := health(); status != 503 {
			t.Errorf("health without a database is %d, want 503", status)
		}
		if err := c.try(t.Context(), "GET", "/api/contest", nil, &portalv1.GetContestResponse{}); err == nil || !strings.Contains(err.Error(), " 50") && !strings.HasPrefix(err.Error(), "50") {
			t.Errorf("without a database: %v, want an Error of 5xx", err)
		}
		s.db.Restart()
		wait.For(t, "the portal to find its database again", func() bool { status, _ := health(); return status == 200 })
		c.do(t, "GET", "/api/leaderboard", nil, &portalv1.GetLeaderboardResponse{})
	})
}

// TestUnpreparedDatabase wants a plain word about tables that are not there.
func TestUnpreparedDatabase(t *testing.T) {
	onEngines(t, func(t *testing.T, s *site) {
		s.db.Exec(t, "DROP DATABASE portal_seed", "DROP TABLE portal.contest")
		f := s.client().refused(t, 503, "not_prepared", "POST", "/initialize", &portalv1.InitializeRequest{})
		if !strings.Contains(f.Hint, "isukit-app prepare") {
			t.Errorf("hint %q does not name isukit-app prepare", f.Hint)
		}
		prepare(t, s.db, s.data.Scale, allTables())
		s.initialize(t)
	})
}
