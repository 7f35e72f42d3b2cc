package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"isukit/bench"
	"isukit/bench/load"
	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/infra"
	"isukit/infra/topology"
)

// roundView shows a round while it runs: a frame on a terminal, a line a second elsewhere. Everything goes to standard
// error. Its methods may be called from any goroutine.
type roundView struct {
	s     streams
	quiet bool

	mu    sync.Mutex
	style report.Style
	frame *frame // nil where there is no terminal
	begun time.Time
	state report.LiveState
	phase time.Time // when the phase began
}

func newRoundView(s streams, quiet bool, loadTime time.Duration) *roundView {
	v := &roundView{s: s, quiet: quiet, begun: time.Now(), state: report.LiveState{PhaseTotal: loadTime}}
	if f, ok := s.err.(*os.File); ok {
		if _, tty := terminalWidth(f); tty {
			v.frame, v.style = &frame{w: s.err}, styleOf(f)
		}
	}
	return v
}

// setCPUs tells how many CPUs the bars of roles are drawn against: those of all hosts, which without hosts of their own are
// this machine's.
func (v *roundView) setCPUs(top *topology.Topology, running *infra.Running, driver string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.HostCPUs = 0
	for _, h := range top.Hosts {
		cpus, _ := running.Size(h.Name)
		if driver == "" || driver == "local" {
			v.state.HostCPUs = max(v.state.HostCPUs, cpus)
			continue
		}
		v.state.HostCPUs += cpus
	}
}

// step says what is being done before and after the round proper.
func (v *roundView) step(format string, args ...any) {
	if v.quiet {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintf(v.s.err, "isukit: %5.1f s  %s\n", time.Since(v.begun).Seconds(), fmt.Sprintf(format, args...))
}

// warn tells what somebody has to know who is not watching, too.
func (v *roundView) warn(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintf(v.s.err, "isukit: warning: %s\n", fmt.Sprintf(format, args...))
}

func (v *roundView) onPhase(p bench.Phase) {
	v.step("%s", phaseText[p])
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.Phase, v.phase = string(p), time.Now()
}

var phaseText = map[bench.Phase]string{
	bench.Initialize: "initialize: the app resets its data",
	bench.Validate:   "validate: every route and rule",
	bench.Load:       "load: users come while answers are right and fast",
	bench.Check:      "check: everything that was written is there, once",
}

// onTrial tells of one more trial of a search for the capacity.
func (v *roundView) onTrial(t load.Trial) {
	outcome := "kept the objective"
	if t.Missed != "" {
		outcome = "missed it: " + t.Missed
	}
	v.step("%.1f visits/s %s", t.PerSec, outcome)
}

// onTick shows one more second of the load; usage adds what hosts used in it.
func (v *roundView) onTick(t load.Tick, usage func(*result.Second)) {
	if v.quiet {
		return
	}
	second := bench.SecondOf(t.Last)
	second.Users = t.Users
	usage(&second)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.Seconds = append(v.state.Seconds, second)
	v.state.Elapsed, v.state.PhaseElapsed = time.Since(v.begun), time.Since(v.phase)
	v.state.Errors = map[string]int64{}
	for _, g := range t.Errors {
		v.state.Errors[g.Kind.String()] += g.Count
	}
	if v.frame == nil {
		fmt.Fprintln(v.s.err, report.Line(v.state))
		return
	}
	v.frame.draw(report.Live(v.state, v.style))
}
