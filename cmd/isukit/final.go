package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/host"
	"isukit/infra/project"
)

const finalRounds = 3

func newFinalCmd(s streams) *cobra.Command {
	var file string
	var rounds int
	var o projectRoundOptions
	cmd := &cobra.Command{
		Use:   "final",
		Short: "Finish the contest: logs off, restart, check, confirmation rounds",
		Long: `Run the steps of the project's "final": switch logging and profiling off, check that a boot starts the services, restart everything in
order, check the data, and run confirmation rounds without measuring. It stops at the first step that fails. Exit code 3: a
confirmation round failed.`,
		Example: "  isukit final\n  isukit final --rounds 1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.stateDir, o.quiet = stateDir(cmd), isQuiet(cmd)
			return runFinal(cmd.Context(), file, rounds, o, s)
		},
	}
	projectFlag(cmd.Flags(), &file)
	linesFlag(cmd.Flags(), &o.asJSON)
	resultsFlag(cmd.Flags(), &o.results)
	cmd.Flags().IntVar(&rounds, "rounds", 0, "number of confirmation rounds (default: final.rounds of the project, or 3)")
	return cmd
}

func runFinal(ctx context.Context, file string, rounds int, o projectRoundOptions, s streams) error {
	if rounds < 0 {
		return ui.UsageError(fmt.Errorf("--rounds %d is negative", rounds), `see "isukit final --help"`)
	}
	p, dir, err := round.FindProject(file)
	if err != nil {
		return err
	}
	if p == nil {
		return ui.UsageError(errors.New("no isukit.yaml in this directory"), `"isukit init" writes one; docs/final.md shows one of the reference app`)
	}
	if rounds == 0 {
		rounds = p.Final.Rounds
	}
	if rounds == 0 {
		rounds = finalRounds
	}
	if err := round.WithProject(ctx, p, dir, o.stateDir, func(opened *round.Opened) error { return finalSteps(ctx, opened, o, s) }); err != nil {
		return err
	}
	if p.Benchmark.External {
		_, err := fmt.Fprintln(s.out, "everything is restarted and checked; record the confirmation run with isukit observe, and start the benchmark")
		return err
	}
	return confirm(ctx, p, dir, rounds, o, s)
}

func finalSteps(ctx context.Context, opened *round.Opened, o projectRoundOptions, s streams) error {
	if err := errors.Join(opened.Missing...); err != nil {
		return err
	}
	p := opened.Project
	say := ui.SayTo(s.err, o.quiet)
	steps := func(what string, all []project.Step) error {
		say("%s", what)
		for _, step := range all {
			if err := opened.Reach.Step(ctx, step); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
		return nil
	}
	if err := steps("logging and profiling off", p.Final.Off); err != nil {
		return err
	}
	say("services enabled")
	for _, services := range opened.Final.Services { // with those of the topology that is up
		if err := areEnabled(ctx, opened.Reach.Named[services.Host], services); err != nil {
			return ui.Hinted(err, "sudo systemctl enable UNIT; a static unit needs an [Install] section first, or another unit that is enabled and wants it")
		}
	}
	if err := steps("restart, in order", p.Restart); err != nil {
		return err
	}
	return steps("check the data", p.Final.Check)
}

// bootScript prints every unit that a boot starts, an empty line, and the state of the units that are its arguments.
const bootScript = `systemctl list-dependencies --plain --all --no-pager default.target | sed 's/^ *//' && echo &&
for unit in "$@"; do
	echo "unit=$unit"
	systemctl show "$unit" --property=Id,LoadState,UnitFileState,TriggeredBy || exit 1
done`

// areEnabled finds units that no boot starts. That systemctl is-enabled has no complaint is not enough: it has none of static units
// either, which are started when another unit asks for them.
func areEnabled(ctx context.Context, at host.Host, services project.ServicesOn) error {
	if at == nil {
		return fmt.Errorf("host %s is unreachable", services.Host)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // systemd looks at every unit, which takes a busy host its time
	defer cancel()
	res, err := at.Run(ctx, host.Command{Argv: append([]string{"sh", "-c", bootScript, "sh"}, services.Units...)})
	if err == nil && res.Code != 0 {
		err = fmt.Errorf("exit status %d: %s", res.Code, strings.TrimSpace(string(res.Stderr)))
	}
	if err != nil {
		return fmt.Errorf("read the units that a boot of %s starts: %w", services.Host, err)
	}
	if off := notBooted(string(res.Stdout)); len(off) > 0 {
		return fmt.Errorf("a boot of %s does not start: %s", services.Host, strings.Join(off, ", "))
	}
	return nil
}

// notBooted reads what bootScript prints: the units that a boot does not start, each with what they are.
func notBooted(out string) (off []string) {
	booted, asked, _ := strings.Cut(out, "\n\n")
	started := map[string]bool{}
	for unit := range strings.Lines(booted) {
		started[strings.TrimSpace(unit)] = true
	}
	for _, section := range strings.Split(asked, "unit=")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		fields := map[string]string{}
		for line := range strings.Lines(text) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
			fields[k] = v
		}
		state := fields["UnitFileState"]
		if state == "" {
			state = fields["LoadState"]
		}
		starts := started[fields["Id"]] || slices.ContainsFunc(strings.Fields(fields["TriggeredBy"]), func(by string) bool { return started[by] })
		if !starts || strings.HasSuffix(state, "-runtime") || fields["LoadState"] != "loaded" {
			off = append(off, name+" ("+state+")")
		}
	}
	return off
}

func confirm(ctx context.Context, p *project.Project, dir string, rounds int, o projectRoundOptions, s streams) error {
	bare := *p
	bare.Build, bare.Deploy, bare.Restart = nil, nil, nil
	bare.Logs, bare.Databases, bare.Profiles = project.Logs{}, nil, project.Profiles{}
	var scores []int64
	failed := 0
	say := ui.SayTo(s.err, o.quiet)
	silent := s
	silent.out = io.Discard
	asJSON := o.asJSON
	o.asJSON, o.final = false, true
	for n := range rounds {
		say("confirmation round %d of %d", n+1, rounds)
		r, err := playProjectRound(ctx, &bare, dir, o, silent, func(ctx context.Context, r *round.ProjectRound) error {
			return r.PlayBare(ctx, slices.Concat(p.Logs.Access, p.Logs.Slow))
		})
		if r == nil || err != nil && !errors.Is(err, ui.ErrRoundFailed) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !r.Passed {
			failed++
		}
		if err := printConfirmed(s.out, r, asJSON); err != nil {
			return err
		}
		scores = append(scores, r.Score.Total)
	}
	slices.Sort(scores)
	median := (scores[(len(scores)-1)/2] + scores[len(scores)/2]) / 2
	if !asJSON {
		fmt.Fprintf(s.out, "scores from %d to %d, median %d; %d of %d rounds failed\n", scores[0], scores[len(scores)-1], median, failed, rounds)
	}
	if failed > 0 {
		return ui.ErrRoundFailed
	}
	return nil
}

func printConfirmed(out io.Writer, r *result.Round, asJSON bool) error {
	if asJSON {
		return ui.PrintJSONLines(out, []listedRound{{ID: r.ID, Passed: r.Passed, Score: r.Score.Total, Reason: r.Reason, Warnings: r.Warnings}})
	}
	verdict := "pass"
	if !r.Passed {
		verdict = "FAIL  " + r.Reason
	}
	_, err := fmt.Fprintf(ui.Signalling(out), "%s  %d  %s\n", r.ID, r.Score.Total, verdict)
	for _, w := range r.Warnings {
		fmt.Fprintf(out, "  ! %s\n", w)
	}
	return err
}
