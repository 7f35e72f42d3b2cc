package capture_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isukit/proto/capture"
)

// sentTruth is one exchange as its sender or its server wrote it down.
type sentTruth struct {
	Method, Path string
	Req, Resp    string // hexadecimal
	Status       int
}

func truthOf(t *testing.T, file string) (all []sentTruth) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var s sentTruth
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// TestHARsOfBrowsersAndProxies: the records of a browser and a proxy are what the app got and sent (testdata/har/make.sh). Lost parts of a
// body are reported.
func TestHARsOfBrowsersAndProxies(t *testing.T) {
	lost := map[string]string{
		"playwright POST /pb":  "is damaged", // it writes U+FFFD for bytes of a request that are not UTF-8
		"playwright PUT /gzip": "is damaged",
		"cdp POST /json":       "holds its parameters, not its body",
	}
	for _, name := range []string{"playwright", "cdp", "mitmproxy"} {
		data, err := os.ReadFile(filepath.Join("testdata", "har", name+".har"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := allExchanges(data)
		if err != nil {
			t.Fatal(err)
		}
		read := map[string]*capture.Exchange{}
		for _, e := range got {
			read[e.Request.Method+" "+e.Request.Target] = e
			if e.Scheme != "https" || e.Request.Header.Get("Host") != "shop.example:8443" {
				t.Errorf("%s: %s %s: scheme %q, host %q", name, e.Request.Method, e.Request.Target, e.Scheme, e.Request.Header.Get("Host"))
			}
		}
		truth := truthOf(t, filepath.Join("testdata", "har", name+".truth"))
		if len(truth) < 16 {
			t.Fatalf("%s: %d calls", name, len(truth))
		}
		for _, s := range truth {
			call := s.Method + " " + s.Path
			e := read[call]
			if e == nil {
				if s.Path != "/favicon.ico" { // which the browser wants for itself
					t.Errorf("%s: %s is missing", name, call)
				}
				continue
			}
			if said := strings.Join(e.Incomplete, "; "); lost[name+" "+call] != "" {
				if !strings.Contains(said, lost[name+" "+call]) {
					t.Errorf("%s: %s is marked %q, want %q", name, call, said, lost[name+" "+call])
				}
				e.Request.Body, _ = hex.DecodeString(s.Req)
			} else if said != "" {
				t.Errorf("%s: %s is marked %q", name, call, said)
			}
			if req, resp := hex.EncodeToString(e.Request.Body), hex.EncodeToString(e.Response.Body); req != s.Req || resp != s.Resp || e.Response.Status != s.Status {
				t.Errorf("%s: %s: %s, %d %s\nthe app has %s, %d %s", name, call, req, e.Response.Status, resp, s.Req, s.Status, s.Resp)
			}
		}
	}
}

// TestOddEntriesOfHAR: each entry of odd.har is read, and has the fault in its comment; one that is not an object has a fault, too.
func TestOddEntriesOfHAR(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "har", "odd.har"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Log struct{ Entries []json.RawMessage }
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	got, err := allExchanges(data)
	if err != nil || len(got) != len(file.Log.Entries) || len(got) < 50 {
		t.Fatalf("%d of %d entries, %v", len(got), len(file.Log.Entries), err)
	}
	for i, raw := range file.Log.Entries {
		var entry struct{ Comment string }
		want, said := "it must not be of type", strings.Join(got[i].Incomplete, "; ")
		if json.Unmarshal(raw, &entry) == nil {
			_, want, _ = strings.Cut(entry.Comment, "wrong: ")
		}
		if string(raw) == "null" {
			want = "no time"
		}
		if !strings.Contains(said, want) || got[i].Malformed != (want != "") {
			t.Errorf("%s\nis marked %q, malformed %v; want %q", raw, said, got[i].Malformed, want)
		}
		if strings.Contains(string(raw), `"text": "x"`) && (got[i].Response == nil || string(got[i].Response.Body) != "x") {
			t.Errorf("%s\nis read as %+v", raw, got[i].Response)
		}
	}
}

// TestShapesOfHTTP: codings of transfer and content, answers before their requests, requests to a proxy, sent by hand over a real
// connection (testdata/shapes/send.py).
func TestShapesOfHTTP(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "shapes", "shapes.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := allExchanges(data)
	if err != nil {
		t.Fatal(err)
	}
	truth := truthOf(t, filepath.Join("testdata", "shapes", "shapes.truth"))
	if len(got) != len(truth) || len(truth) < 12 {
		t.Fatalf("%d exchanges, sent %d", len(got), len(truth))
	}
	for i, s := range truth {
		e := got[i]
		if e.Request.Method != s.Method || e.Request.Target != s.Path || e.Response.Status != s.Status || hex.EncodeToString(e.Request.Body) != s.Req ||
			hex.EncodeToString(e.Response.Body) != s.Resp || len(e.Incomplete) > 0 || e.Latency() < 0 {
			t.Errorf("%s %s is read as %s %s (%q) %d %q, %v, latency %v", s.Method, s.Path, e.Request.Method, e.Request.Target, e.Request.Body, e.Response.Status, e.Response.Body, e.Incomplete, e.Latency())
		}
		if s.Path == "/early" && (!e.Response.End.Before(e.Request.End) || e.Latency() != 0) {
			t.Errorf("%s: the answer ends at %v, the request at %v: latency %v", s.Path, e.Response.End, e.Request.End, e.Latency())
		}
	}
}
