package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"isukit/bench/external"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/host"
)

// commandName stands where a round of isukit has its topology and its scenario.
const commandName = "command"

// Command runs a command of a side as a round: what it prints are the round's figures.
type Command struct {
	Command string
	Results string
	// NeedScore asks for a score, since nothing else was named that could be compared.
	NeedScore bool
}

// Play runs the command once, in a process group of its own, and keeps the round. A command that fails is a failed round;
// the error is for one that could not be run, and for figures that are not there.
func (p *Command) Play(ctx context.Context) (*result.Round, error) {
	before, err := readSurroundings()
	if err != nil {
		return nil, err
	}
	run, err := external.Command{Line: p.Command, Env: os.Environ()}.Start(ctx)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	after, err := readSurroundings()
	if err != nil {
		return nil, err
	}
	r := p.round(run.Began, run.Ended.Sub(run.Began))
	fillSurroundings(r, before, after)
	if err := p.judge(r, run); err != nil {
		return nil, err
	}
	_, err = round.Keep(p.Results, r, nil, result.File{Path: "benchmark.log", About: "output of the command", Write: func(w io.Writer, _ *result.Round) error {
		_, err := io.WriteString(w, round.Mask(string(run.Output)))
		return err
	}})
	return r, err
}

// round is the record of a run, without its outcome.
func (p *Command) round(start time.Time, took time.Duration) *result.Round {
	return &result.Round{
		Format: result.FormatVersion, ID: result.NewID(start, commandName), StartedAt: start.UTC(), Topology: commandName, Scenario: commandName,
		LoadSeconds: math.Round(took.Seconds()*1000) / 1000, Score: result.Score{Lines: []result.ScoreLine{}},
		Phases: []result.Phase{{Name: "load", DurationSeconds: took.Seconds()}}, Endpoints: []result.Endpoint{}, Timeline: []result.Second{},
		Roles: []result.RoleUsage{}, Facts: []result.Fact{{Key: "command", Value: round.Mask(p.Command)}},
		Bottleneck: result.Bottleneck{Resource: "none", Text: "isukit cannot know the bottleneck of a command"},
	}
}

// judge reads the metrics and decides whether the round passed.
func (p *Command) judge(r *result.Round, run *external.Run) error {
	v := external.Rules{}.Judge(run.Output, run.Exit)
	r.Metrics = external.Figures(run.Output)
	if v.Found {
		r.Metrics[scoreFigure] = v.Score
	}
	r.Score.Total = int64(math.Round(max(v.Score, 0)))
	switch {
	case run.Exit != 0:
		r.Reason = fmt.Sprintf("exit status %d: %s", run.Exit, host.Tail(run.Output, 1))
	case v.Unread != nil:
		return ui.Hinted(fmt.Errorf("%q: %w", p.Command, v.Unread), "print only the score, for example {\"score\": 1234} or \"score: 1234\"")
	case v.Reason != "" && v.Reason != external.NoScore:
		r.Reason = v.Reason
	case len(r.Metrics) == 0:
		return ui.Hinted(fmt.Errorf("%q printed no metrics", p.Command),
			`it must print a JSON object of numbers, for example {"score": 1234}, or "score: 1234"`)
	case p.NeedScore && !(r.Metrics[scoreFigure] > 0):
		return ui.Hinted(fmt.Errorf("%q did not print a score above 0; it printed %s", p.Command, strings.Join(slices.Sorted(maps.Keys(r.Metrics)), ", ")),
			"choose metrics with --metrics NAME:lower or NAME:higher (the better direction)")
	}
	r.Passed = r.Reason == ""
	r.Phases[0].OK = r.Passed
	return nil
}

const scoreFigure = "score"

// surroundings is what the machine has gone through until one moment.
type surroundings struct {
	noise   host.Noise
	machine host.MachineUsage
}

func readSurroundings() (s surroundings, err error) {
	var errs [2]error
	s.noise, errs[0] = host.ReadNoise()
	s.machine, errs[1] = host.ReadMachineUsage()
	return s, errors.Join(errs[:]...)
}

// fillSurroundings notes what may have disturbed a command. Which processes are its own, and so the share of others, is unknown.
func fillSurroundings(r *result.Round, before, after surroundings) {
	r.Noise = round.NoiseOf([]host.Noise{before.noise, after.noise})
	name, _ := os.Hostname() // it is there to be read, no more
	u := result.HostUsage{Host: name, CPUs: float64(runtime.NumCPU())}
	if total := float64(after.machine.Total - before.machine.Total); total > 0 {
		u.Busy = float64(after.machine.Busy-before.machine.Busy) / total
		u.IOWait = float64(after.machine.IOWait-before.machine.IOWait) / total
		u.Steal = float64(after.machine.Steal-before.machine.Steal) / total
	}
	r.Hosts = []result.HostUsage{u}
}
