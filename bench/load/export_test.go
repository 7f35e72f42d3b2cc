package load_test

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"isukit/bench/load"
)

func someHits(err error) iter.Seq2[load.LoggedHit, error] {
	return func(yield func(load.LoggedHit, error) bool) {
		h := load.LoggedHit{Name: `GET /a,"b"`, Hit: load.Hit{User: 3, Kind: load.Stale, Status: 200, ReceivedBytes: 12,
			Intended: 1500 * time.Millisecond, Sent: 1501 * time.Millisecond, Done: 2 * time.Second}}
		if yield(h, nil) && err != nil {
			yield(load.LoggedHit{}, err)
		}
	}
}

func TestExport(t *testing.T) {
	var b strings.Builder
	if err := load.ExportCSV(&b, someHits(nil)); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("got %q, %v", b.String(), err)
	}
	if got, want := strings.Join(rows[1], "|"), `3|GET /a,"b"|stale|200|12|1.500000|1.501000|2.000000`; got != want {
		t.Errorf("CSV: got %s, want %s", got, want)
	}

	b.Reset()
	if err := load.ExportJSONLines(&b, someHits(nil)); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatalf("%v: %s", err, b.String())
	}
	for i, key := range rows[0] {
		if _, ok := got[key]; !ok {
			t.Errorf("JSON has no %s, column %d of the CSV", key, i)
		}
	}
	if got["endpoint"] != `GET /a,"b"` || got["kind"] != "stale" || got["done_s"] != 2.0 {
		t.Errorf("JSON: got %v", got)
	}

	cut := errors.New("cut off")
	b.Reset()
	if err := load.ExportCSV(&b, someHits(cut)); !errors.Is(err, cut) || strings.Count(b.String(), "\n") != 2 {
		t.Errorf("cut log: got %v and %q, want the error after one hit", err, b.String())
	}
}
