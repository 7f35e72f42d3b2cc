package report_test

import (
	"bytes"
	"html"
	"strings"
	"testing"

	"isukit/bench/report"
	"isukit/bench/result"
)

func page(t *testing.T, r *result.Round) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.HTML(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHTMLHasEverything(t *testing.T) {
	got := html.UnescapeString(page(t, failing()))
	r := failing()
	want := []string{">FAIL<", r.Reason, r.Faults[0].Text, r.Errors[1].Example, "GET /api/notifications", "+70,895",
		r.Warnings[1], r.Bottleneck.Text, "9f2c1be7a0d34c66", `href="./hosts/s1/nginx-access.log"`,
		`id="chart-hits"`, `id="chart-latency"`, `id="chart-users"`, "CPU of s1", "CPU of s2", "CPU of s3", "0.5 CPUs"}
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("the page lacks %q", w)
		}
	}
	for _, bad := range []string{"ZgotmplZ", "NaN", "Inf", "<no value>", "http://", "https://"} {
		if strings.Contains(got, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
}

func TestHTMLEscapesEverything(t *testing.T) {
	got := page(t, hostile())
	if n := strings.Count(got, "<script"); n != 2 {
		t.Errorf("%d script elements, want the page's 2", n)
	}
	for _, bad := range []string{"<img", `href="javascript:`, "<!--", "\u202e", "\x1b", "\u2028"} {
		if strings.Contains(got, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
}

func TestHTMLOfOddRounds(t *testing.T) {
	zero := &result.Round{ID: "x", Timeline: make([]result.Second, 1)}
	long := passing()
	for len(long.Timeline) < 4000 {
		long.Timeline = append(long.Timeline, long.Timeline[29])
	}
	for name, r := range map[string]*result.Round{"zero": zero, "empty": empty(), "nothing": {}, "long": long} {
		t.Run(name, func(t *testing.T) {
			got := page(t, r)
			for _, bad := range []string{"NaN", "Inf"} {
				if strings.Contains(got, bad) {
					t.Errorf("the page holds %q", bad)
				}
			}
		})
	}
}

// TestGapOfWhatWasNotMeasured has two seconds without a sample of the host: its lines and areas stop there and begin again.
func TestGapOfWhatWasNotMeasured(t *testing.T) {
	r := passing()
	for _, i := range []int{4, 5} {
		r.Timeline[i].CoresByRole, r.Timeline[i].BusyByHost = nil, nil
	}
	for class, letter := range map[string]string{"line l-busy": "M", "stack c": "Z"} {
		_, rest, ok := strings.Cut(page(t, r), `<path class="`+class)
		path, _, _ := strings.Cut(rest, "/>")
		if !ok || strings.Count(path, "M") != 2 || strings.Count(path, letter) != 2 {
			t.Errorf("%s: want two pieces, got %q", class, path)
		}
	}
}
