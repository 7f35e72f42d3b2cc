package load_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"isukit/bench/load"
)

// hammer has many users hit two endpoints of a real server; every tenth answer is wrong, every twentieth refused.
func hammer(t *testing.T, e *load.Engine, users, each int) {
	t.Helper()
	o := serveRaw(t, answering(okAnswer))
	eps := []load.Endpoint{e.Endpoint("GET /a"), e.Endpoint("GET /b")}
	var wg sync.WaitGroup
	for u := range users {
		wg.Go(func() {
			c := e.NewClient(u, "")
			defer c.Close()
			for i := range each {
				c.Do(context.Background(), &load.Request{Endpoint: eps[i%2], Origin: o, Target: "/"}, func(*load.Response) error {
					switch i % 20 {
					case 3, 14:
						return load.Faultf(load.Wrong, "not what was written", "hit %d", i)
					case 8:
						return load.ErrRefused
					}
					return nil
				})
			}
		})
	}
	wg.Wait()
}

// TestRecorderLosesNothing has hits from many goroutines counted once each, per endpoint, per second and per kind, and the
// hit log hold the same hits.
func TestRecorderLosesNothing(t *testing.T) {
	const users, each = 20, 400
	var file bytes.Buffer
	log := load.NewHitWriter(&file)
	e := load.NewEngine(load.Options{Recorder: load.NewRecorder(load.RecorderOptions{Log: log})})
	hammer(t, e, users, each)
	s := e.Recorder().Summary(time.Now())
	if err := log.Flush(); err != nil || s.LogErr != nil {
		t.Fatal(err, s.LogErr)
	}
	const hits = users * each
	if got, want := s.Total.Counts.Hits, int64(hits); got != want {
		t.Errorf("total: got %d hits, want %d", got, want)
	}
	if s.Total.Errors != hits/10 || s.Total.Refused != hits/20 || s.Total.OK != hits-hits/10-hits/20 {
		t.Errorf("total: got %+v", s.Total.Counts)
	}
	var inSeconds, inLatencies int64
	for _, sec := range s.Seconds {
		inSeconds += sec.Hits
		inLatencies += sec.Latency.Count
	}
	if inSeconds != hits || inLatencies != hits || s.Total.Latency.Count != hits || s.Total.FromSent.Count != hits {
		t.Errorf("got %d hits in seconds, %d, %d and %d latencies, want %d of each", inSeconds, inLatencies, s.Total.Latency.Count,
			s.Total.FromSent.Count, hits)
	}
	if len(s.Errors) != 2 {
		t.Fatalf("got %d error groups, want 2: %+v", len(s.Errors), s.Errors)
	}
	for _, g := range s.Errors {
		if g.Text != "not what was written" || g.Count != hits/20 || !strings.Contains(g.Example, "not what was written: hit") {
			t.Errorf("group %+v, want %d of not what was written", g, hits/20)
		}
	}

	logged := map[string]int64{}
	var latencies []time.Duration
	for h, err := range load.ReadHits(&file) {
		if err != nil {
			t.Fatal(err)
		}
		logged[h.Name+" "+h.Kind.String()]++
		latencies = append(latencies, h.Latency())
	}
	want := map[string]int64{}
	for _, ep := range s.Endpoints {
		for k, n := range ep.ByKind {
			if n > 0 {
				want[ep.Name+" "+load.Kind(k).String()] = n
			}
		}
	}
	if d := cmp.Diff(want, logged); d != "" {
		t.Errorf("hit log (-recorder +log):\n%s", d)
	}
	slices.Sort(latencies)
	exact := latencies[len(latencies)*99/100-1]
	if got := s.Total.Latency.P99; got < exact*99/100-2*time.Microsecond || got > exact*101/100+2*time.Microsecond {
		t.Errorf("p99: histogram says %v, the log %v", got, exact)
	}
}

// TestHitLogCut has a log that was cut off anywhere yield a prefix and then an error, or end where a hit ends.
func TestHitLogCut(t *testing.T) {
	var file bytes.Buffer
	log := load.NewHitWriter(&file)
	e := load.NewEngine(load.Options{Recorder: load.NewRecorder(load.RecorderOptions{Log: log})})
	hammer(t, e, 1, 20)
	e.Recorder().Summary(time.Now())
	log.Flush()
	whole := file.Bytes()
	for cut := range whole {
		n := 0
		for _, err := range load.ReadHits(bytes.NewReader(whole[:cut])) {
			if err == nil {
				n++
			} else if cut > 14 && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("cut at %d: got %v, want unexpected EOF", cut, err)
			}
		}
		if n >= 20 {
			t.Errorf("cut at %d of %d: got all %d hits", cut, len(whole), n)
		}
	}
}

// TestHitLogThatCannotBeRead has a failing disk not called a file of another kind.
func TestHitLogThatCannotBeRead(t *testing.T) {
	broken := errors.New("input/output error")
	for _, err := range load.ReadHits(iotest.ErrReader(broken)) {
		if !errors.Is(err, broken) {
			t.Errorf("got %v, want %v", err, broken)
		}
	}
	for _, err := range load.ReadHits(strings.NewReader("isukit-")) {
		if err == nil || !strings.Contains(err.Error(), "not a hit log") {
			t.Errorf("got %v, want that it is no hit log", err)
		}
	}
}

func FuzzReadHits(f *testing.F) {
	f.Add([]byte("isukit-hits 1\nE\x01aH\x00\x00\x00\x02\x03\x04\x06\x08"))
	f.Add([]byte("isukit-hits 1\nE\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		errs := 0
		for _, err := range load.ReadHits(bytes.NewReader(b)) {
			if errs > 0 {
				t.Fatal("went on after an error")
			}
			if err != nil {
				errs++
			}
		}
	})
}

func TestErrorGroupsAreBounded(t *testing.T) {
	rec := load.NewRecorder(load.RecorderOptions{MaxErrorGroups: 3})
	e := load.NewEngine(load.Options{Recorder: rec})
	o := serveRaw(t, answering(okAnswer))
	c := e.NewClient(0, "")
	defer c.Close()
	for range 50 {
		c.Do(t.Context(), &load.Request{Endpoint: e.Endpoint("x"), Origin: o, Target: "/"}, func(*load.Response) error {
			return load.Faultf(load.Wrong, string(rune('a'+rand.IntN(26)))+string(rune('a'+rand.IntN(26))), "")
		})
	}
	s := rec.Summary(time.Now())
	var sum int64
	for _, g := range s.Errors {
		sum += g.Count
	}
	if len(s.Errors) > 4 || sum != 50 {
		t.Errorf("got %d groups with %d errors, want at most 4 with 50", len(s.Errors), sum)
	}
}

// TestWatcher has the watch see CPU that was really burnt.
func TestWatcher(t *testing.T) {
	w := load.StartWatch()
	used := func() int64 {
		var ru syscall.Rusage // clock: what the watch says is held against the kernel's own figure
		syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
		return ru.Utime.Nano()
	}
	for begin := used(); used()-begin < int64(100*time.Millisecond); {
	}
	u := w.Stop()
	if u.CPU < 50*time.Millisecond || u.CPU > u.Elapsed*time.Duration(u.MaxCores+1) {
		t.Errorf("got %v of CPU in %v on %d cores, want at least 50ms", u.CPU, u.Elapsed, u.MaxCores)
	}
	if u.TimerDelay.Count == 0 || u.PeakRSSBytes < 1<<20 {
		t.Errorf("got %d timers, %d bytes resident", u.TimerDelay.Count, u.PeakRSSBytes)
	}
}
