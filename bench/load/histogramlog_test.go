package load_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"

	"isukit/bench/load"
)

// spread has hits of two endpoints that end over two and a half seconds, and whose intended times lie up to 3 s back.
func spread(t *testing.T) *load.Recorder {
	t.Helper()
	rec := load.NewRecorder(load.RecorderOptions{Start: time.Now()})
	e := load.NewEngine(load.Options{Recorder: rec})
	o := serveRaw(t, answering(okAnswer))
	names := []string{"GET /a b,c", "POST /100%/{é}"}
	rnd := rand.New(rand.NewPCG(1, 2))
	for u := range 3 {
		c := e.NewClient(u, "")
		defer c.Close()
		for i := range 300 {
			req := load.Request{Endpoint: e.Endpoint(names[i%2]), Origin: o, Target: "/"}
			if i%3 > 0 {
				req.Intended = time.Now().Add(-time.Duration(rnd.ExpFloat64() * float64(300*time.Millisecond)))
			}
			if err := c.Do(context.Background(), &req, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(800 * time.Millisecond)
	}
	return rec
}

// TestHistogramsMergeWithoutLoss has the intervals of a log, added up any way, give what the recorder's summary says, to the
// last count and the last digit of every quantile.
func TestHistogramsMergeWithoutLoss(t *testing.T) {
	t.Parallel()
	rec := spread(t)
	want := rec.Summary(time.Now())
	var file bytes.Buffer
	if err := rec.WriteHistograms(&file); err != nil {
		t.Fatal(err)
	}
	all, allSent := load.NewLatencies(), load.NewLatencies()
	byName, byNameSent, bySecond := map[string]*load.Latencies{}, map[string]*load.Latencies{}, map[int]*load.Latencies{}
	for i, err := range load.ReadHistograms(&file) {
		if err != nil {
			t.Fatal(err)
		}
		if i.FromSent {
			add(byNameSent, i.Endpoint, i)
			allSent.Merge(i)
			continue
		}
		add(byName, i.Endpoint, i)
		add(bySecond, i.At, i)
		all.Merge(i)
	}
	if d := cmp.Diff(want.Total.Latency, all.Latency()); d != "" || all.Latency().Count != 900 {
		t.Errorf("all (-summary +log):\n%s", d)
	}
	if d := cmp.Diff(want.Total.FromSent, allSent.Latency()); d != "" {
		t.Errorf("all, from sent (-summary +log):\n%s", d)
	}
	for _, e := range want.Endpoints {
		if byName[e.Name] == nil || byName[e.Name].Latency() != e.Latency || byNameSent[e.Name].Latency() != e.FromSent {
			t.Errorf("%q: %v in the log, want %v and %v", e.Name, byName[e.Name], e.Latency, e.FromSent)
		}
	}
	if len(want.Seconds) < 2 {
		t.Errorf("%d seconds, want 2 or more", len(want.Seconds))
	}
	for _, s := range want.Seconds {
		if s.Hits > 0 && (bySecond[s.At] == nil || bySecond[s.At].Latency() != s.Latency) {
			t.Errorf("second %d: %v in the log, want %v", s.At, bySecond[s.At], s.Latency)
		}
	}
	if want.Total.Latency.P90 < 100*time.Millisecond || want.Total.FromSent.P90 > 100*time.Millisecond {
		t.Errorf("p90 %v from intended, %v from sent", want.Total.Latency.P90, want.Total.FromSent.P90)
	}
}

func add[K comparable](to map[K]*load.Latencies, key K, i load.Interval) {
	if to[key] == nil {
		to[key] = load.NewLatencies()
	}
	to[key].Merge(i)
}

// TestHistogramsAreHdrHistograms has HdrHistogram's own reader of logs read ours.
func TestHistogramsAreHdrHistograms(t *testing.T) {
	t.Parallel()
	rec := spread(t)
	want := rec.Summary(time.Now())
	var file bytes.Buffer
	if err := rec.WriteHistograms(&file); err != nil {
		t.Fatal(err)
	}
	reader := hdrhistogram.NewHistogramLogReader(&file)
	merged := hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3)
	for {
		h, err := reader.NextIntervalHistogram()
		if err != nil {
			t.Fatal(err)
		}
		if h == nil {
			break
		}
		if strings.HasPrefix(h.Tag(), "intended:") {
			merged.Merge(h)
		}
	}
	if got := time.Duration(merged.ValueAtPercentile(99)) * time.Microsecond; merged.TotalCount() != want.Total.Latency.Count || got != want.Total.Latency.P99 {
		t.Errorf("got %d latencies with a p99 of %v, want %d and %v", merged.TotalCount(), got, want.Total.Latency.Count, want.Total.Latency.P99)
	}
}

// TestHistogramsCut has a log that was cut off anywhere yield a prefix, and an error unless it ends with a line.
func TestHistogramsCut(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	if err := spread(t).WriteHistograms(&file); err != nil {
		t.Fatal(err)
	}
	whole := file.String()
	last := strings.LastIndex(whole[:len(whole)-1], "\n") + 1
	for cut := last; cut < len(whole)-1; cut++ {
		var err error
		for _, err = range load.ReadHistograms(strings.NewReader(whole[:cut])) {
		}
		if (err == nil) != (cut == last) {
			t.Errorf("cut %d bytes into the last line of %d: %v", cut-last, len(whole)-last, err)
		}
	}
}

func FuzzReadHistograms(f *testing.F) {
	f.Add([]byte("Tag=intended:GET%20/,0.000,1.000,1.0,HISTFAAAABx4nJNpmSzMwMDAxAABzFCaEUoz2X+AsQA/DgK6\n"))
	f.Add([]byte("Tag=sent:,7.000,1.000,1.0,\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		merged := load.NewLatencies()
		errs := 0
		for i, err := range load.ReadHistograms(bytes.NewReader(b)) {
			if errs > 0 {
				t.Fatal("went on after an error")
			}
			if err != nil {
				errs++
				continue
			}
			merged.Merge(i)
		}
		merged.Latency()
	})
}
