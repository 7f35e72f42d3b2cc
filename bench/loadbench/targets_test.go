package loadbench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"strconv"
	"time"

	"isukit/bench/load"
)

const manyConnections = 10_000

// connections has 10,000 users connected from one CPU at the same time, idle and then busy.
func connections(ctx context.Context, o options, srv *nginx, out io.Writer) (any, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	said, _, err := runPinned(ctx, self, "-role", "connections", "-target", srv.url, "-users", strconv.Itoa(manyConnections),
		"-length", max(2*o.length, 5*time.Second).String(), "-check")
	if err != nil {
		return nil, err
	}
	var r childReport
	if err := json.Unmarshal(said, &r); err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "%d connections on one CPU: %.1f KiB a user while idle; then %d hits in %.1f s, %d errors %s\n",
		manyConnections, r.BytesPerUser/1024, r.Hits, r.Seconds, r.Errors, r.Example)
	judge(out, "10,000 connections on one core without error", r.Errors == 0, "%d errors in %d hits", r.Errors, r.Hits)
	judge(out, "less than 40 KiB for an idle user", r.BytesPerUser < 40<<10, "%.1f KiB", r.BytesPerUser/1024)
	return map[string]any{"connections": manyConnections, "errors": r.Errors, "kib_per_idle_user": math.Round(10*r.BytesPerUser/1024) / 10}, nil
}

// visitor is a load.Visitor over one client.
type visitor struct {
	*load.Client
	req   load.Request
	check func(*load.Response) error
}

func (v *visitor) Visit(ctx context.Context, intended time.Time) {
	v.req.Intended = intended
	v.Do(ctx, &v.req, v.check)
}

// openLoop loads an origin at a constant rate for a time.
func openLoop(ctx context.Context, target string, perSec float64, length time.Duration, arrivals load.Arrivals) (load.RateReport, load.Summary, load.Usage, error) {
	u, err := url.Parse(target)
	if err != nil {
		return load.RateReport{}, load.Summary{}, load.Usage{}, err
	}
	o, err := load.ParseOrigin(u.Scheme + "://" + u.Host)
	if err != nil {
		return load.RateReport{}, load.Summary{}, load.Usage{}, err
	}
	e := load.NewEngine(load.Options{})
	req := load.Request{Endpoint: e.Endpoint("GET " + u.Path), Origin: o, Target: u.Path}
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	w := load.StartWatch()
	rep := load.RunRate(ctx, load.Rate{PerSec: perSec}, func(n int) load.Visitor {
		return &visitor{Client: e.NewClient(n, ""), req: req}
	}, e.Recorder(), load.RateOptions{Arrivals: arrivals, Seed: 1})
	return rep, e.Recorder().Summary(rep.End), w.Stop(), nil
}

// rate asks for 20,000 hits a second for 10 s, evenly and as Poisson arrivals, and counts what was sent.
func rate(ctx context.Context, o options, srv *nginx, out io.Writer) (any, error) {
	const perSec, length = 20_000, 10 * time.Second
	result := map[string]any{}
	for name, arrivals := range map[string]load.Arrivals{"even": load.Even, "poisson": load.Poisson} {
		rep, s, use, err := openLoop(ctx, srv.url, perSec, length, arrivals)
		if err != nil {
			return nil, err
		}
		want := perSec * length.Seconds()
		off := float64(rep.Started)/float64(rep.Planned) - 1
		fmt.Fprintf(out, "rate %d/s for %v, %s: sent %d of %d planned (%+.3f %%), begun %v late at p50 and %v at p99, "+
			"latency p50 %v p99 %v, %d errors, generator %.2f cores %s\n", perSec, length, name, rep.Started, rep.Planned, 100*off,
			rep.Behind.P50, rep.Behind.P99, s.Total.Latency.P50, s.Total.Latency.P99, s.Total.Errors, use.Cores, rep.Shortfall())
		judge(out, "20,000 hits/s within 0.1 %, "+name, math.Abs(off) < 0.001 && s.Total.Errors == 0, "%+.3f %% of what was due, %d errors", 100*off, s.Total.Errors)
		result[name] = map[string]any{"planned_over_asked": float64(rep.Planned) / want, "sent_over_planned": 1 + off,
			"behind_p99_ms": rep.Behind.P99.Seconds() * 1e3, "errors": s.Total.Errors}
	}
	return result, nil
}
