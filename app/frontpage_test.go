package app_test

import (
	"context"
	"html"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isukit/infra/infratest"
	portalv1 "isukit/proto/portal/v1"
)

// TestFrontPage opens the front page behind nginx in headless Chromium: its reader must show what the portal says.
func TestFrontPage(t *testing.T) {
	onEngines(t, func(t *testing.T, s *site) {
		nginx := infratest.StartNginx(t, "types { text/html html; text/css css; text/javascript js; image/svg+xml svg; }",
			"root "+filepath.Join(infratest.Root(t), "nginx", "static")+"; location /api/ { proxy_pass "+s.url+"; }")
		for _, file := range []string{"/", "/app.css", "/app.js", "/logo.svg"} {
			res, err := http.Get(nginx.URL + file)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != 200 {
				t.Errorf("%s: status %d", file, res.StatusCode)
			}
		}
		// Before initialize, what the portal's Error says is shown.
		if dom := openPage(t, nginx.URL); !strings.Contains(dom, "the portal has no data yet") {
			t.Errorf("without data the page is:\n%s", dom)
		}
		s.initialize(t)
		var board portalv1.GetLeaderboardResponse
		s.client().do(t, "GET", "/api/leaderboard", nil, &board)
		dom := openPage(t, nginx.URL)
		at := 0
		for _, standing := range board.Standings {
			i := strings.Index(dom[at:], html.EscapeString(standing.TeamName)+"</td>")
			if i < 0 {
				t.Fatalf("the page does not show %q, rank %d, in its place:\n%s", standing.TeamName, standing.Rank, dom)
			}
			at += i
		}
		for _, want := range []string{"25 of 49 teams", ">running</p>"} {
			if !strings.Contains(dom, want) {
				t.Errorf("the page lacks %q", want)
			}
		}
	})
}

// openPage gives the page's document after its scripts have run for some seconds.
func openPage(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, infratest.FindBrowser(t), "--headless=new", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(),
		"--virtual-time-budget=3000", "--dump-dom", url).Output()
	if err != nil {
		t.Fatalf("open %s in chromium (hint: make setup-test): %v", url, err)
	}
	return string(out)
}
