package load_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"isukit/bench/load"
)

func TestRunUsers(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 1024)) }))
	defer srv.Close()
	o, err := load.ParseOrigin(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	e := load.NewEngine(load.Options{})
	ep := e.Endpoint("GET /")
	ctx, cancel := context.WithTimeout(context.Background(), 2300*time.Millisecond)
	defer cancel()
	rep := load.Run(ctx, &load.Grow{Start: 3}, func(n int) load.User {
		return func(ctx context.Context) {
			c := e.NewClient(n, "")
			defer c.Close()
			for ctx.Err() == nil {
				c.Do(ctx, &load.Request{Endpoint: ep, Origin: o, Target: "/"}, nil)
			}
		}
	}, e.Recorder(), func(tk load.Tick) { t.Logf("%d users %d hits p99 %v", tk.Users, tk.Last.Hits, tk.Last.Latency.P99) })
	s := e.Recorder().Summary(rep.End)
	t.Logf("%+v", s.Total)
	t.Logf("%+v", s.Errors)
	if s.Total.OK == 0 || s.Total.Errors > 0 {
		t.Errorf("hits %+v", s.Total.Counts)
	}
}
