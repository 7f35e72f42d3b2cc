package load

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/metrics"
	"sync"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Usage is what the generator itself used during a load, and whether it was the limit.
type Usage struct {
	Elapsed time.Duration
	// CPU is user and system time of the whole process; GCCPU is the garbage collector's part, as the runtime estimates it.
	CPU, GCCPU time.Duration
	// Cores is CPU over Elapsed; MaxCores is how many the process may use at the same time.
	Cores    float64
	MaxCores int
	// GCs counts collections; GCPauseMax is about the longest time that all users stood still for one.
	GCs        int64
	GCPauseMax time.Duration
	// TimerDelay is how late the generator's timers fired: a delay that the system under test did not cause.
	TimerDelay Latency
	// ReadyDelayP99 is how long goroutines that could run waited for a core, at the 99th percentile.
	ReadyDelayP99 time.Duration
	PeakRSSBytes  int64
	// AllCPU is the time of the CPUs that the process may use, BusyCPU the part of it in which they worked for any process; 0 if unknown.
	AllCPU, BusyCPU time.Duration
	// Starved describes how long hits waited for a core because others, such as the system under test, used all of them. That is a part of
	// their latency, but not a limit of the generator. Empty if they did not.
	Starved string
	// Limits says, a sentence each, why the generator may have been the limit; empty if it was not.
	Limits []string
}

// Above these thresholds the generator may have been the limit. A timer that is 10 ms late for one hit in a hundred is as much as a p99 of
// a fast server; a process at 90 % of its cores has hits waiting for it.
//
// Such delays are not the generator's own when other processes keep the CPUs busy: then CPUs are short because of the measured system, and
// a generator with more would only take it from there.
const (
	limitBusy  = 0.9
	limitDelay = 10 * time.Millisecond
	fullCPUs   = 0.85 // as in bench.Judge
	ownPart    = 0.5
)

const watchEvery = 5 * time.Millisecond

// Watcher measures the generator's own process, from StartWatch to Stop.
type Watcher struct {
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	start   time.Time
	cpu     time.Duration
	samples []metrics.Sample
	ready   *metrics.Float64Histogram
	pauses  *metrics.Float64Histogram
	gcCPU   float64
	gcs     uint64
	delays  *hdrhistogram.Histogram
	all     time.Duration
	busy    time.Duration
}

// The runtime's figures that a Watcher reads, in this order.
var watched = [...]string{
	"/sched/latencies:seconds", "/sched/pauses/total/gc:seconds", "/cpu/classes/gc/total:cpu-seconds", "/gc/cycles/total:gc-cycles",
}

// StartWatch begins to watch the process. It runs one goroutine until Stop.
func StartWatch() *Watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watcher{
		cancel: cancel, start: time.Now(), cpu: ProcessCPU(),
		samples: make([]metrics.Sample, len(watched)),
		delays:  dense(),
	}
	w.all, w.busy = cpuTimes()
	w.read()
	w.ready, w.pauses = cloneHistogram(w.samples[0].Value), cloneHistogram(w.samples[1].Value)
	w.gcCPU, w.gcs = w.samples[2].Value.Float64(), w.samples[3].Value.Uint64()
	w.wg.Go(func() { w.run(ctx) })
	return w
}

func (w *Watcher) read() {
	for i, name := range watched {
		w.samples[i].Name = name
	}
	metrics.Read(w.samples)
}

// run measures how late a timer fires, again and again.
func (w *Watcher) run(ctx context.Context) {
	for {
		due := time.Now().Add(watchEvery)
		if Sleep(ctx, watchEvery) != nil {
			return
		}
		observe(w.delays, time.Since(due))
	}
}

// Stop ends the watch and returns what was used since StartWatch.
func (w *Watcher) Stop() Usage {
	w.cancel()
	w.wg.Wait()
	w.read()
	u := Usage{
		Elapsed: time.Since(w.start), CPU: ProcessCPU() - w.cpu,
		GCCPU:    seconds(w.samples[2].Value.Float64() - w.gcCPU),
		MaxCores: runtime.GOMAXPROCS(0), GCs: int64(w.samples[3].Value.Uint64() - w.gcs),
		GCPauseMax:    quantileSince(w.samples[1].Value, w.pauses, 1),
		ReadyDelayP99: quantileSince(w.samples[0].Value, w.ready, 0.99),
		TimerDelay:    latencyOf(w.delays), PeakRSSBytes: peakRSS(),
	}
	all, busy := cpuTimes()
	u.AllCPU, u.BusyCPU = all-w.all, busy-w.busy
	u.Cores = u.CPU.Seconds() / u.Elapsed.Seconds()
	u.Limits, u.Starved = u.verdict()
	return u
}

// verdict returns why the generator may have been the limit, or otherwise what it waited for.
func (u Usage) verdict() (limits []string, starved string) {
	if busy := u.Cores / float64(u.MaxCores); busy > limitBusy {
		limits = append(limits, fmt.Sprintf("the generator used %.2f of its %d cores", u.Cores, u.MaxCores))
	}
	timers, users := u.TimerDelay.P99.Round(time.Millisecond), u.ReadyDelayP99.Round(time.Millisecond)
	if max(u.TimerDelay.P99, u.ReadyDelayP99) > limitDelay && len(limits) == 0 && u.othersHadCPUs() {
		return nil, fmt.Sprintf("hits waited for a core for up to %v (99th percentile), because the CPUs were full: all else took %.0f %% of them, the generator %.0f %%; "+
			"this delay is included in the latencies", max(timers, users), 100*float64(u.BusyCPU-u.CPU)/float64(u.AllCPU), 100*float64(u.CPU)/float64(u.AllCPU))
	}
	if u.TimerDelay.P99 > limitDelay {
		limits = append(limits, fmt.Sprintf("the generator's timers were %v late at the 99th percentile", timers))
	}
	if u.ReadyDelayP99 > limitDelay {
		limits = append(limits, fmt.Sprintf("the generator's users waited %v for a core at the 99th percentile", users))
	}
	return limits, ""
}

// othersHadCPUs reports whether the CPUs were full, and most of it with the work of others.
func (u Usage) othersHadCPUs() bool {
	return u.AllCPU > 0 && float64(u.BusyCPU) >= fullCPUs*float64(u.AllCPU) && float64(u.CPU) < ownPart*float64(u.BusyCPU)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// ProcessCPU returns the user and system time of this process so far, 0 if unknown.
func ProcessCPU() time.Duration {
	ru := rusage()
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

func peakRSS() int64 { return int64(rusage().Maxrss) * 1024 } // Linux counts in KiB

func rusage() (ru syscall.Rusage) {
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru) // all zero if it fails
	return ru
}

func cloneHistogram(v metrics.Value) *metrics.Float64Histogram {
	h := v.Float64Histogram()
	return &metrics.Float64Histogram{Counts: append([]uint64(nil), h.Counts...), Buckets: append([]float64(nil), h.Buckets...)}
}

// quantileSince returns the upper bound of the bucket in which the q-quantile of what was added since before lies.
func quantileSince(v metrics.Value, before *metrics.Float64Histogram, q float64) time.Duration {
	h := v.Float64Histogram()
	var total uint64
	for i := range h.Counts {
		total += h.Counts[i] - before.Counts[i]
	}
	if total == 0 {
		return 0
	}
	rank := max(uint64(math.Ceil(q*float64(total))), 1)
	var seen uint64
	for i := range h.Counts {
		seen += h.Counts[i] - before.Counts[i]
		if seen < rank {
			continue
		}
		bound := h.Buckets[i+1]
		if math.IsInf(bound, 1) {
			bound = h.Buckets[i]
		}
		return seconds(bound)
	}
	return 0
}
