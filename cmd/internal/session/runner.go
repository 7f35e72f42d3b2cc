package session

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/host"
)

// Runner runs each round as a process of its own, so that heap, pinning and peak memory of one generator do not affect the next.
type Runner struct {
	Isukit string      // the program
	Args   [2][]string // of `isukit round`, by side
	// Before are commands of the shell that make a side what it is, run before each of its rounds; "" for none.
	Before [2]string
	// Commands are set where a side is not a round of isukit's.
	Commands [2]*Command
	// Started, if set, is called with the process that plays a round; its error ends the round.
	Started func(pid int) error
}

// stopLimit is how long an interrupted round may take to clean up.
const stopLimit = 90 * time.Second

// Play runs one round of a side. A round that ran and failed is a round; the error is for one that could not be run.
func (p *Runner) Play(ctx context.Context, side int) (*result.Round, error) {
	if c := p.Commands[side]; c != nil {
		return c.Play(ctx)
	}
	if p.Before[side] != "" {
		if _, err := output(ctx, "", "sh", "-c", p.Before[side]); err != nil {
			return nil, fmt.Errorf("run=%s: %w", p.Before[side], err)
		}
	}
	cmd := exec.CommandContext(ctx, p.Isukit, p.Args[side]...)
	out := host.Limited{Limit: 2 * result.MaxRoundBytes}
	var said ui.Tail
	cmd.Stdout, cmd.Stderr = &out, &said
	// Ctrl-C reaches every process of the terminal's group. A round would get two signals, and the second would end it immediately, with
	// its servers running.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopLimit
	err := cmd.Start()
	if err != nil {
		return nil, fmt.Errorf("isukit round: %w", err)
	}
	var told error
	if p.Started != nil {
		if told = p.Started(cmd.Process.Pid); told != nil {
			_ = cmd.Process.Signal(os.Interrupt)
		}
	}
	if err = cmd.Wait(); told != nil {
		return nil, told
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if code := cmd.ProcessState.ExitCode(); err != nil && code != ui.ExitRound {
		return nil, roundError(err, said.String())
	}
	var r result.Round
	if err := json.Unmarshal(out.Data, &r); err != nil {
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
