package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"isukit/bench/compare"
	"isukit/bench/load"
	"isukit/infra"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/infratest"
	"isukit/infra/topology"
)

// benchRounds is how many rounds of each side a measurement in the lab plays: ISUKIT_LAB_BENCH, where it is asked for.
func benchRounds(t *testing.T) int {
	t.Helper()
	rounds, err := strconv.Atoi(os.Getenv("ISUKIT_LAB_BENCH"))
	if err != nil || rounds < 1 {
		t.Skip("a measurement of minutes: set ISUKIT_LAB_BENCH=8 to run it")
	}
	infratest.Real(t)
	return rounds
}

// writeBench leaves the outcome as a line of JSON in the file ISUKIT_LAB_BENCH_JSON, or prints it.
func writeBench(t *testing.T, v any) {
	t.Helper()
	line, err := json.Marshal(v)
	if err == nil {
		line = append(line, '\n')
		if file := os.Getenv("ISUKIT_LAB_BENCH_JSON"); file != "" {
			err = os.WriteFile(file, line, 0o600)
		} else {
			_, err = os.Stdout.Write(line)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// benchRatio is a ratio of two sides with its interval, and whether it is what is asked for; Target 0 is for nothing.
type benchRatio struct {
	Name   string  `json:"name"`
	A      float64 `json:"median_a"`
	B      float64 `json:"median_b"`
	Ratio  float64 `json:"ratio"`
	Low    float64 `json:"ratio_low"` // 0, as high is, where there are too few pairs for an interval
	High   float64 `json:"ratio_high"`
	Pairs  int     `json:"pairs"`
	Target float64 `json:"target,omitempty"`
}

func ratioOf(name string, a, b []float64) benchRatio {
	e := compare.Paired(a, b, compare.DefaultOptions())
	return benchRatio{Name: name, A: e.MedianA, B: e.MedianB, Ratio: e.Ratio, Low: e.Low, High: e.High, Pairs: e.Pairs}
}

// labBench is a lab of its own, in which topologies are applied one after another.
type labBench struct {
	t      *testing.T
	driver host.Driver
	spec   infra.Spec
	failed int // applies that failed and were tried again
}

func newLabBench(t *testing.T) *labBench {
	t.Helper()
	dir := testStateDir(t)
	driver, err := machine.OpenLab(machine.Options{StateDir: dir, CPUScale: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := driver.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &labBench{t: t, driver: driver, spec: infra.Spec{
		StateDir: dir, LocalDir: filepath.Join(infratest.Root(t), ".local"), AppBinary: filepath.Join(buildBinaries(t), "isukit-app"),
		Scale: "small", Seed: 1,
	}}
}

// apply swaps to a topology, and fills its tables where it is new.
func (b *labBench) apply(top *topology.Topology) *infra.Running {
	b.t.Helper()
	spec := b.spec
	spec.Topology = top
	site := infra.NewSite(b.driver, spec)
	_, err := site.Apply(b.t.Context(), infra.ApplyOptions{Holder: "bench"})
	if err != nil { // said, and counted in the outcome
		b.failed++
		b.t.Logf("apply of %s: %v", top.Name, err)
		_, err = site.Apply(b.t.Context(), infra.ApplyOptions{Holder: "bench"})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := site.Running(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// loaded is what a load brought.
type loaded struct {
	hitsPerSec float64
	cpu        time.Duration // that one instance used
	ok         int64
	busy       float64 // ratio of its host's CPUs that were in use
	generator  float64 // CPUs that this process used
}

// load has users send one request again and again for a while, and reads what an instance used meanwhile.
func (b *labBench) load(r *infra.Running, base, target string, users int, length time.Duration, watched infra.Instance) loaded {
	b.t.Helper()
	at, err := b.driver.Host(watched.Host)
	if err != nil {
		b.t.Fatal(err)
	}
	origin, err := load.ParseOrigin(base)
	if err != nil {
		b.t.Fatal(err)
	}
	opts := load.Options{Dial: r.Dial()}
	if roots := r.Roots(); roots != nil {
		opts.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	engine := load.NewEngine(opts)
	newUser := func(n int) load.User {
		return func(ctx context.Context) {
			c := engine.NewClient(n, "")
			defer c.Close()
			req := load.Request{Endpoint: engine.Endpoint("GET " + target), Origin: origin, Target: target}
			for ctx.Err() == nil {
				c.Do(ctx, &req, nil) // what fails is in the summary
			}
		}
	}
	before, err := at.Used(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	begin, own := time.Now(), ownCPU(b.t)
	ctx, cancel := context.WithTimeout(b.t.Context(), length)
	defer cancel()
	report := load.Run(ctx, load.Users{N: users}, newUser, engine.Recorder(), nil)
	took := time.Since(begin)
	own = ownCPU(b.t) - own
	after, err := at.Used(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	s := engine.Recorder().Summary(report.End)
	if s.Total.OK == 0 || s.Total.Errors > 0 {
		b.t.Fatalf("GET %s%s: %d hits, %d errors: %+v", base, target, s.Total.OK, s.Total.Errors, s.Errors)
	}
	return loaded{
		hitsPerSec: float64(s.Total.OK) / report.End.Sub(report.Start).Seconds(), ok: s.Total.OK,
		cpu:       after.Services[watched.Name].CPU - before.Services[watched.Name].CPU,
		busy:      (after.Busy - before.Busy).Seconds() / took.Seconds() / at.About().CPUs,
		generator: own.Seconds() / took.Seconds(),
	}
}

// ownCPU is the CPU time of this process, the load generator.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var ru syscall.Rusage // clock: this is a benchmark, which runs where it is asked for
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// instance finds one by its name.
func (b *labBench) instance(r *infra.Running, name string) infra.Instance {
	b.t.Helper()
	for _, i := range r.Instances {
		if i.Name == name {
			return i
		}
	}
	b.t.Fatal(fmt.Errorf("%s not found", name))
	return infra.Instance{}
}
