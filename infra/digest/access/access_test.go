package access_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isukit/infra/digest/access"
)

func digestOf(t *testing.T, opts access.Options, logs ...string) *access.Digest {
	t.Helper()
	d, err := access.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	for i, log := range logs {
		if err := d.Read(t.Context(), fmt.Sprint("log", i), strings.NewReader(log)); err != nil {
			t.Fatal(err)
		}
	}
	return d.Digest()
}

// summary is a digest's routes as short texts.
func summary(d *access.Digest) []string {
	var all []string
	for _, r := range d.Routes {
		text := fmt.Sprintf("%s %s n=%d 2xx=%d took=%v/%d up=%v/%d bytes=%d", r.Method, r.Path, r.Count, r.Status[2], r.Took.Sum, r.Took.Count, r.Upstream.Sum, r.Upstream.Count, r.SentBytes)
		if r.Retried > 0 {
			text += fmt.Sprintf(" retried=%d", r.Retried)
		}
		if r.Cache != nil {
			text += fmt.Sprintf(" cache=%v", r.Cache)
		}
		all = append(all, text)
	}
	return all
}

// TestFormats reads one request in every format and spelling that is understood.
func TestFormats(t *testing.T) {
	want := []string{"GET /a/{id} n=1 2xx=1 took=123ms/1 up=120ms/1 bytes=512"}
	for name, line := range map[string]string{
		"own nginx": `{"time":1792000000.123,"method":"GET","uri":"/a/7?x=1","status":200,"request_time":0.123,"upstream_response_time":"0.120","upstream":"127.0.0.1:8080","body_bytes_sent":512,"request_length":90,"user_agent":"isubench"}`,
		"own envoy": `{"time":"1792000000.123","method":"GET","uri":"/a/7?x=1","status":"200","request_time_ms":123,"upstream_response_time_ms":"120","body_bytes_sent":512,"flags":"-"}`,
		"envoy, usual JSON": `{"start_time":"2026-10-14T20:26:40.123Z","method":"GET","path":"/a/7","response_code":200,` +
			`"duration":123,"upstream_service_time":"120","bytes_sent":512}`,
		"alp's JSON": `{"time":"2026-10-14T20:26:40+00:00","method":"GET","uri":"/a/7","status":"200","response_time":"0.123","upstream_time":"0.120","body_bytes":"512"}`,
		"escapes":    `{"uri":"\/a\/7?q=\u00e9\x22","method":"GET","status":200,"request_time":0.123,"upstream_response_time":"0.120","size":512,"ua":"a\"b"}`,
		"bare list":  `{"uri":"/a/7","method":"GET","status":200,"request_time":0.123,"upstream_response_time":0.100, 0.020,"size":512}`,
		"nested":     `{"level":"info","request":{"method":"GET","uri":"/a/7","headers":{"Accept":["*/*","}"]}},"status":200,"duration":0.123,"upstream_time":0.120,"size":512}`,
		"LTSV":       "time:14/Oct/2026:20:26:40 +0000\thost:127.0.0.1\tmethod:GET\turi:/a/7\tstatus:200\tsize:512\treqtime:0.123\tapptime:0.120\tcache:-",
		"LTSV, req":  "time:14/Oct/2026:20:26:40 +0000\treq:GET /a/7 HTTP/1.1\tstatus:200\tsize:512\treqtime:0.123\tapptime:0.120\tvhost:a:80",
		"combined":   `127.0.0.1 - - [14/Oct/2026:20:26:40 +0000] "GET /a/7 HTTP/1.1" 200 512 "-" "curl/8 (a; b)" 0.123 0.120`,
		"named":      `127.0.0.1 - - [14/Oct/2026:20:26:40 +0000] "GET /a/7 HTTP/1.1" 200 512 "-" "curl/8" "-" rt=0.123 uct="0.001" urt="0.100, 0.020"`,
		"envoy text": `[2026-10-14T20:26:40.123Z] "GET /a/7 HTTP/1.1" 200 - 0 512 123 120 "-" "curl/8" "a1-b2" "127.0.0.1:80" "127.0.0.1:8080"`,
	} {
		d := digestOf(t, access.Options{}, line+"\n")
		got := strings.TrimSuffix(strings.TrimSuffix(strings.Join(summary(d), "\n"), " retried=1"), " cache=map[HIT:1]")
		if diff := cmp.Diff(want, []string{got}); diff != "" {
			t.Errorf("%s: %s (- want, + got):\n%s", name, line, diff)
		}
		if d.Unreadable != 0 || d.Lines != 1 {
			t.Errorf("%s: %d of %d lines unreadable: %v", name, d.Unreadable, d.Lines, d.Examples)
		}
	}
}

// TestTimesOfAllKinds reads one moment as programs write it.
func TestTimesOfAllKinds(t *testing.T) {
	want := time.Unix(1792000000, 123e6)
	for _, text := range []string{"1792000000.123", "1792000000123", "1792000000123.0", "1792000000123000", "1792000000123000000",
		`"2026-10-14T17:46:40.123Z"`, `"2026-10-15T02:46:40.123+09:00"`, `"2026-10-15T02:46:40.123+0900"`} {
		d := digestOf(t, access.Options{}, `{"time":`+text+`,"method":"GET","uri":"/a","status":200}`+"\n")
		if !d.First.Equal(want) || d.Untimed != 0 {
			t.Errorf("%s: read as %v, %d untimed, want %v", text, d.First.UTC(), d.Untimed, want.UTC())
		}
	}
}

// TestOneOfTwoTimes has a field that only the day can be read from not hide the one that tells the time.
func TestOneOfTwoTimes(t *testing.T) {
	d := digestOf(t, access.Options{}, `{"time":1792000000.123,"date":"2026-10-14","method":"GET","uri":"/a","status":200}`+"\n")
	if want := time.Unix(1792000000, 123e6); !d.First.Equal(want) || d.Untimed != 0 {
		t.Errorf("read as %v, %d untimed, want %v", d.First.UTC(), d.Untimed, want.UTC())
	}
}

func TestOwnLogFormat(t *testing.T) {
	format := `$remote_addr|$time_iso8601|$request_method ${request_uri}|$status|$request_time|$upstream_response_time|$upstream_cache_status`
	d := digestOf(t, access.Options{Format: format}, "10.0.0.1|2026-10-14T20:26:40+09:00|GET /a|200|0.010|0.003, 0.120 : -|HIT\nnonsense\n")
	want := []string{"GET /a n=1 2xx=1 took=10ms/1 up=123ms/1 bytes=0 retried=1 cache=map[HIT:1]"}
	if diff := cmp.Diff(want, summary(d)); diff != "" {
		t.Errorf("(- want, + got):\n%s", diff)
	}
	if d.Unreadable != 1 || d.Examples[0] != (access.Unreadable{File: "log0", Line: 2, Text: "nonsense"}) {
		t.Errorf("unreadable: %d, %v; want line 2", d.Unreadable, d.Examples)
	}
	for _, bad := range []string{"no variables", "$status$request", "$status $request_time"} {
		if _, err := access.New(access.Options{Format: bad}); err == nil {
			t.Errorf("log format %q is taken", bad)
		}
	}
}

// TestOddLines holds that every line is accounted for: counted in a route, outside the window, or unreadable.
func TestOddLines(t *testing.T) {
	lines := []string{
		`{"method":"GET","uri":"/","status":200,"request_time":0.001,"upstream_response_time":"-"}`,
		`{"method":"GET","uri":"/","status":499,"request_time":0.001,"upstream_response_time":}`,
		`{"method":"","uri":"","status":400,"request_time":0.000}`,
		`{"request":"\x16\x03\x01\x02","status":400,"request_time":0.000}`,
		`{"method":"GET","uri":"http://example.com/x?y","status":200}`,
		`{"method":"GET","uri":"*","status":200}`,
		`{"method":"GET","uri":"/","status":"twohundred"}`,
		`{"method":"GET","uri":"/","status":200,"request_time":"fast"}`,
		`{"method":"GET","uri":"/","status":200`,
		`{"level":"info","msg":"reopening logs"}`,
		`half a line`,
		``,
		strings.Repeat("x", 2<<20),
		`{"method":"GET","uri":"/","status":200}`, // the last line has no end
	}
	d := digestOf(t, access.Options{}, strings.Join(lines, "\n"))
	if d.Lines != 13 || d.Unreadable != 6 || d.All.Count != 7 || d.Untimed != 7 {
		t.Errorf("%d lines, %d unreadable, %d counted, %d untimed; want 13, 6, 7, 7: %v", d.Lines, d.Unreadable, d.All.Count, d.Untimed, d.Examples)
	}
	counts := map[string]int64{}
	for _, r := range d.Routes {
		counts[r.Method+" "+r.Path] = r.Count
	}
	want := map[string]int64{"GET /": 3, " " + access.NoRequest: 2, "GET /x": 1, "GET /*": 1}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("routes (- want, + got):\n%s", diff)
	}
	for _, e := range d.Examples {
		if len(e.Text) > 200 {
			t.Errorf("an example has %d bytes", len(e.Text))
		}
	}
}

func TestRoutesAreFound(t *testing.T) {
	var log strings.Builder
	add := func(n int, format string) {
		for i := range n {
			fmt.Fprintf(&log, "{\"method\":\"GET\",\"uri\":%q,\"status\":200}\n", strings.ReplaceAll(format, "%", fmt.Sprint(i)))
		}
	}
	add(100, "/posts/%")
	add(40, "/image/%.jpg")
	add(3, "/u/0190a3f8-7e1c-7abc-8def-01234567890%")
	add(5, "/users/name%") // few: they stay
	add(100, "/@user-x%")  // many: they are things
	add(60, "/posts/%/comments")
	add(2, "/v1/teams/01ARZ3NDEKTSV4RRFFQ69G5FA%")
	add(2, "/s/deadbeefdeadbeef1234567890abcde%")
	add(40, "/tags/tag-%/feed.xml")
	for range 50 {
		add(1, "/tags/popular/feed.xml")
		add(1, "/login")
	}
	d := digestOf(t, access.Options{}, log.String())
	got := map[string]int64{}
	for _, r := range d.Routes {
		got[r.Path] = r.Count
	}
	want := map[string]int64{
		"/posts/{id}": 100, "/image/{id}.jpg": 40, "/u/{uuid}": 3, "/@{slug}": 100, "/posts/{id}/comments": 60, "/v1/teams/{ulid}": 2, "/s/{hex}": 2,
		"/tags/{slug}/feed.xml": 40, "/tags/popular/feed.xml": 50, "/login": 50,
		"/users/name0": 1, "/users/name1": 1, "/users/name2": 1, "/users/name3": 1, "/users/name4": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (- want, + got):\n%s", diff)
	}
}

func TestPatterns(t *testing.T) {
	var patterns []access.Pattern
	for _, text := range []string{"/api/posts/:id", "/static/*", `^/api/(a|b)$`, "/img/{id}.png"} {
		p, err := access.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		patterns = append(patterns, p)
	}
	var log strings.Builder
	for _, path := range []string{"/api/posts/x", "/api/posts/x/y", "/static/a/b.css", "/api/a", "/api/b?c=d", "/img/7.png", "/other"} {
		fmt.Fprintf(&log, "{\"method\":\"GET\",\"uri\":%q,\"status\":200}\n", path)
	}
	got := map[string]int64{}
	for _, r := range digestOf(t, access.Options{Patterns: patterns}, log.String()).Routes {
		got[r.Path] = r.Count
	}
	want := map[string]int64{"/api/posts/:id": 1, "/api/posts/x/y": 1, "/static/*": 1, `^/api/(a|b)$`: 2, "/img/{id}.png": 1, "/other": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (- want, + got):\n%s", diff)
	}
	for _, bad := range []string{"posts", "^(", ""} {
		if _, err := access.ParsePattern(bad); err == nil {
			t.Errorf("pattern %q is taken", bad)
		}
	}
}

// TestWindow holds a window to the second: its beginning is inside, its end is not.
func TestWindow(t *testing.T) {
	var log strings.Builder
	for i := range 100 {
		fmt.Fprintf(&log, "{\"time\":%d.%03d,\"method\":\"GET\",\"uri\":\"/\",\"status\":%d,\"request_time\":0.%03d}\n", 1000+i/10, i%10*100, 200+300*(i%2), i)
	}
	log.WriteString(`{"method":"GET","uri":"/","status":200}` + "\n")
	from, to := time.Unix(1002, 0), time.Unix(1005, 0)
	d := digestOf(t, access.Options{From: from, To: to, Seconds: true}, log.String())
	if d.All.Count != 30 || d.Outside != 71 || !d.First.Equal(from) || !d.Last.Equal(time.Unix(1004, 9e8)) {
		t.Errorf("%d inside, %d outside, from %v to %v; want 30, 71 and the window", d.All.Count, d.Outside, d.First, d.Last)
	}
	for i, s := range d.Seconds[:3] {
		if s.Hits != 10 || s.Errors != 5 || s.Took.Max != time.Duration(20+10*i+9)*time.Millisecond {
			t.Errorf("second %d has %d hits, %d errors, at most %v", i, s.Hits, s.Errors, s.Took.Max)
		}
	}
}

func TestGzipAndSeveralFormats(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	fmt.Fprintln(z, "method:GET\turi:/a\tstatus:200")
	z.Close()
	d := digestOf(t, access.Options{}, packed.String(), "garbage\n"+`{"method":"GET","uri":"/a","status":200}`+"\n")
	if d.All.Count != 2 || d.Unreadable != 1 || !cmp.Equal(d.Formats, []string{"ltsv", "json"}) {
		t.Errorf("counted %d, %d unreadable, formats %v", d.All.Count, d.Unreadable, d.Formats)
	}
	damaged := packed.Bytes()[:packed.Len()-6]
	reader, _ := access.New(access.Options{})
	if err := reader.Read(t.Context(), "damaged.gz", bytes.NewReader(damaged)); err == nil {
		t.Error("a damaged .gz is no error")
	}
	if got := reader.Digest().All.Count; got != 1 {
		t.Errorf("of the damaged .gz %d lines are counted, want the 1 that was there", got)
	}
}

// TestHostileLogStaysSmall limits the number of routes for any log.
func TestHostileLogStaysSmall(t *testing.T) {
	d, err := access.New(access.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	letters := func(n int) string {
		var b strings.Builder
		for ; n > 0; n /= 20 {
			b.WriteByte("ghijklmnopqrstuvwxyz"[n%20])
		}
		return b.String()
	}
	for i := 1; i < 150_000; i++ {
		fmt.Fprintf(&log, `{"method":%q,"uri":"/%s/%s/%s","status":404,"cache":%q}`+"\n", strings.ToUpper(letters(i%999)), letters(i%97), letters(i), strings.Repeat("a/", i%40), letters(i))
	}
	if err := d.Read(t.Context(), "log", &log); err != nil {
		t.Fatal(err)
	}
	out := d.Digest()
	if out.All.Count != 149_999 || len(out.Routes) > 41_000*64 || len(out.All.Cache) > 17 {
		t.Errorf("counted %d in %d routes with %d cache states", out.All.Count, len(out.Routes), len(out.All.Cache))
	}
	t.Logf("%d routes", len(out.Routes))
}

func FuzzRead(f *testing.F) {
	f.Add("", `{"method":"GET","uri":"/a","status":200,"request_time":0.1}`)
	f.Add("", "method:GET\turi:/a\tstatus:200\treqtime:0.1")
	f.Add("", `1.2.3.4 - - [14/Oct/2026:20:26:40 +0000] "GET /a HTTP/1.1" 200 5 "-" "x" 0.1 0.1, 0.2`)
	f.Add("$request $status", "GET /a 200")
	f.Fuzz(func(t *testing.T, format, log string) {
		d, err := access.New(access.Options{Format: format})
		if err != nil {
			return
		}
		if err := d.Read(t.Context(), "log", strings.NewReader(log)); err != nil {
			return
		}
		out := d.Digest()
		var counted int64
		for _, r := range out.Routes {
			counted += r.Count
		}
		if counted+out.Unreadable+out.Outside != out.Lines || counted != out.All.Count {
			t.Errorf("%d lines: %d counted, %d unreadable, %d outside", out.Lines, counted, out.Unreadable, out.Outside)
		}
	})
}
