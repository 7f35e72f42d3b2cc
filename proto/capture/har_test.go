package capture_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"isukit/proto/capture"
)

type har struct {
	Log struct {
		Version string           `json:"version"`
		Entries []map[string]any `json:"entries"`
	} `json:"log"`
}

// realHAR is the captured traffic of plain.pcap, or of a part of it, as a browser would write it down.
func realHAR(t testing.TB, pcap []byte) []byte {
	t.Helper()
	var out har
	out.Log.Version = "1.2"
	for _, e := range harExchanges(t, pcap) {
		fields := func(h capture.Header) []map[string]string {
			list := []map[string]string{}
			for _, f := range h {
				list = append(list, map[string]string{"name": f.Name, "value": f.Value})
			}
			return list
		}
		entry := map[string]any{
			"startedDateTime": e.Request.Start.Format(time.RFC3339Nano), "time": 1.5, "serverIPAddress": "127.0.0.1",
			"request": map[string]any{"method": e.Request.Method, "url": "http://127.0.0.1" + e.Request.Target, "httpVersion": "HTTP/1.1",
				"headers":  fields(e.Request.Header),
				"postData": map[string]any{"text": base64.StdEncoding.EncodeToString(e.Request.Body), "encoding": "base64"}},
			"response": map[string]any{"status": e.Response.Status, "statusText": http.StatusText(e.Response.Status), "headers": fields(e.Response.Header),
				"content": map[string]any{"text": base64.StdEncoding.EncodeToString(e.Response.Body), "encoding": "base64", "size": len(e.Response.Body)}},
		}
		out.Log.Entries = append(out.Log.Entries, entry)
	}
	data, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func harExchanges(t testing.TB, data []byte) []*capture.Exchange {
	t.Helper()
	got, err := allExchanges(data)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// allExchanges reads to the end, or to the first error, which io.EOF is not.
func allExchanges(data []byte) (got []*capture.Exchange, err error) {
	r, err := capture.NewReader(bytes.NewReader(data), capture.DefaultOptions())
	if err != nil {
		return nil, err
	}
	for {
		e, err := r.Next(context.Background())
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, e)
	}
}

// TestHARIsWhatWasCaptured reads real traffic from a HAR file, and finds every body as it was on the wire.
func TestHARIsWhatWasCaptured(t *testing.T) {
	want, got := harExchanges(t, seeds(t)["plain.pcap"]), harExchanges(t, realHAR(t, seeds(t)["plain.pcap"]))
	if len(got) != len(want) {
		t.Fatalf("got %d exchanges, want %d", len(got), len(want))
	}
	for i, e := range got {
		w := want[i]
		if e.Request.Method != w.Request.Method || e.Request.Target != w.Request.Target || e.Response.Status != w.Response.Status ||
			!bytes.Equal(e.Request.Body, w.Request.Body) || !bytes.Equal(e.Response.Body, w.Response.Body) || len(e.Incomplete) > 0 {
			t.Errorf("exchange %d: got %s %s %d, %v, want %s %s %d with the same bodies", i, e.Request.Method, e.Request.Target,
				e.Response.Status, e.Incomplete, w.Request.Method, w.Request.Target, w.Response.Status)
		}
	}
}

// TestHARCutOff reads a file that was cut off anywhere: the complete entries are unchanged, and an error follows.
func TestHARCutOff(t *testing.T) {
	whole := realHAR(t, seeds(t)["plain.pcap"])
	want := harExchanges(t, whole)
	most := 0
	for cut := 1; cut < len(whole)-3; cut += 7 {
		got, err := allExchanges(whole[:cut])
		if err == nil {
			t.Errorf("cut at %d of %d: no error after %d exchanges", cut, len(whole), len(got))
		}
		if len(got) < most || len(got) > len(want) {
			t.Errorf("cut at %d: %d exchanges, %d with less", cut, len(got), most)
		}
		most = len(got)
		for i, e := range got {
			if e.Request.Target != want[i].Request.Target || !bytes.Equal(e.Response.Body, want[i].Response.Body) {
				t.Fatalf("cut at %d: exchange %d is another", cut, i)
			}
		}
	}
	if most < len(want)-1 {
		t.Errorf("the longest cut gave %d of %d exchanges", most, len(want))
	}
}

// TestHARChangedBytes changes bytes at random: whatever comes, the reader ends, and what it gives is marked or whole.
func TestHARChangedBytes(t *testing.T) {
	whole := realHAR(t, seeds(t)["plain.pcap"])
	rnd := rand.New(rand.NewPCG(7, 7))
	damaged, read := 0, 0
	for range 2000 {
		data := slices.Clone(whole)
		for range 1 + rnd.IntN(3) {
			data[rnd.IntN(len(data))] = byte(rnd.IntN(256))
		}
		got, err := allExchanges(data)
		if err != nil {
			damaged++
		}
		read += len(got)
		for _, e := range got {
			if e.Request == nil || e.Response == nil && len(e.Incomplete) == 0 {
				t.Fatalf("half an exchange that is not marked: %+v", e)
			}
		}
	}
	if damaged == 0 || damaged == 2000 || read == 0 {
		t.Errorf("%d of 2000 changed files are said to be damaged, %d exchanges read", damaged, read)
	}
}

// TestHARFaults is a table of files that programs get wrong, or that somebody has made.
func TestHARFaults(t *testing.T) {
	const started = `"startedDateTime":"2026-01-01T00:00:00Z","time":5,`
	file := func(entries ...string) string {
		return `{"log":{"version":"1.2","entries":[` + strings.Join(entries, ",") + `]}}`
	}
	entry := func(request, response string) string {
		return `{` + started + `"request":` + request + `,"response":` + response + `}`
	}
	const get, answer = `{"method":"GET","url":"http://a/b","headers":[]}`, `{"status":200,"headers":[],"content":{"text":"x"}}`
	fine := entry(get, answer)
	tests := []struct {
		name, file string
		exchanges  int
		err        string // what the error holds; "" for none
		incomplete string // what the last exchange is marked with
	}{
		{"fine", file(fine, fine), 2, "", ""},
		{"no entries", file(), 0, "", ""},
		{"a byte order mark", "\xef\xbb\xbf" + file(fine), 1, "", ""},
		{"other members around", `{"a":[1,{"entries":[]}],"log":{"pages":[{}],"entries":[` + fine + `],"comment":"x"},"b":2}`, 1, "", ""},
		{"JSON, but no HAR", `{"data":[1,2]}`, 0, `no "log"`, ""},
		{"entries that are no list", `{"log":{"entries":{}}}`, 0, "where [ should be", ""},
		{"a log that is no object", `{"log":[]}`, 0, "where { should be", ""},
		{"an entry that is no object", file(fine, `7`, fine), 3, "", ""},
		{"a status in words", file(fine, entry(get, `{"status":"OK"}`)), 2, "", "is not a status"},
		{"a date that is none", file(fine, strings.Replace(fine, "2026-01-01T", "yesterday", 1)), 2, "", "is not a time"},
		{"a zone without a colon", file(strings.Replace(fine, "00Z", "00+0900", 1)), 1, "", ""},
		{"no zone", file(strings.Replace(fine, "00Z", "00", 1)), 1, "", "has no zone"},
		{"a status as text", file(entry(get, `{"status":"200","content":{"text":"x"}}`)), 1, "", ""},
		{"a comma too many", file(fine, ""), 1, "invalid character", ""},
		{"the rest is missing", strings.TrimSuffix(file(fine, fine), "}]}}"), 1, "unexpected EOF", ""},
		{"behind the list everything is missing", strings.TrimSuffix(file(fine), "]}}"), 1, "unexpected EOF", ""},
		{"no response", file(entry(get, `{"status":0}`)), 1, "", "no response was captured"},
		{"a response that is null", file(entry(get, `null`)), 1, "", "no response was captured"},
		{"damaged base64", file(entry(get, `{"status":200,"content":{"text":"CgN%%","encoding":"base64"}}`)), 1, "", "damaged base64"},
		{"a body that is left out", file(entry(get, `{"status":200,"content":{"size":12}}`)), 1, "", "does not hold its body"},
		{"a request body that is left out", file(entry(`{"method":"POST","url":"http://a/","bodySize":9}`, answer)), 1, "", "request: the HAR file does not hold its body"},
		{"bytes as text", file(entry(get, `{"status":200,"headers":[{"name":"content-type","value":"application/protobuf"}],"content":{"text":"\u000a\u00ff"}}`)), 1, "", ""},
		{"bytes as text, damaged", file(entry(get, `{"status":200,"headers":[{"name":"content-type","value":"application/protobuf"}],"content":{"text":"\u000a\ufffd"}}`)), 1, "", "is damaged"},
		{"JSON of a charset", file(entry(`{"method":"POST","url":"http://a/","headers":[{"name":"Content-Type","value":"application/x-www-form-urlencoded"}],"postData":{"text":"q=日本"}}`,
			`{"status":200,"headers":[{"name":"Content-Type","value":"application/json; charset=utf-8"}],"content":{"text":"{\"name\":\"日本 é\"}"}}`)), 1, "", ""},
		{"XML of its own kind", file(entry(get, `{"status":200,"headers":[{"name":"Content-Type","value":"Application/Atom+XML"}],"content":{"text":"<a>日本</a>"}}`)), 1, "", ""},
		{"postData that is null", file(entry(`{"method":"POST","url":"http://a/","postData":null}`, answer)), 1, "", ""},
		{"a URL that is none", file(entry(`{"method":"GET","url":"http://[::1","headers":[]}`, answer)), 1, "", ""},
		{"sizes below nothing", file(entry(`{"method":"GET","url":"http://a/","bodySize":-1}`, `{"status":204,"bodySize":-1,"content":{"size":-1}}`)), 1, "", ""},
		{"deeply nested", file(strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)), 0, "exceeded max depth", ""},
		{"deeply nested before", `{"a":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, 0, "exceeded max depth", ""},
	}
	for _, tt := range tests {
		got, err := allExchanges([]byte(tt.file))
		if len(got) != tt.exchanges || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: got %d exchanges and %v, want %d and %q", tt.name, len(got), err, tt.exchanges, tt.err)
			continue
		}
		if len(got) > 0 {
			if text := strings.Join(got[len(got)-1].Incomplete, "; "); !strings.Contains(text, tt.incomplete) || (text == "") != (tt.incomplete == "") {
				t.Errorf("%s: marked %q, want %q", tt.name, text, tt.incomplete)
			}
		}
	}
}

// TestHARTextStaysText has the text of JSON not taken for bytes that stand one by one in a string, and an IPv6 address read as
// browsers write it.
func TestHARTextStaysText(t *testing.T) {
	got, err := allExchanges([]byte(`{"log":{"entries":[{"startedDateTime":"2026-01-01T00:00:00Z","serverIPAddress":"[2001:db8::1]",` +
		`"request":{"method":"GET","url":"https://a/"},"response":{"status":200,"headers":[{"name":"Content-Type","value":"application/json;charset=utf-8"}],` +
		`"content":{"text":"{\"name\":\"é\"}"}}}]}}`))
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	if body, want := string(got[0].Response.Body), `{"name":"é"}`; body != want {
		t.Errorf("body %q, want %q", body, want)
	}
	if server, want := got[0].Server.String(), "[2001:db8::1]:443"; server != want {
		t.Errorf("server %s, want %s", server, want)
	}
}

// TestHARTimesAreBounded: durations that no clock can hold do not become others.
func TestHARTimesAreBounded(t *testing.T) {
	for _, ms := range []float64{-5, 0, 1e6, 1e300, math.MaxFloat64} {
		text := fmt.Sprintf(`{"log":{"entries":[{"startedDateTime":"2026-01-01T00:00:00Z","time":%g,"request":{"method":"GET","url":"http://a/"},`+
			`"response":{"status":200}}]}}`, ms)
		got, err := allExchanges([]byte(text))
		if err != nil || len(got) != 1 {
			t.Fatalf("time %g: %v", ms, err)
		}
		took := got[0].Response.Start.Sub(got[0].Request.Start)
		want := time.Duration(min(max(ms, 0), float64(time.Hour*24*365/time.Millisecond))) * time.Millisecond
		if took != want {
			t.Errorf("time %g ms: the answer came after %v, want %v", ms, took, want)
		}
	}
}

// TestHAREntriesOfNothingEnd: entries without anything in them are a few bytes each, so that a small file would be many exchanges. Some are
// shown, and as many as there are others.
func TestHAREntriesOfNothingEnd(t *testing.T) {
	full := `{"request":{"method":"GET","url":"http://a/"},"response":{"status":200}}`
	for _, c := range []struct {
		entries string
		want    int
		ends    bool
	}{
		{strings.Repeat("{},", 900) + full, 901, true},
		{strings.Repeat("{},", 100_000) + full, 1000, false},
		{strings.Repeat("[],", 100_000) + full, 1000, false},
		{strings.Repeat(full+",{},[],", 900) + full, 2701, true},
	} {
		reader, err := capture.NewReader(strings.NewReader(`{"log":{"entries":[`+c.entries+`]}}`), capture.DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for ; err == nil; got++ {
			_, err = reader.Next(t.Context())
		}
		if got-1 != c.want || errors.Is(err, io.EOF) != c.ends {
			t.Errorf("%.30s...: %d exchanges, then %v; want %d", c.entries, got-1, err, c.want)
		}
	}
}
