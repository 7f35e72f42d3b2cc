package access_test

import (
	"bytes"
	"compress/bzip2"
	"encoding/base64"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"isukit/infra/digest/access"
)

const (
	apacheFormat = `%h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i" %D`
	h2oFormat    = `%h %l %u %t "%r" %s %b "%{Referer}i" "%{User-agent}i" %{duration}x`
	envoyFormat  = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(USER-AGENT)%"`
)

// TestGivenFormats reads one request by formats that a person or a server's configuration gives.
func TestGivenFormats(t *testing.T) {
	const told = " n=1 2xx=1 took=3ms/1 up=0s/0 bytes=512"
	for name, c := range map[string]struct{ format, line, want string }{
		"Apache, quotes in the agent":  {apacheFormat, `::1 - - [14/Oct/2026:20:26:40 +0900] "GET /a/7 HTTP/1.1" 200 512 "-" "a \"7.5 inch\" b" 3000`, "GET /a/{id}" + told},
		"Apache, as in its file":       {strings.ReplaceAll(apacheFormat, `"`, `\"`), `::1 - - [14/Oct/2026:20:26:40 +0900] "GET /a/7 HTTP/1.1" 200 512 "-" "\\" 3000`, "GET /a/{id}" + told},
		"Apache, quotes in the path":   {apacheFormat, `::1 - - [14/Oct/2026:20:26:40 +0900] "GET /a\"\xe3\\ HTTP/1.1" 200 512 "-" "x" 3000`, "GET /a\"\xe3\\" + told},
		"Apache, combined and found":   {"", `::1 - - [14/Oct/2026:20:26:40 +0900] "GET /a/7 HTTP/1.1" 200 512 "\" rt=9" "a \"7.5 inch\" b" 0.003`, "GET /a/{id}" + told},
		"Apache, path and query":       {`%{%s}t %m %U%q %s %B %{ms}T`, `1792000000 GET /a/7?x 200 512 3`, "GET /a/{id}" + told},
		"H2O":                          {h2oFormat, `::1 - - [14/Oct/2026:20:26:40 +0900] "GET /a/7 HTTP/1.1" 200 512 "-" "\x22a" 0.003000`, "GET /a/{id}" + told},
		"nginx, escaped":               {"", `::1 - - [14/Oct/2026:20:26:40 +0900] "GET /a\x22 HTTP/1.1" 200 512 "-" "\x22 rt=9 \x5C" 0.003`, `GET /a"` + told},
		"nginx, neighbours":            {`$scheme://$host$request_uri $request_method $status $body_bytes_sent $request_time`, `http://a.example/a/7?b GET 200 512 0.003`, "GET /a/{id}" + told},
		"nginx, tabs":                  {`$request_uri\t$request_method\t$status\t$body_bytes_sent\t$request_time`, "/a/7\tGET\t200\t512\t0.003", "GET /a/{id}" + told},
		"nginx, LTSV by its labels":    {`when:$time_iso8601\tverb:$request_method\tp:$uri\tst:$status\tn:$bytes_sent\tt:$request_time`, "verb:GET\tp:/a/7\tst:200\tn:512\tt:0.003\twhen:2026-10-14T20:26:40+09:00", "GET /a/{id}" + told},
		"nginx, JSON by its labels":    {`{"a":"$request_method","b":"${request_uri}","c":$status,"d":$bytes_sent,"e":$request_time}`, `{"a":"GET","b":"/a/7","c":200,"d":512,"e":0.003}`, "GET /a/{id}" + told},
		"Envoy":                        {envoyFormat, `[2026-10-14T20:26:40.123Z] "GET /a" HTTP/1.1" 200 512 3 - "" 99 99 ""`, `GET /a"` + told},
		"Envoy, as it comes":           {"", `[2026-10-14T20:26:40.123Z] "GET /a" HTTP/1.1" 200 - 0 512 3 - "-" "" rt=99 \" "b" "c" "d"`, `GET /a"` + told},
		"labels, mapped":               {"json latency=duration_ms v=method", `{"v":"GET","path":"/a/7","status":200,"latency":3,"bytes":512}`, "GET /a/{id}" + told},
		"LTSV, a word without a colon": {"", "method:GET\turi:/a/7\todd\tstatus:200\tsize:512\treqtime:3e-3", "GET /a/{id}" + told},
		"Echo":                         {"", `{"time":"2026-10-14T20:26:40.123456789Z","method":"GET","uri":"/a/7","status":200,"latency":3000000,"latency_human":"3ms","bytes_out":512}`, "GET /a/{id}" + told},
		"Go's durations":               {"", `{"http_method":"GET","http_path":"/a/7","http_status":200,"elapsed":"3000µs","size":512}`, "GET /a/{id}" + told},
	} {
		t.Run(name, func(t *testing.T) {
			d := digestOf(t, access.Options{Format: c.format}, c.line+"\n")
			if diff := cmp.Diff([]string{c.want}, summary(d)); diff != "" || d.Unreadable > 0 {
				t.Errorf("%s by %q: %d unreadable (- want, + got):\n%s", c.line, c.format, d.Unreadable, diff)
			}
		})
	}
	for _, bad := range []string{"json latency=soon", "json =status", "%h %s"} {
		if _, err := access.New(access.Options{Format: bad}); err == nil {
			t.Errorf("format %q is taken", bad)
		}
	}
}

// TestZones reads times that name no zone in the given one, and counts them; a time with a zone is better than one without.
func TestZones(t *testing.T) {
	tokyo := time.FixedZone("", 9*60*60)
	want := time.Date(2026, 10, 14, 11, 26, 40, 0, time.UTC)
	for text, zoneless := range map[string]int64{
		`"time":"2026-10-14 20:26:40"`: 1, `"time":"2026-10-14T20:26:40.000"`: 1, `"time":"2026/10/14 20:26:40"`: 1, `"time":"[14/Oct/2026:20:26:40 +0900]"`: 0,
		`"time":"2026-10-14 20:26:40.000000 +0900 JST"`: 0, `"ts":"2026-10-14T11:26:40Z","time":"2026-10-14 20:26:41"`: 0, `"time":"2026-10-14 20:26:41","ts":"2026-10-14T11:26:40Z"`: 0,
	} {
		d := digestOf(t, access.Options{Zone: tokyo}, `{`+text+`,"method":"GET","uri":"/a","status":200}`+"\n")
		if !d.First.Equal(want) || d.Zoneless != zoneless || d.Untimed != 0 {
			t.Errorf("%s: read as %v, %d without a zone, %d without a time; want %v, %d", text, d.First.UTC(), d.Zoneless, d.Untimed, want, zoneless)
		}
	}
}

// TestWhatNoLineTells names what was not found.
func TestWhatNoLineTells(t *testing.T) {
	d := digestOf(t, access.Options{}, `{"method":"GET","uri":"/a","status":200,"spent":0.1,"request_time":"-"}`+"\n")
	if diff := cmp.Diff([]string{"time", "request time", "bytes"}, d.Untold); diff != "" {
		t.Errorf("untold (- want, + got):\n%s", diff)
	}
}

func TestPackedLogs(t *testing.T) {
	const line = "method:GET\turi:/a\tstatus:200\n"
	zstdEncoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bz, err := base64.StdEncoding.DecodeString(bzip2Line)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(bzip2.NewReader(bytes.NewReader(bz))); err != nil || string(text) != line {
		t.Fatalf("the packed line is %q, %v", text, err)
	}
	if d := digestOf(t, access.Options{}, string(bz), string(zstdEncoder.EncodeAll([]byte(line), nil)), line); d.All.Count != 3 || d.Unreadable != 0 {
		t.Errorf("%d counted, %d unreadable, want 3 and 0", d.All.Count, d.Unreadable)
	}
	d, _ := access.New(access.Options{})
	if err := d.Read(t.Context(), "log.xz", strings.NewReader("\xfd7zXZ\x00...")); err == nil || !strings.Contains(err.Error(), "xz -dc") {
		t.Errorf("xz: %v, want how to give it", err)
	}
}

// bzip2Line is the line of TestPackedLogs; Go packs no bzip2.
const bzip2Line = "QlpoOTFBWSZTWR6UE7UAAAnfgAAwAADQEAKABAAmYp4AIAAxTCaaA0xCjQaaMhtIiXOhkzqtlUO5DwiQaIrn4u5IpwoSA9KCdqA="
