package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"isukit/bench/compare"
	"isukit/bench/experiment"
	"isukit/bench/report"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/session"
	"isukit/cmd/internal/ui"
	"isukit/infra/topology"
)

type screenOptions struct {
	session.ScreenPlan
	metrics  []string
	round    string
	results  string
	stateDir string
	asJSON   bool
	quiet    bool
}

// defaultScreen is how many rounds a screen has in its pairs where neither rounds nor a budget is given.
const defaultScreen = 48

func newScreenCmd(s streams) *cobra.Command {
	var o screenOptions
	cmd := &cobra.Command{
		Use:   "screen TUNING,...",
		Short: "Find out which of many tunings help, hurt, or make rounds fail",
		Long: `Find out which of up to 48 tunings help, hurt, or make rounds fail. Rounds run in pairs: first with a random half of the tunings, then with
the other half. Every round therefore measures every tuning, and drift cancels. isukit reverts the tunings after each round.

isukit first prints the plan: the number of rounds, their time, and the smallest effect that they can show on this machine. A tuning that
makes rounds fail with a probability of 0.9 or more is no longer applied. At the end, more pairs compare the recommended tunings with all
tunings, and isukit prints the command that applies the recommended ones.

"isukit screen resume" continues after Ctrl-C or a crash; neither leaves a tuning applied.
For two or three tunings, use "isukit compare tune=A tune=none": it needs fewer rounds.`,
		Example: `  isukit screen mysql/memory,mysql/io-capacity,nginx/keepalive,nginx/workers --budget 40m
  isukit screen mysql/memory,nginx/cache,./my.cnf --rounds 96 --round "--driver lab -t final-1 --duration 15s"
  isukit screen resume`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.common(cmd)
			return runScreen(cmd.Context(), o, strings.Split(args[0], ","), s)
		},
	}
	o.addFlags(cmd.Flags())
	cmd.AddCommand(newResumeCmd("screen", s))
	return cmd
}

// addFlags are the flags of a command that plays rounds by a plan.
func (o *screenOptions) addFlags(f *pflag.FlagSet) {
	f.IntVar(&o.Rounds, "rounds", 0, "maximum number of rounds (default: as many as --budget allows, or 48, for autotune 90)")
	f.DurationVar(&o.Budget, "budget", 0, "time for all rounds, for example 40m")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of the plan (default: a random one, which is printed)")
	f.StringSliceVar(&o.metrics, "metrics", []string{"score"}, "metric that decides: score, hits, p50, p99 or cpu; hits is less noisy than score")
	f.StringVar(&o.round, "round", "", `arguments of isukit round for every round, for example "--driver lab --duration 15s"`)
	acceptRiskFlag(f, &o.AcceptRisk)
	resultsFlag(f, &o.results)
	jsonFlag(f, &o.asJSON)
}

// newResumeCmd goes on with what another command of that name began.
func newResumeCmd(kind string, s streams) *cobra.Command {
	var o screenOptions
	cmd := &cobra.Command{
		Use:     "resume [FILE]",
		Short:   "Continue an isukit " + kind + " that was interrupted",
		Long:    "Continue an isukit " + kind + " that was interrupted, with the same plan, or print the result of a finished one. FILE is its journal (default: the newest).",
		Example: "  isukit " + kind + " resume\n  isukit " + kind + " resume results/" + kind + "-20261130T091500.000Z.jsonl",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.common(cmd)
			return o.resume(cmd.Context(), kind, cmp.Or(append(args, "")...), s)
		},
	}
	resultsFlag(cmd.Flags(), &o.results)
	jsonFlag(cmd.Flags(), &o.asJSON)
	return cmd
}

func (o *screenOptions) common(cmd *cobra.Command) {
	if f := cmd.Flags().Lookup("seed"); f != nil && !f.Changed {
		o.Seed = rand.Uint64N(1_000_000)
	}
	o.stateDir, o.quiet = stateDir(cmd), isQuiet(cmd)
}

func runScreen(ctx context.Context, o screenOptions, names []string, s streams) error {
	say := ui.SayTo(s.err, o.quiet)
	if err := o.check(ctx, names, defaultScreen, say, s); err != nil {
		return err
	}
	journal, err := session.NewJournal(o.results, "screen", o.ScreenPlan)
	if err != nil {
		return err
	}
	return o.play(ctx, "screen", journal, session.TunePlan{ScreenPlan: o.ScreenPlan}, say, s)
}

// check finds out before anything runs what is wrong with the options and the rounds' arguments, and completes the plan.
func (o *screenOptions) check(ctx context.Context, names []string, rounds int, say func(string, ...any), s streams) error {
	if o.Rounds < 0 || o.Rounds > 0 && o.Rounds < 2 || o.Rounds > 2*compare.MaxPairs {
		return ui.UsageError(fmt.Errorf("--rounds %d must be from 2 to %d", o.Rounds, 2*compare.MaxPairs), "")
	}
	if o.Budget < 0 {
		return ui.UsageError(fmt.Errorf("--budget %v is negative", o.Budget), "")
	}
	if len(o.metrics) != 1 {
		return ui.UsageError(fmt.Errorf("--metrics %s: name one metric", strings.Join(o.metrics, ",")), "give one, for example --metrics hits")
	}
	if _, ok := compare.Value(o.metrics[0]); !ok {
		return ui.UsageError(fmt.Errorf("--metrics: metric %q not found", o.metrics[0]), "isukit compare --help lists them")
	}
	var err error
	if o.Round, err = splitArgs(o.round); err != nil {
		return ui.UsageError(fmt.Errorf("--round: %w", err), `see "isukit screen --help"`)
	}
	if slices.ContainsFunc(o.Round, func(a string) bool {
		a, _, _ = strings.Cut(a, "=")
		return a == "--tune" || a == "--results" || a == "--json"
	}) {
		return ui.UsageError(errors.New("--round: isukit screen sets --tune, --results and --json itself"), "--results of isukit screen names the directory of the rounds")
	}
	args := o.Round
	if len(names) > 0 {
		args = slices.Concat(args, []string{"--tune", strings.Join(names, ","), "--accept-risk", strings.Join(o.AcceptRisk, ",")})
	}
	if err := checkRoundArgs(args); err != nil {
		return ui.UsageError(err, ui.HintOf(err, `see "isukit round --help"`))
	}
	var said []string
	if o.Factors, said, err = session.Factors(names, o.AcceptRisk); err != nil {
		return err
	}
	if len(o.Factors) > experiment.MaxFactors {
		return ui.UsageError(fmt.Errorf("%d tunings: a plan takes at most %d", len(o.Factors), experiment.MaxFactors), "leave out the least likely ones")
	}
	for _, text := range said {
		say("%s", text)
	}
	if o.Rounds == 0 && o.Budget == 0 {
		o.Rounds = rounds
	}
	o.Metric = o.metrics[0]
	if o.Of, err = o.playedOn(); err == nil {
		o.Dir, err = os.Getwd()
	}
	if err == nil {
		_, _, err = trustedProject(ctx, s, o.stateDir, o.Round)
	}
	return err
}

// playedOn is a digest of the files that rounds are played by: the project's or the topology, and the tunings.
func (o *screenOptions) playedOn() (string, error) {
	sum := sha256.New()
	p, file, _, err := projectOf(o.Round)
	if p != nil {
		text, readErr := os.ReadFile(file)
		sum.Write(text)
		err = readErr
	} else if err == nil {
		var top *topology.Topology
		if top, err = o.topology(); err == nil {
			err = json.NewEncoder(sum).Encode(top)
		}
	}
	for _, f := range o.Factors {
		tunings, findErr := round.FindTunings(f.Names, o.AcceptRisk)
		err = errors.Join(err, findErr, json.NewEncoder(sum).Encode(tunings))
	}
	return hex.EncodeToString(sum.Sum(nil)), err
}

// open prepares a journal for playing, once its plan is known.
func (o *screenOptions) open(journal *session.Journal, say func(string, ...any)) (err error) {
	if dir, err := os.Getwd(); err == nil && dir != o.Dir {
		return ui.UsageError(fmt.Errorf("it was started in %s", o.Dir), "cd "+shellWord(o.Dir))
	}
	journal.Say, journal.Check = say, func() error {
		if of, err := o.playedOn(); err != nil || of != o.Of {
			return ui.UsageError(errors.Join(errors.New("the project file, the topology or a tuning has changed since these rounds began: new rounds would not be comparable"), err),
				"restore the file, or start from the beginning")
		}
		return nil
	}
	journal.Common = slices.Concat(o.Round, []string{"--quiet", "--json", "--results", o.results, "--state-dir", o.stateDir})
	journal.Isukit, err = os.Executable()
	return err
}

// resume goes on with an experiment of that kind.
func (o screenOptions) resume(ctx context.Context, kind, path string, s streams) error {
	say := ui.SayTo(s.err, o.quiet)
	var plan session.TunePlan
	journal, err := session.OpenJournal(ctx, path, o.results, kind, &plan, say)
	if err != nil {
		return err
	}
	o.ScreenPlan = plan.ScreenPlan
	if _, _, err := trustedProject(ctx, s, o.stateDir, o.Round); err != nil {
		return errors.Join(err, journal.Close())
	}
	return o.play(ctx, kind, journal, plan, say, s)
}

// play plays the remaining rounds of an experiment and prints its result.
func (o screenOptions) play(ctx context.Context, kind string, journal *session.Journal, plan session.TunePlan, say func(string, ...any), s streams) (err error) {
	defer func() { err = errors.Join(err, journal.Close()) }()
	if err := o.open(journal, say); err != nil {
		return err
	}
	play := o.screened
	if kind == "autotune" {
		play = o.searched
	}
	r, page, err := play(ctx, journal, plan, say)
	if err != nil && ctx.Err() != nil {
		err = ui.Hinted(err, "isukit "+kind+" resume "+shellWord(journal.Path)+" continues it")
	}
	switch {
	case r == nil:
		return err
	case o.asJSON:
		return errors.Join(err, ui.PrintJSON(s.out, r))
	}
	return errors.Join(err, showPage(page, strings.TrimSuffix(journal.Path, ".jsonl"), say, s))
}

// screened plays the remaining rounds of a screen.
func (o screenOptions) screened(ctx context.Context, journal *session.Journal, plan session.TunePlan, say func(string, ...any)) (any, report.Page, error) {
	r, err := (&session.Screen{ScreenPlan: plan.ScreenPlan, Journal: journal, Say: say}).Run(ctx)
	if r == nil {
		return nil, report.Page{}, err
	}
	if len(r.Recommended) > 0 && r.Verdict.Proves {
		r.Keep = o.keep(r.Recommended)
	}
	return r, r.Page(journal.Played), err
}

// keep is the command that keeps the recommended tunings: on a driver's or a project's servers, or otherwise in the next round.
func (o screenOptions) keep(names []string) string {
	risks := ""
	for _, r := range o.AcceptRisk {
		if slices.Contains(names, r) {
			risks += " --accept-risk " + shellWord(r)
		}
	}
	for i, arg := range o.Round {
		if name, value, ok := strings.Cut(arg, "="); name == "--driver" || name == "--project" {
			if !ok && i+1 < len(o.Round) {
				value = o.Round[i+1]
			}
			return "isukit tune apply " + shellWords(names) + " " + name + " " + shellWord(value) + risks
		}
	}
	if p, _, _, err := projectOf(o.Round); err == nil && p != nil {
		return "isukit tune apply " + shellWords(names) + risks
	}
	return strings.TrimSpace("isukit round "+shellWords(o.Round)) + " --tune " + shellWord(strings.Join(names, ",")) + risks
}
