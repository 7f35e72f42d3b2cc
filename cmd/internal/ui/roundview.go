package ui

import (
	"fmt"
	"io"
	"sync"
	"time"

	"isukit/bench"
	"isukit/bench/load"
	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/infra"
	"isukit/infra/topology"
)

// RoundView shows a round in progress on standard error: a frame on a terminal, a line a second elsewhere. Any goroutine may call it.
type RoundView struct {
	w     io.Writer
	quiet bool

	mu    sync.Mutex
	style report.Style
	frame *frame // nil without a terminal
	begun time.Time
	state report.LiveState
	phase time.Time // when the phase began
}

func NewRoundView(w io.Writer, quiet bool, loadTime time.Duration) *RoundView {
	v := &RoundView{w: w, quiet: quiet, begun: time.Now(), state: report.LiveState{PhaseTotal: loadTime}}
	if mark := markOf(w); mark != "" {
		v.frame, v.style = &frame{w: w, mark: mark}, StyleOf(w)
	}
	return v
}

// SetCPUs sets how many CPUs the bars of roles are relative to: those of all hosts, or without hosts this machine's.
func (v *RoundView) SetCPUs(top *topology.Topology, running *infra.Running, driver string) {
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

// Step prints the current step before and after the round proper.
func (v *RoundView) Step(format string, args ...any) {
	if v.quiet {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintf(v.w, "isukit: %5.1f s  %s\n", time.Since(v.begun).Seconds(), fmt.Sprintf(format, args...))
}

// Warn prints a warning, with --quiet too.
func (v *RoundView) Warn(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintf(v.w, "isukit: warning: %s\n", fmt.Sprintf(format, args...))
}

func (v *RoundView) OnPhase(p bench.Phase) {
	v.Step("%s", phaseText[p])
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.Phase, v.phase = string(p), time.Now()
}

var phaseText = map[bench.Phase]string{
	bench.Initialize: "initialize: the app resets its data",
	bench.Validate:   "validate: testing every route and rule",
	bench.Load:       "load: adding users while responses are correct and fast",
	bench.Check:      "check: comparing the stored data with all acknowledged writes",
}

// OnTrial prints a trial of the search for the capacity.
func (v *RoundView) OnTrial(t load.Trial) {
	outcome := "met the objective"
	if t.Missed != "" {
		outcome = "missed it: " + t.Missed
	}
	v.Step("%.1f visits/s %s", t.PerSec, outcome)
}

// OnTick shows one more second of the load; usage adds what hosts used in it.
func (v *RoundView) OnTick(t load.Tick, usage func(*result.Second)) {
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
		fmt.Fprintln(v.w, report.Line(v.state))
		return
	}
	v.frame.draw(report.Live(v.state, v.style))
}

// During shows a longer step before or after the round proper.
func (v *RoundView) During(what string) (done func()) {
	return SayWhile(func() { v.Step("%s", what) })
}
