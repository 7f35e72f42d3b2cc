package report_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"isukit/bench/diff"
	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// siteServer serves the pages as isukit serve does; running switches a round on and off.
func siteServer(t *testing.T, evil string, running *atomic.Bool) *httptest.Server {
	t.Helper()
	before, after := watched(evil), watched(evil)
	before.ID, before.Score.Total, before.Settings[0].Values["vm.swappiness"] = "20261122T200003Z-private-isu", 9000, "10"
	before.Access.Routes[1].Request.SumSeconds *= 3
	before.Queries.Queries = before.Queries.Queries[:2]
	before.Profiles[0].Total, before.Profiles[0].Frames = 4e9, []result.Frame{{Name: "all", Value: 4e9}, {Name: "net/http.(*conn).serve", Depth: 1, Value: 4e9}, {Name: "main.getIndex" + evil, Depth: 2, Value: 1e9, Self: 1e9}}
	var entries []report.IndexEntry
	for _, e := range []result.Entry{{ID: after.ID, Round: after}, {ID: before.ID, Round: before}, {ID: "damaged" + evil, Err: errors.New("read: " + evil)}} {
		entries = append(entries, report.IndexEntryOf(e, before))
	}
	mux := http.NewServeMux()
	page := func(write func(io.Writer) error) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", report.SitePolicy())
			if err := write(w); err != nil {
				t.Error(err)
			}
		}
	}
	mux.HandleFunc("/{$}", page(func(w io.Writer) error { return report.Index(w, entries) }))
	mux.HandleFunc("/diff", page(func(w io.Writer) error { return report.DiffHTML(w, diff.Of(before, after)) }))
	mux.HandleFunc("/live", func(w http.ResponseWriter, _ *http.Request) {
		if !running.Load() {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		fmt.Fprintf(w, `{"project":"private-isu","phase":"load","phase_began":%q,"busy_by_host":{"s1":0.97,"s2":0.2},"lines":["score so far: 12","<b>x</b>"]}`, time.Now().Format(time.RFC3339))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// TestSiteInChromium looks at the pages of isukit serve at both widths and in both themes, and watches a round come and go.
func TestSiteInChromium(t *testing.T) {
	b := infratest.StartBrowser(t)
	const evil = "</script><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
	var running atomic.Bool
	for name, text := range map[string]string{"site": "", "site-hostile": evil} {
		server := siteServer(t, text, &running)
		for _, path := range []string{"/", "/diff"} {
			for _, width := range []int{1280, 400} {
				for _, scheme := range []string{"light", "dark"} {
					b.View(width, scheme)
					b.OpenURL(server.URL + path)
					var wide int
					if b.Eval("document.documentElement.scrollWidth - innerWidth", &wide); wide > 0 {
						t.Errorf("%s%s at %d px: %d px wider than the window", name, path, width, wide)
					}
					b.Shoot(fmt.Sprintf("%s%s-%d-%s", name, strings.ReplaceAll(path, "/", "-"), width, scheme))
				}
			}
			var title string
			if b.Eval("document.title", &title); title == "pwned" {
				t.Errorf("%s%s: a text of a round was run as a script", name, path)
			}
		}
	}
	server := siteServer(t, "", &running)
	// The flame graphs of both rounds are side by side; a box shows the share of the same calls in the other.
	b.View(1280, "light")
	b.OpenURL(server.URL + "/diff")
	var sides struct{ Above, Apart, Text, New string }
	b.Eval(`(() => { const [a, b] = document.querySelectorAll('.sides > section'), x = a.getBoundingClientRect(), y = b.getBoundingClientRect();
		const box = (s, name) => [...s.querySelectorAll('.box')].find(e => e.dataset.text.startsWith(name));
		return {Above: String(Math.abs(x.top - y.top) < 1), Apart: String(x.right <= y.left), Text: box(b, 'main.getIndex').dataset.text + ' ' + box(b, 'main.getIndex').querySelector('rect').className.baseVal,
			New: box(b, 'main.getImage').dataset.text}; })()`, &sides)
	if sides.Above != "true" || sides.Apart != "true" || !strings.HasSuffix(sides.Text, "; before 25 % more") || !strings.HasSuffix(sides.New, "; before 0 %") {
		t.Errorf("the flame graphs stand and say %+v", sides)
	}
	running.Store(true)
	b.OpenURL(server.URL + "/")
	var text string
	wait.For(t, "the running round to be shown", func() bool {
		b.Eval(`document.getElementById('live')?.hidden === false ? document.getElementById('live').innerText : ''`, &text)
		return text != ""
	})
	for _, want := range []string{"private-isu: load", "97 %", "score so far: 12", "<b>x</b>"} {
		if !strings.Contains(text, want) {
			t.Errorf("the running round lacks %q: %q", want, text)
		}
	}
	b.Shoot("site-live")
	running.Store(false)
	wait.For(t, "the round that has ended to be shown no more", func() bool {
		var hidden bool
		b.Eval(`document.getElementById('live')?.hidden ?? false`, &hidden) // the page may be loading itself again
		return hidden
	})
	var all []string
	for _, c := range b.Complaints() {
		if !strings.Contains(c, "request of http://127.0.0.1:") {
			all = append(all, c)
		}
	}
	if len(all) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(all, "\n"))
	}
}

func TestDiffText(t *testing.T) {
	before, after := watched("\x1b[2J"), watched("\x1b[2J")
	before.Score.Total, after.Settings[0].Values["vm.swappiness"] = 9000, "1"
	before.Access.Routes[1].Request.SumSeconds *= 3
	var b strings.Builder
	if err := report.Diff(&b, diff.Of(before, after), 5, report.Style{Width: 120}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"s1: sysctl vm.swappiness  60 -> 1", "+37 %", "GET /posts/{id}", "-67 %", "may be noise"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "\x1b[2J") {
		t.Error("an escape sequence gets through")
	}
}
