package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
)

// roundRunner runs rounds, each as a process of its own: the heap, the pinning and the peak memory of one generator are then
// none of the next one's.
type roundRunner struct {
	isukit string      // the program
	args   [2][]string // of `isukit round`, by side
	// commands are set where a side is not a round of isukit's.
	commands [2]*commandPlayer
}

// newRoundRunner checks both sides and builds what they need; drop removes what was built.
func newRoundRunner(ctx context.Context, o compareOptions, a, b string, s streams) (_ *roundRunner, drop func(), err error) {
	both, err := splitArgs(o.both)
	if err != nil {
		return nil, nil, ui.UsageError(fmt.Errorf("--both: %w", err), `see "isukit compare --help"`)
	}
	var sides [2]runnableSide
	for i, query := range []string{a, b} {
		if sides[i], err = parseRunnable(query); err != nil {
			return nil, nil, ui.UsageError(err, `see "isukit compare --help"`)
		}
		if sides[i].command != "" {
			continue
		}
		if err := checkRoundArgs(slices.Concat(both, sides[i].args)); err != nil {
			return nil, nil, ui.UsageError(fmt.Errorf("side %q: %w", query, err), ui.HintOf(err, `see "isukit round --help"`))
		}
	}
	if sides[0].command != "" && sides[1].command != "" && len(both) > 0 {
		return nil, nil, ui.UsageError(errors.New("--both is for rounds of isukit, and both sides are commands"), "write it into the commands")
	}
	runner := &roundRunner{}
	if runner.isukit, err = os.Executable(); err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "isukit-compare-")
	if err != nil {
		return nil, nil, err
	}
	drop = func() { os.RemoveAll(dir) }
	for i, side := range sides {
		if side.command != "" {
			runner.commands[i] = &commandPlayer{command: side.command, results: o.rounds.dir, needScore: len(o.statistic.Metrics) == 0}
			continue
		}
		if side.commit != "" {
			ui.SayTo(s.err, o.quiet)("building the app of %s", side.name)
			binary, err := buildApp(ctx, side.commit, dir)
			if err != nil {
				return nil, drop, err
			}
			side.args = append(side.args, "--app", binary)
		}
		runner.args[i] = slices.Concat([]string{"round"}, both, side.args,
			[]string{"--quiet", "--json", "--results", o.rounds.dir, "--state-dir", o.stateDir})
	}
	return runner, drop, nil
}

// stopLimit is how long a round that was interrupted may take to clear away what it started.
const stopLimit = 90 * time.Second

// play runs one round of a side. A round that ran and failed is a round; the error is for one that could not be run.
func (p *roundRunner) play(ctx context.Context, side int) (*result.Round, error) {
	if c := p.commands[side]; c != nil {
		return c.play(ctx)
	}
	cmd := exec.CommandContext(ctx, p.isukit, p.args[side]...)
	var out bytes.Buffer
	var said tail
	cmd.Stdout, cmd.Stderr = &limited{w: &out, left: 2 * result.MaxRoundBytes}, &said
	// Ctrl-C reaches every process of the terminal's group. A round would get two then, the second of which ends it at once,
	// with its servers still there.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopLimit
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if code := cmd.ProcessState.ExitCode(); err != nil && code != ui.ExitRound {
		return nil, roundError(err, said.String())
	}
	var r result.Round
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("read what isukit round printed: %w", err)
	}
	return &r, nil
}

// roundError makes the round's own words the error, and its hint the hint.
func roundError(err error, said string) error {
	var text, hint string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if s, ok := strings.CutPrefix(line, "isukit: error: "); ok {
			text = s
		}
		if s, ok := strings.CutPrefix(line, "isukit: hint: "); ok {
			hint = s
		}
	}
	if text == "" {
		return fmt.Errorf("isukit round: %w: %s", err, strings.TrimSpace(said))
	}
	return ui.Hinted(fmt.Errorf("isukit round: %s", text), hint)
}

// limited passes on so many bytes and then fails.
type limited struct {
	w    *bytes.Buffer
	left int
}

var errTooMuch = errors.New("isukit round printed more than a record can have")

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errTooMuch
	}
	return l.w.Write(p)
}
