package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/session"
	"isukit/cmd/internal/ui"
)

type adviseOptions struct {
	topology, project, results, stateDir, round string
	run, asJSON, quiet                          bool
	rounds                                      int
}

func newAdviseCmd(s streams) *cobra.Command {
	var o adviseOptions
	cmd := &cobra.Command{
		Use:   "advise [ROUND]",
		Short: "Predict the best host for each role, from one round",
		Long: `Rank all placements of the roles on the hosts of a round's topology (default: the newest round), based on the CPU time that each role used
per request. The result is an order with scores relative to the best. It accounts for CPUs and memory, not for locks, disks or networks.

The round must have passed without errors, with no host more than 85 % busy and no bottleneck in the load generator, because users behave
differently under overload. For other rounds, isukit prints the command that runs a suitable one.

Tables on two databases are included if the round was run with --tune measure. For a round of a project on one of its topologies,
run it in the directory of its isukit.yaml. The table is also written as a page to the directory of the rounds.

--run runs the best three placements and the current one, ranks them again, and reports wrong predictions.
For placements that differ by less than 10 %, use "isukit compare topology=A topology=B" instead.`,
		Example: "  isukit round -t final-1 --driver lab --users 20\n  isukit advise\n  isukit advise last --run --rounds 3 --round \"--driver lab\"",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.stateDir, o.quiet = stateDir(cmd), isQuiet(cmd)
			return runAdvise(cmd.Context(), o, cmp.Or(append(args, "last")...), s)
		},
	}
	f := cmd.Flags()
	projectFlag(f, &o.project)
	f.StringVar(&o.topology, "hosts", "", "topology with the hosts to place roles on (default: that of the round)")
	f.BoolVar(&o.run, "run", false, "run the best three placements and the current one")
	f.IntVar(&o.rounds, "rounds", 3, "rounds of each placement with --run")
	f.StringVar(&o.round, "round", "", `arguments of isukit round for every round, for example "--driver lab --duration 15s"`)
	resultsFlag(f, &o.results)
	jsonFlag(f, &o.asJSON)
	return cmd
}

func runAdvise(ctx context.Context, o adviseOptions, query string, s streams) (err error) {
	r, _, err := result.Find(o.results, query)
	if errors.Is(err, result.ErrNoRound) {
		return ui.UsageError(err, `"isukit round" plays one, "isukit ls" lists them`)
	}
	if err != nil {
		return err
	}
	app, err := o.app(r)
	if err != nil {
		return err
	}
	a, err := session.Advise(r, app)
	if err != nil {
		return err
	}
	say := ui.SayTo(s.err, o.quiet)
	if o.run {
		err = o.play(ctx, a, r, say)
	}
	if o.asJSON {
		return errors.Join(err, ui.PrintJSON(s.out, a))
	}
	return errors.Join(err, showPage(a.Page(), filepath.Join(o.results, "advise-"+r.ID), say, s))
}

// app is the app of a round: a project's, or the portal on a topology.
func (o adviseOptions) app(r *result.Round) (session.App, error) {
	if r.Scenario != "external" {
		top, err := round.FindTopology(cmp.Or(o.topology, r.Topology))
		if err != nil {
			return session.App{}, ui.UsageError(err, "--hosts FILE names the topology file of that round")
		}
		return session.OfTopology(top), nil
	}
	if o.run || o.topology != "" {
		return session.App{}, ui.UsageError(errors.New("--run and --hosts are for rounds of the portal"), "write the placement into topologies: of isukit.yaml; isukit compare topology=A topology=B plays it")
	}
	p, _, err := round.FindProject(o.project)
	if err != nil || p == nil {
		return session.App{}, ui.UsageError(errors.Join(fmt.Errorf("round %s is of a project", r.ID), err), "run it in the directory of its isukit.yaml, or name the file with --project")
	}
	t, ok := p.Placement(r.Topology)
	if !ok {
		return session.App{}, ui.UsageError(fmt.Errorf("round %s ran on no topology of the project: which process is of which role is not known", r.ID),
			"isukit init writes roles and topologies; isukit round -t NAME plays on one")
	}
	return session.OfProject(p, t), nil
}

func showPage(p report.Page, name string, say func(string, ...any), s streams) error {
	file := name + ".html"
	var b bytes.Buffer
	err := p.HTML(&b)
	if err == nil {
		err = os.WriteFile(file, b.Bytes(), 0o644)
	}
	say("as a page: %s", file)
	return errors.Join(ui.PrintPage(s.out, p), err)
}

// play plays the best placements with users that grow until a host is the limit.
func (o adviseOptions) play(ctx context.Context, a *session.Advice, like *result.Round, say func(string, ...any)) (err error) {
	args, err := splitArgs(o.round)
	if err == nil {
		args = append([]string{"--duration", fmt.Sprintf("%gs", like.LoadSeconds)}, args...)
		err = checkRoundArgs(append([]string{"--topology", "single"}, args...))
	}
	if err != nil || o.rounds < 1 {
		return ui.UsageError(errors.Join(err, fmt.Errorf("--round %q, --rounds %d", o.round, o.rounds)), `see "isukit advise --help"`)
	}
	j, err := session.NewJournal(o.results, "advise", like.ID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	if j.Isukit, err = os.Executable(); err != nil {
		return err
	}
	j.Say = say
	j.Common = append(args, "--quiet", "--json", "--results", o.results, "--state-dir", o.stateDir)
	return a.Run(ctx, j, o.rounds, uint64(like.StartedAt.UnixNano()))
}
