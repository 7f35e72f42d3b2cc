package access_test

import (
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"isukit/infra/digest/access"
)

// TestAgainstAlp compares counts, sums, extremes and percentiles of the same logs with alp's, when ISUKIT_ALP is its path.
func TestAgainstAlp(t *testing.T) {
	alp := os.Getenv("ISUKIT_ALP")
	if alp == "" {
		t.Skip("compares with alp: set ISUKIT_ALP to its path")
	}
	const groups = `^/posts/\d+$,^/image/.*,^/@.*`
	for format, args := range map[string][]string{
		"json": {"json", "--restime-key", "request_time", "--body-bytes-key", "body_bytes_sent"},
		"ltsv": {"ltsv", "--apptime-label", "reqtime"},
	} {
		file := filepath.Join(t.TempDir(), "access.log")
		if err := os.WriteFile(file, []byte(randomLog(format, 300_000)), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--file", file, "-m", groups, "--percentiles", "50,90,99", "--format", "csv", "--limit", "100000")
		began := time.Now()
		raw, err := exec.Command(alp, args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		theirTime := time.Since(began)
		began = time.Now()
		ours := digestFile(t, file, strings.Split(groups, ","))
		t.Logf("%s: alp took %.1f times as long", format, float64(theirTime)/float64(time.Since(began)))
		rows, err := csv.NewReader(strings.NewReader(string(raw))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if len(rows)-1 != len(ours) {
			t.Errorf("%s: alp has %d routes, we have %d", format, len(rows)-1, len(ours))
		}
		for _, row := range rows[1:] {
			compareAlp(t, rows[0], row, ours)
		}
	}
}

func digestFile(t *testing.T, file string, groups []string) map[string]*access.Route {
	t.Helper()
	opts := access.Options{Literal: true}
	for _, g := range groups {
		p, err := access.ParsePattern(g)
		if err != nil {
			t.Fatal(err)
		}
		opts.Patterns = append(opts.Patterns, p)
	}
	d, err := access.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := d.Read(t.Context(), file, f); err != nil {
		t.Fatal(err)
	}
	routes := map[string]*access.Route{}
	for _, r := range d.Digest().Routes {
		routes[r.Method+" "+r.Path] = r
	}
	return routes
}

func compareAlp(t *testing.T, head, row []string, ours map[string]*access.Route) {
	t.Helper()
	cell := func(name string) float64 {
		for i, h := range head {
			if strings.EqualFold(h, name) {
				v, err := strconv.ParseFloat(row[i], 64)
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
		}
		t.Fatalf("alp has no column %s: %v", name, head)
		return 0
	}
	var method, uri string
	for i, h := range head {
		switch strings.ToLower(h) {
		case "method":
			method = row[i]
		case "uri":
			uri = row[i]
		}
	}
	r := ours[method+" "+uri]
	if r == nil {
		t.Errorf("alp has %s %s, which is missing", method, uri)
		return
	}
	exact := map[string]float64{"count": float64(r.Count), "2xx": float64(r.Status[2]), "3xx": float64(r.Status[3]), "4xx": float64(r.Status[4]), "5xx": float64(r.Status[5])}
	for name, got := range exact {
		if want := cell(name); got != want {
			t.Errorf("%s %s: %s is %v, alp has %v", method, uri, name, got, want)
		}
	}
	// Not the minimum: alp takes a time of 0.000 for none.
	near := map[string]time.Duration{"max": r.Took.Max, "sum": r.Took.Sum, "p50": r.Took.Quantile(0.5), "p90": r.Took.Quantile(0.9), "p99": r.Took.Quantile(0.99)}
	for name, got := range near {
		// alp takes the element before when a percentile falls between two: at most a step of the log's resolution away here.
		if want := cell(name); math.Abs(got.Seconds()-want) > 0.002*want+0.0011 {
			t.Errorf("%s %s: %s is %v, alp has %v s", method, uri, name, got, want)
		}
	}
}

func randomLog(format string, lines int) string {
	rng := rand.New(rand.NewPCG(1, 1))
	var b strings.Builder
	at := time.Unix(1792000000, 0).UTC()
	for range lines {
		at = at.Add(time.Duration(rng.IntN(2_000_000)))
		path := []string{"/", "/login", fmt.Sprintf("/posts/%d", rng.IntN(10_000)), fmt.Sprintf("/image/%d.jpg", rng.IntN(10_000)),
			fmt.Sprintf("/@user%d", rng.IntN(500)), "/posts?max_created_at=2016-01-01"}[rng.IntN(6)]
		method, status := []string{"GET", "POST"}[rng.IntN(2)], []int{200, 200, 200, 200, 302, 404, 500}[rng.IntN(7)]
		took, size := rng.ExpFloat64()/20, rng.IntN(20_000)
		switch format {
		case "json":
			fmt.Fprintf(&b, `{"time":%d.%03d,"method":%q,"uri":%q,"status":%d,"request_time":%.3f,"upstream_response_time":"%.3f","body_bytes_sent":%d,"user_agent":"isubench"}`+"\n",
				at.Unix(), at.Nanosecond()/1e6, method, path, status, took, took, size)
		case "ltsv":
			fmt.Fprintf(&b, "time:%s\thost:127.0.0.1\treq:%s %s HTTP/1.1\tmethod:%s\turi:%s\tstatus:%d\tsize:%d\tua:isubench\treqtime:%.3f\tapptime:%.3f\n",
				at.Format("02/Jan/2006:15:04:05 -0700"), method, path, method, path, status, size, took, took)
		}
	}
	return b.String()
}
