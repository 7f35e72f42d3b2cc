package session

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

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
	// Grace is how long a command may take to end once it was interrupted; 0 means commandGrace.
	Grace time.Duration
}

// commandGrace is long enough for servers to end in order.
const commandGrace = 15 * time.Second

// Play runs the command once, in a process group of its own, and keeps the round. A command that fails is a failed round;
// the error is for one that could not be run, and for figures that are not there.
func (p *Command) Play(ctx context.Context) (*result.Round, error) {
	before, err := readSurroundings()
	if err != nil {
		return nil, err
	}
	var out, said ui.Tail
	cmd := exec.CommandContext(ctx, "sh", "-c", p.Command)
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// Children that a shell started in the background ignore interrupts, and keep what they print to open.
	var kill *time.Timer
	cmd.Cancel = func() error {
		group := -cmd.Process.Pid
		kill = time.AfterFunc(cmp.Or(p.Grace, commandGrace), func() { _ = syscall.Kill(group, syscall.SIGKILL) })
		return syscall.Kill(group, syscall.SIGINT)
	}
	start := time.Now()
	failed := cmd.Run()
	took := time.Since(start)
	if ctx.Err() != nil {
		if kill != nil && kill.Stop() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what is left after the command itself has ended
		}
		return nil, ctx.Err()
	}
	if failed != nil && cmd.ProcessState == nil {
		return nil, fmt.Errorf("run %q: %w", p.Command, failed)
	}
	after, err := readSurroundings()
	if err != nil {
		return nil, err
	}
	r := p.round(start, took)
	fillSurroundings(r, before, after)
	if err := p.judge(r, failed, out.String(), said.String()); err != nil {
		return nil, err
	}
	_, err = result.Write(p.Results, r, printed("stdout", out.Text), printed("stderr", said.Text))
	return r, err
}

// round is the record of a run, but for its outcome.
func (p *Command) round(start time.Time, took time.Duration) *result.Round {
	return &result.Round{
		Format: result.FormatVersion, ID: result.NewID(start, commandName), StartedAt: start.UTC(), Topology: commandName, Scenario: commandName,
		LoadSeconds: math.Round(took.Seconds()*1000) / 1000, Score: result.Score{Lines: []result.ScoreLine{}},
		Phases: []result.Phase{{Name: "load", DurationSeconds: took.Seconds()}}, Endpoints: []result.Endpoint{}, Timeline: []result.Second{},
		Roles: []result.RoleUsage{}, Facts: []result.Fact{{Key: "command", Value: p.Command}},
		Bottleneck: result.Bottleneck{Resource: "none", Text: "what a command was held up by is not known"},
	}
}

// judge reads the figures and says whether the round passed.
func (p *Command) judge(r *result.Round, failed error, out, said string) error {
	passed, figures := readFigures(out)
	r.Metrics = figures
	r.Score.Total = int64(math.Round(min(max(figures[scoreFigure], 0), 1<<53)))
	switch {
	case failed != nil:
		r.Reason = fmt.Sprintf("%v: %s", failed, lastLine(said))
	case !passed:
		r.Reason = "the command says that it did not pass"
	case len(figures) == 0:
		return ui.Hinted(fmt.Errorf("%q printed no figures", p.Command),
			`it should print a JSON object with numbers, as {"score": 1234}, or "score: 1234"`)
	case p.NeedScore && !(figures[scoreFigure] > 0):
		return ui.Hinted(fmt.Errorf("%q printed no score above 0, but %s", p.Command, strings.Join(slices.Sorted(maps.Keys(figures)), ", ")),
			"name what is to be compared, as --metrics NAME:lower or NAME:higher for what is better")
	}
	r.Passed = r.Reason == ""
	r.Phases[0].OK = r.Passed
	return nil
}

// scoreFigure is the name of the figure that is compared unless others are named.
const scoreFigure = "score"

// scoreLine is how programs print a score to people.
var scoreLine = regexp.MustCompile(`(?i)\bscore\b["']?\s*[:=]?\s*(-?[0-9][0-9,_]*(?:\.[0-9]+)?)`)

// readFigures takes figures from what a command printed: all of it, or else the last line that is one, as a JSON object, or
// else the last score that is told in words. Members of inner objects are named outer.inner. passed is false when the object
// says so in a member "pass" or "passed".
func readFigures(out string) (passed bool, figures map[string]float64) {
	passed, figures = true, map[string]float64{}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i := range len(lines) + 1 {
		text := out
		if i > 0 {
			text = lines[len(lines)-i]
		}
		var object map[string]any
		if json.Unmarshal([]byte(text), &object) == nil && object != nil {
			passed = flatten("", object, figures)
			return passed, figures
		}
	}
	if all := scoreLine.FindAllStringSubmatch(out, -1); len(all) > 0 {
		text := strings.NewReplacer(",", "", "_", "").Replace(all[len(all)-1][1])
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			figures[scoreFigure] = v
		}
	}
	return passed, figures
}

// flatten adds an object's numbers to figures; passed is false if a member of the outermost object says so.
func flatten(prefix string, object map[string]any, figures map[string]float64) (passed bool) {
	passed = true
	for name, value := range object {
		switch v := value.(type) {
		case float64:
			figures[prefix+name] = v
		case map[string]any:
			flatten(prefix+name+".", v, figures)
		case bool:
			if prefix == "" && !v && (name == "pass" || name == "passed") {
				passed = false
			}
		}
	}
	return passed
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

func printed(name string, text []byte) result.File {
	return result.File{Path: name, About: "the end of what the command printed there", Write: func(w io.Writer, _ *result.Round) error {
		_, err := w.Write(text)
		return err
	}}
}

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

// fillSurroundings notes what may have disturbed a command. Which processes are its own is not known, and so not what went
// to others.
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
