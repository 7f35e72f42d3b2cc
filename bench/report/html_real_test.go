package report_test

import (
	"fmt"
	"strings"
	"testing"

	"isukit/bench/result"
	"isukit/infra/infratest"
)

func TestHTMLInChromium(t *testing.T) {
	b := infratest.StartBrowser(t)
	rounds := map[string]*result.Round{"passing": passing(), "failing": failing(), "empty": empty(), "hostile": hostile()}
	for _, name := range []string{"passing", "failing", "empty", "hostile"} {
		path := savePage(t, rounds[name])
		for _, width := range []int{1280, 400} {
			for _, scheme := range []string{"light", "dark"} {
				b.View(width, scheme)
				b.Open(path)
				var overflow []string
				b.Eval(`[...document.querySelectorAll('body, body > *, section')].filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.tagName + '#' + e.id).concat(
					document.documentElement.scrollWidth > innerWidth ? ['page ' + document.documentElement.scrollWidth] : [])`, &overflow)
				if len(overflow) > 0 {
					t.Errorf("%s at %d px: wider than the window: %v", name, width, overflow)
				}
				b.Shoot(fmt.Sprintf("%s-%d-%s", name, width, scheme))
			}
		}
		var title string
		if b.Eval("document.title", &title); title == "pwned" {
			t.Errorf("%s: a text of the round was run as a script", name)
		}
	}
	if got := b.Complaints(); len(got) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(got, "\n"))
	}
}

func TestChartsInChromium(t *testing.T) {
	b := infratest.StartBrowser(t)
	b.View(1280, "light")
	b.Open(savePage(t, failing()))
	var charts []struct {
		ID            string
		Paths, Ticks  int
		Width, Height float64
	}
	b.Eval(`[...document.querySelectorAll('.chart')].map(c => { const box = c.querySelector('.plot').getBoundingClientRect();
		return {ID: c.id, Paths: c.querySelectorAll('path').length, Ticks: c.querySelectorAll('text').length, Width: box.width, Height: box.height}; })`, &charts)
	// hits, latency, users, and CPU of s1, s2, s3 and of what is on no host.
	if len(charts) != 7 {
		t.Errorf("%d charts, want 7: %+v", len(charts), charts)
	}
	for _, c := range charts {
		if c.Paths == 0 || c.Ticks < 2 || c.Width < 600 || c.Height < 60 {
			t.Errorf("chart %s is not drawn: %+v", c.ID, c)
		}
	}
	var colors []string
	b.Eval(`[...document.querySelectorAll('path')].map(p => getComputedStyle(p).fill + getComputedStyle(p).stroke)`, &colors)
	for _, c := range colors {
		if c == "nonenone" || strings.Contains(c, "rgb(0, 0, 0)") {
			t.Errorf("a path without a colour of the palette: %s", c)
		}
	}

	at := func() (second, cursor string) {
		var got []string
		b.Eval(`[document.querySelector('#readout dd').textContent, document.querySelector('#chart-users .cursor').getAttribute('x1')]`, &got)
		return got[0], got[1]
	}
	var point struct{ X, Y float64 }
	b.Eval(`(() => { document.querySelector('#chart-hits').scrollIntoView(); const r = document.querySelector('#chart-hits .plot').getBoundingClientRect();
		return {X: r.left + r.width * 17.5 / 30, Y: r.top + r.height / 2}; })()`, &point)
	b.Must("Input.dispatchMouseEvent", map[string]any{"type": "mouseMoved", "x": point.X, "y": point.Y}, nil)
	if second, cursor := at(); second != "17" || !strings.HasPrefix(cursor, "58.3") {
		t.Errorf("with the pointer on second 17 the read-out says %s and the cursor stands at %s", second, cursor)
	}
	var focused bool
	b.Eval(`document.getElementById('at').focus(), document.activeElement.id === 'at'`, &focused)
	b.Must("Input.dispatchKeyEvent", map[string]any{"type": "keyDown", "key": "ArrowRight", "code": "ArrowRight", "windowsVirtualKeyCode": 39}, nil)
	if second, _ := at(); !focused || second != "18" {
		t.Errorf("after the right arrow key the read-out says %s, want 18 (slider focused: %v)", second, focused)
	}
	if got := b.Complaints(); len(got) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(got, "\n"))
	}
}

func TestSortAndThemeInChromium(t *testing.T) {
	b := infratest.StartBrowser(t)
	b.View(1280, "dark")
	b.Open(savePage(t, passing()))
	column := func(k int) []string {
		var cells []string
		b.Eval(fmt.Sprintf(`[...document.querySelectorAll('#endpoints tbody tr')].map(r => r.cells[%d].textContent)`, k), &cells)
		return cells
	}
	click := func(selector string) {
		var ok bool
		b.Eval(fmt.Sprintf(`document.querySelector(%q).click(), true`, selector), &ok)
	}
	click("#endpoints th:nth-child(6) button")
	if got := column(5); got[0] != "1,186" || got[len(got)-1] != "4.0" {
		t.Errorf("sorted by p99: %v, want it to fall from 1,186 to 4.0", got)
	}
	click("#endpoints th:nth-child(6) button")
	if got := column(5); got[0] != "4.0" {
		t.Errorf("sorted by p99 again: %v, want it to rise", got)
	}
	click("#endpoints th:nth-child(1) button")
	if got := column(0); got[0] != "GET /" || !strings.HasPrefix(got[len(got)-1], "PUT ") {
		t.Errorf("sorted by name: %v", got)
	}

	back := func() (color string) {
		b.Eval("getComputedStyle(document.body).backgroundColor", &color)
		return color
	}
	dark := back()
	click("#theme")
	light := back()
	click("#theme")
	if dark == light || back() != dark {
		t.Errorf("the theme button goes from %s to %s to %s, want another and back", dark, light, back())
	}
}
