package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/session"
	"isukit/cmd/internal/ui"
)

// adviseOptions are those of `isukit advise`.
type adviseOptions struct {
	topology, results, stateDir, round string
	run, asJSON, quiet                 bool
	rounds                             int
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

--run runs the best three placements and the current one, ranks them again, and reports wrong predictions.
For placements that differ by less than 10 %, use "isukit compare topology=A topology=B" instead.`,
		Example: "  isukit round -t final-1 --driver lab --users 20\n  isukit advise\n  isukit advise last --run --rounds 3 --round \"--driver lab\"",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if o.stateDir, err = stateDir(cmd); err != nil {
				return err
			}
			o.quiet = isQuiet(cmd)
			return runAdvise(cmd.Context(), o, cmp.Or(append(args, "last")...), s)
		},
	}
	f := cmd.Flags()
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
	top, err := round.FindTopology(cmp.Or(o.topology, r.Topology))
	if err != nil && r.Scenario != "external" {
		return ui.UsageError(err, "--hosts FILE names the topology file of that round")
	}
	a, err := session.Advise(r, top)
	if err != nil {
		return err
	}
	if o.run {
		err = o.play(ctx, a, r, s)
	}
	if o.asJSON {
		return errors.Join(err, ui.PrintJSON(s.out, a))
	}
	return errors.Join(err, printAdvice(s.out, a))
}

// play plays the best placements with users that grow until a host is the limit.
func (o adviseOptions) play(ctx context.Context, a *session.Advice, like *result.Round, s streams) (err error) {
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
	j.Say = ui.SayTo(s.err, o.quiet)
	j.Common = append(args, "--quiet", "--json", "--results", o.results, "--state-dir", o.stateDir)
	return a.Run(ctx, j, o.rounds, uint64(like.StartedAt.UnixNano()))
}

// shownPlacements is how many lines the table of placements has at most.
const shownPlacements = 12

// printAdvice draws placements as rows and hosts as columns: what is there, and how busy that makes it.
func printAdvice(out io.Writer, a *session.Advice) error {
	fmt.Fprintf(out, "from round %s: CPU time for 1,000 hits", a.Round)
	for _, d := range a.Demands {
		fmt.Fprintf(out, "  %s %.2f s", d.Role, 1000*d.CPUSecondsPerHit)
	}
	fmt.Fprintln(out)
	w := ui.NewTable(out)
	fmt.Fprint(w, "RANK\tOF BEST")
	for _, h := range a.Hosts {
		fmt.Fprintf(w, "\t%s (%.3g CPUs)\t", strings.ToUpper(h.Name), h.Cores)
	}
	fmt.Fprintln(w)
	for n, p := range a.Ranked {
		if n >= shownPlacements && n != a.Today {
			continue
		}
		mark := ""
		if n == a.Today {
			mark = " today"
		}
		fmt.Fprintf(w, "%d%s\t%.0f %%", n+1, mark, 100*p.ShareOfBest)
		for h, busy := range p.Utilisation {
			var roles []string
			for r, parts := range p.Placement.Parts {
				if parts[h] > 0 {
					roles = append(roles, a.Demands[r].Role)
				}
			}
			fmt.Fprintf(w, "\t%s\t%s %.0f %%", ui.OrDash(strings.Join(roles, " ")), bar(busy), 100*busy)
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, why := range slices.Sorted(maps.Keys(a.Refused)) {
		fmt.Fprintf(out, "left out, %d: %s\n", a.Refused[why], why)
	}
	for _, m := range a.Measured {
		fmt.Fprintf(out, "played: %s: score %.0f, %.0f hits/s, %.0f %% of the best (predicted %.0f %%), %d of %d failed\n", m.Placement, m.Score, m.HitsPerSec, 100*m.ShareOfBest,
			100*m.Predicted, m.Failed, len(m.Rounds))
		if math.Abs(m.ShareOfBest-m.Predicted) > 0.2 {
			fmt.Fprintf(out, "! the prediction was wrong by %.0f points: the bottleneck is not a CPU, but perhaps locks, connections or a disk\n", 100*math.Abs(m.ShareOfBest-m.Predicted))
		}
	}
	_, err := fmt.Fprintln(out, "predicted from CPU and memory; locks, disks and networks are not included")
	return err
}

// bar draws a ratio in ten cells.
func bar(ratio float64) string {
	full := int(math.Round(10 * min(1, max(0, ratio))))
	return strings.Repeat("█", full) + strings.Repeat("·", 10-full)
}
