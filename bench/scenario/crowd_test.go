package scenario

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"isukit/bench/load"
)

// TestCrowdComesInTurn has two visitors bring about two visits of everybody: people come one after another, whichever visitor is
// free, and none of the staff is among them.
func TestCrowdComesInTurn(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer server.Close()
	web, err := load.ParseOrigin(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	engine := load.NewEngine(load.Options{})
	p, err := New(Options{
		Engine: engine, Web: web, Assets: map[string][]byte{"/": nil},
		Dataset: Dataset{Admin: Login{Name: "admin"}, Leaders: []Login{{ContestantID: 1, Name: "a", TeamID: 1}}, Teams: []Team{{ID: 1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var came []int
	p.OnStep = func(user int, _ Step) {
		mu.Lock()
		defer mu.Unlock()
		came = append(came, user)
	}
	visitors := []load.Visitor{p.NewVisitor(0), p.NewVisitor(1)}
	for i := range 2 * crowdSize {
		visitors[i%2].Visit(t.Context(), time.Now())
	}
	for _, v := range visitors {
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(came) != 2*crowdSize || !slices.Equal(came[:crowdSize], came[crowdSize:]) {
		t.Errorf("%d steps of %v: not everybody came twice, in the same order", len(came), came)
	}
	if slices.ContainsFunc(came, p.isStaff) {
		t.Errorf("staff is among those who came: %v", came)
	}
	if got, want := len(p.Staff()), staffCasts*3; got != want {
		t.Errorf("%d are at work, want %d", got, want)
	}
	if s := engine.Recorder().Summary(time.Now()); s.Total.Hits < 2*crowdSize {
		t.Errorf("%d hits of %d visits", s.Total.Hits, 2*crowdSize)
	}
}
