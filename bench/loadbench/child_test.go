package loadbench

import (
	"context"
	"encoding/json"
	"io"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"isukit/bench/load"
)

// childReport is what a child process prints.
type childReport struct {
	Hits, Errors int64
	Seconds      float64
	Example      string `json:",omitempty"`
	// BytesPerUser is what one idle user keeps resident.
	BytesPerUser float64 `json:",omitempty"`
}

// runChild is the engine in a process of its own, so that it can be pinned and its CPU time read.
func runChild(ctx context.Context, o options, out io.Writer) error {
	u, err := url.Parse(o.target)
	if err != nil {
		return err
	}
	origin, err := load.ParseOrigin(u.Scheme + "://" + u.Host)
	if err != nil {
		return err
	}
	if err := load.RaiseFileLimit(o.users + 100); err != nil {
		return err
	}
	e := load.NewEngine(load.Options{RequestTimeout: 30 * time.Second})
	req := load.Request{Endpoint: e.Endpoint("GET /leaderboard"), Origin: origin, Target: u.Path}
	var check func(*load.Response) error
	if o.check {
		check = newMessage().check
	}
	var rep childReport
	if o.role == "connections" {
		if rep.BytesPerUser, err = idleUsers(ctx, e, req, o.users); err != nil {
			return err
		}
	}
	lctx, cancel := context.WithTimeout(ctx, o.length)
	defer cancel()
	user := func(n int) load.User {
		return func(ctx context.Context) {
			c := e.NewClient(n, "")
			defer c.Close()
			req := req
			for ctx.Err() == nil {
				c.Do(ctx, &req, check)
			}
		}
	}
	var r load.Report
	if o.role == "connections" {
		r = load.Run(lctx, load.Users{N: o.users}, user, e.Recorder(), nil)
	} else {
		r = atOnce(lctx, o.users, user, e.Recorder())
	}
	s := e.Recorder().Summary(r.End)
	rep.Hits, rep.Errors, rep.Seconds = s.Total.OK, s.Total.Errors, r.End.Sub(r.Start).Seconds()
	if len(s.Errors) > 0 {
		rep.Example = s.Errors[0].Example
	}
	return json.NewEncoder(out).Encode(rep)
}

// atOnce is load.Run with users that all begin together, like those of the other generators.
func atOnce(ctx context.Context, users int, newUser func(n int) load.User, rec *load.Recorder) load.Report {
	r := load.Report{Start: time.Now(), Started: users}
	rec.Start(r.Start)
	var running sync.WaitGroup
	for n := range users {
		user := newUser(n)
		running.Go(func() { user(ctx) })
	}
	running.Wait()
	r.End = time.Now()
	return r
}

// idleUsers connects users, has each send one request, and returns what each keeps resident while it waits.
func idleUsers(ctx context.Context, e *load.Engine, req load.Request, users int) (float64, error) {
	before := resident()
	var ready, gone sync.WaitGroup
	release := make(chan struct{})
	faults := make(chan error, users)
	for n := range users {
		ready.Add(1)
		gone.Go(func() {
			c := e.NewClient(n, "")
			defer c.Close()
			req := req
			faults <- c.Do(ctx, &req, nil)
			ready.Done()
			<-release
		})
		if n%100 == 99 {
			time.Sleep(5 * time.Millisecond) // the listen queue is not what is measured
		}
	}
	ready.Wait()
	close(faults)
	perUser := (resident() - before) / float64(users)
	close(release)
	gone.Wait()
	for err := range faults {
		if err != nil {
			return 0, err
		}
	}
	return perUser, nil
}

// resident returns the resident memory in bytes, after giving back what is free.
func resident() float64 {
	runtime.GC()
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, _ := strconv.ParseFloat(strings.Fields(string(b))[1], 64)
	return pages * float64(os.Getpagesize())
}
