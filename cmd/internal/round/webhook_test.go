package round

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"isukit/bench/result"
)

// TestWebhooks posts to stand-ins of Slack's and Discord's webhooks, which refuse what those refuse, and to one that takes anything. The
// record is hostile, and longer than Discord takes.
func TestWebhooks(t *testing.T) {
	dir := t.TempDir()
	for i, score := range []int64{100, 900, 500} {
		r := &result.Round{ID: fmt.Sprint("2026112", i), Passed: i != 1, Score: result.Score{Total: score, Lines: []result.ScoreLine{}}}
		if _, err := result.Write(dir, r); err != nil {
			t.Fatal(err)
		}
	}
	hostile := &result.Round{ID: "20261129", Passed: true, Score: result.Score{Total: 650}, Reason: "<!channel> @everyone <https://evil.example|click>", Warnings: []string{strings.Repeat("あ", 300)}}
	for range 3 {
		hostile.Access.Routes = append(hostile.Access.Routes, result.Route{Method: "GET", Path: "/" + strings.Repeat("日本", 400)})
		hostile.Queries.Queries = append(hostile.Queries.Queries, result.Query{Fingerprint: strings.Repeat("select 日本 ", 400)})
	}
	var got string
	only := func(fields map[string]json.RawMessage, known ...string) error {
		for _, k := range known {
			delete(fields, k)
		}
		if len(fields) > 0 {
			return fmt.Errorf("unknown fields %v", fields)
		}
		return nil
	}
	mux := http.NewServeMux()
	answer := func(path string, take func(fields map[string]json.RawMessage) (string, error), code int) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			fields := map[string]json.RawMessage{}
			err := json.Unmarshal(body, &fields)
			if err == nil {
				got, err = take(fields)
			}
			if err != nil || r.Header.Get("Content-Type") != "application/json" {
				http.Error(w, fmt.Sprint("invalid_payload: ", err), http.StatusBadRequest)
				return
			}
			w.WriteHeader(code)
		})
	}
	answer("/services/T0/B0/hunter2", func(f map[string]json.RawMessage) (text string, err error) {
		if err := json.Unmarshal(f["text"], &text); err != nil || text == "" || len(text) > 40_000 || strings.ContainsAny(text, "<>") {
			return text, fmt.Errorf("text %q, %w", text, err)
		}
		return text, only(f, "text", "unfurl_links", "unfurl_media")
	}, 200)
	answer("/api/webhooks/1/hunter2", func(f map[string]json.RawMessage) (text string, err error) {
		if err := json.Unmarshal(f["content"], &text); err != nil || text == "" || utf8.RuneCountInString(text) > 2000 {
			return text, fmt.Errorf("content of %d characters, %w", utf8.RuneCountInString(text), err)
		}
		if string(f["allowed_mentions"]) != `{"parse":[]}` {
			return text, fmt.Errorf("mentions: %s", f["allowed_mentions"])
		}
		return text, only(f, "content", "allowed_mentions", "flags")
	}, 204)
	answer("/hooks/any", func(f map[string]json.RawMessage) (text string, err error) {
		return text, json.Unmarshal(f["text"], &text)
	}, 200)
	server := httptest.NewServer(mux)
	defer server.Close()
	for _, path := range []string{"/services/T0/B0/hunter2", "/api/webhooks/1/hunter2", "/hooks/any"} {
		got = ""
		if err := PostSummary(t.Context(), server.URL+path, dir, "http://10.0.0.1:8090/", hostile); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		// The round with 900 failed: the best is that with 500.
		if !strings.Contains(got, "+150 against the best, 500 of 20261122") || !strings.Contains(got, "score 650") {
			t.Errorf("%s: the text is %q", path, got)
		}
		if path != "/api/webhooks/1/hunter2" && !strings.Contains(got, "http://10.0.0.1:8090/rounds/20261129/report.html") {
			t.Errorf("%s: no link in %q", path, got)
		}
	}
}
