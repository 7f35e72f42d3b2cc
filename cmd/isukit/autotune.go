package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"isukit/bench/compare"
	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/session"
	"isukit/cmd/internal/ui"
	"isukit/infra/topology"
)

// defaultSearch is how many rounds a search has where neither rounds nor a budget is given.
const defaultSearch = 90

func newAutotuneCmd(s streams) *cobra.Command {
	var o screenOptions
	var sizes []string
	var place bool
	cmd := &cobra.Command{
		Use:   "autotune [TUNING,...]",
		Short: "Search for the best tunings, sizes and placement within a budget",
		Long: `Search for the best configuration with a given number of rounds: tunings on or off, sizes in a range (--size), and placements (--place).
Rounds run in pairs: a candidate and the best so far. isukit avoids what makes rounds fail. The baseline has no tuning, the lowest value
of each size, and the topology's placement.

The last pairs compare the best configuration with the baseline again. Only these pairs give the result, because the best round of a search
is partly luck. If the best configuration fails in one of them, it is rejected.

"isukit autotune resume" continues after Ctrl-C or a crash. Below about 45 rounds, use "isukit screen" instead.`,
		Example: `  isukit autotune mysql/memory,mysql/durability-relaxed,nginx/keepalive --budget 30m
  isukit autotune nginx/cache,nginx/workers --size db.buffer_pool=128MiB..512MiB --place --rounds 90 --round "-t final-1 --driver lab"
  isukit autotune resume`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.common(cmd)
			var names []string
			if len(args) > 0 {
				names = strings.Split(args[0], ",")
			}
			return runAutotune(cmd.Context(), o, names, sizes, place, s)
		},
	}
	o.addFlags(cmd.Flags())
	cmd.Flags().StringArrayVar(&sizes, "size", nil, "size of a role and its range, for example db.buffer_pool=128MiB..512MiB (repeatable)")
	cmd.Flags().BoolVar(&place, "place", false, "also search among the placements that \"isukit advise\" ranks best")
	cmd.AddCommand(newResumeCmd("autotune", s))
	return cmd
}

func runAutotune(ctx context.Context, o screenOptions, names, sizes []string, place bool, s streams) error {
	say := ui.SayTo(s.err, o.quiet)
	if len(names)+len(sizes) == 0 && !place {
		return ui.UsageError(errors.New("nothing to search: name tunings, or give --size or --place"), `see "isukit autotune --help"`)
	}
	if err := o.check(ctx, names, defaultSearch, say, s); err != nil {
		return err
	}
	plan := session.TunePlan{}
	if len(sizes) > 0 || place {
		top, err := o.topology()
		if err != nil {
			return err
		}
		plan.Topology = top
		if place {
			if plan.Places, err = o.places(top); err != nil {
				return err
			}
		}
	}
	for _, text := range sizes {
		z, err := session.ParseSize(text)
		if err != nil {
			return ui.UsageError(fmt.Errorf("--size: %w", err), `see "isukit autotune --help"`)
		}
		plan.Sizes = append(plan.Sizes, z)
	}
	plan.ScreenPlan = o.ScreenPlan
	if err := plan.Check(); err != nil {
		return ui.UsageError(err, "docs/topology.md lists the sizes of each role")
	}
	journal, err := session.NewJournal(o.results, "autotune", plan)
	if err != nil {
		return err
	}
	return o.play(ctx, "autotune", journal, plan, say, s)
}

// topology is that of the rounds.
func (o screenOptions) topology() (*topology.Topology, error) {
	if p, _, _, err := projectOf(o.Round); err != nil || p != nil {
		return nil, ui.UsageError(errors.Join(err, errors.New("--size and --place do not apply to a project")), "name only tunings")
	}
	var r roundOptions
	cmd := &cobra.Command{Use: "round"}
	r.addFlags(cmd.Flags())
	if err := cmd.ParseFlags(o.Round); err != nil {
		return nil, err
	}
	return round.FindTopology(r.Topology)
}

// places are the placements to choose from, by the newest fit round of the topology.
func (o screenOptions) places(top *topology.Topology) ([]session.Place, error) {
	entries, err := result.List(o.results)
	if err != nil {
		return nil, err
	}
	why := fmt.Errorf("no round of %s found in %s", top.Name, o.results)
	for _, e := range entries {
		if e.Round == nil || e.Round.Topology != top.Name {
			continue
		}
		r, _, err := result.Get(o.results, e.ID)
		if err != nil {
			return nil, err
		}
		a, err := session.Advise(r, session.OfTopology(top))
		if err == nil {
			return a.Places(), nil
		}
		why = err
	}
	return nil, ui.UsageError(fmt.Errorf("--place needs a suitable round: %w", why), ui.HintOf(why, "isukit round -t "+top.Name+" --users 20, with the driver of the rounds"))
}

// searched plays the remaining rounds of a search.
func (o screenOptions) searched(ctx context.Context, journal *session.Journal, plan session.TunePlan, say func(string, ...any)) (any, report.Page, error) {
	r, err := (&session.Autotune{Screen: session.Screen{Journal: journal, Say: say}, Plan: plan}).Run(ctx)
	if r == nil {
		return nil, report.Page{}, err
	}
	if c := r.Confirmed; c != nil && c.Verdict == compare.Better {
		r.Keep = strings.TrimSpace("isukit round " + shellWords(slices.Concat(o.Round, r.Best)))
	}
	return r, r.Page(plan, journal.Played), err
}
