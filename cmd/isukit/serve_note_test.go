package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"isukit/bench/result"
)

// TestServeNotes takes notes from the page itself alone, of bounded size, about rounds that are there.
func TestServeNotes(t *testing.T) {
	dir := keptRounds(t)
	h := newRoundServer(dir)
	h.local = true
	server := httptest.NewServer(h.handler())
	defer server.Close()
	const id = "20261122T200100Z-x"
	kept := 0
	for name, c := range map[string]struct {
		head        map[string]string
		round, text string
		code        int
	}{
		"the page":              {map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": "null"}, id, "a <b>note</b> #tag", 303},
		"an old browser's page": {map[string]string{"Origin": server.URL}, id, "a note", 303},
		"another site's form":   {map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, id, "a note", 403},
		"another site, old":     {map[string]string{"Origin": "http://evil.example"}, id, "a note", 403},
		"another site, rebound": {map[string]string{"Host": "evil.example", "Origin": "http://evil.example"}, id, "a note", 403},
		"no such round":         {nil, "nope", "a note", 404},
		"a path":                {nil, "../x", "a note", 404},
		"nothing":               {nil, id, " ", 500},
		"more than a note":      {nil, id, strings.Repeat("x", 5000), 500},
		"far more than a note":  {nil, id, strings.Repeat("x", 1<<20), 404}, // the form is not read
	} {
		req, _ := http.NewRequest(http.MethodPost, server.URL+"/notes", strings.NewReader(url.Values{"round": {c.round}, "text": {c.text}}.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for k, v := range c.head {
			req.Header.Set(k, v)
		}
		if host := c.head["Host"]; host != "" {
			req.Host = host
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.code {
			t.Errorf("%s: status %d, want %d", name, resp.StatusCode, c.code)
		}
		if c.code == 303 {
			kept++
		}
	}
	if notes := result.Notes(dir, id); len(notes) != kept {
		t.Errorf("%d notes are kept, want %d", len(notes), kept)
	}
}
