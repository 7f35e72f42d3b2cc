package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"forge.example/account/isukit/app/fanout"
	"github.com/go-sql-driver/mysql"
	"github.com/spf13/cobra"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/project"
)

type replicasOptions struct {
	replicas []string // NAME=FILE, in the app's order; none are those of what is up
	driver   string
	project  string
	stateDir string
	mode     string
	tables   []string
	from     string
	reason   string
	asJSON   bool
	quiet    bool
	on       func(command string) string // a command for the same databases
}

func newReplicasCmd(s streams) *cobra.Command {
	var o replicasOptions
	cmd := &cobra.Command{
		Use:   "replicas",
		Short: "Compare, repair, eject and re-admit replicated databases",
		Long: `Check and repair databases that should have the same rows, for example those that an app writes to with package app/fanout. Name each as
--replica NAME=FILE, in the app's order. FILE contains one DSN of go-sql-driver ("user:password@tcp(127.0.0.1:3306)/portal") and should
have mode 0600. Without --replica, isukit uses the databases of isukit.yaml (replicas, or a role on several hosts) or of the running
topology.`,
		Example: "  isukit replicas check\n  isukit replicas check --replica db-1=db-1.dsn --replica db-2=db-2.dsn",
	}
	f := cmd.PersistentFlags()
	f.StringArrayVar(&o.replicas, "replica", nil, "NAME=FILE of a database, in the app's order (repeatable)")
	f.StringVar(&o.mode, "mode", string(fanout.ModeOrdered), "write mode of the app for these databases: "+orList(modeNames()))
	upDriverFlag(f, &o.driver)
	projectFlag(f, &o.project)
	jsonFlag(f, &o.asJSON)
	sub := func(use, short string, args cobra.PositionalArgs, run func(context.Context, *fanout.Pool, replicasOptions, []string, streams) error) *cobra.Command {
		c := &cobra.Command{
			Use: use, Short: short, Args: args,
			Example: "  isukit replicas " + use + " --replica db-1=db-1.dsn --replica db-2=db-2.dsn",
			RunE: func(cmd *cobra.Command, args []string) error {
				o.stateDir = stateDir(cmd)
				o.quiet, o.on = isQuiet(cmd), func(command string) string { return nextOn(cmd, command, replicaFlags...) }
				return o.open(cmd.Context(), s, func(pool *fanout.Pool) error { return run(cmd.Context(), pool, o, args, s) })
			},
		}
		cmd.AddCommand(c)
		return c
	}
	sub("status", "Show which databases are in service", cobra.NoArgs, runReplicasStatus)
	check := sub("check", "Compare the tables and list the rows that differ (exit code 3)", cobra.NoArgs, runReplicasCheck)
	repair := sub("repair", "Repair the rows that differ, if it is known which are correct", cobra.NoArgs, runReplicasRepair)
	eject := sub("eject NAME", "Take a database out of service", cobra.ExactArgs(1), runReplicasEject)
	sub("admit NAME", "Copy the missing rows to a database and return it to service", cobra.ExactArgs(1), runReplicasAdmit)
	cmd.AddCommand(newReplicasLintCmd(s))
	for _, c := range []*cobra.Command{check, repair} {
		c.Flags().StringSliceVar(&o.tables, "tables", nil, "only these tables (default: all)")
	}
	repair.Flags().StringVar(&o.from, "from", "", "database to copy rows from (default: the first one in service, except for doubtful rows)")
	repair.Long = `Copy rows that differ from the first database in service to the others: the app writes to it first. A majority does not decide.
isukit prints these rows and does not change them:
  - rows that are equal on all other databases in service: the others may be wrong, or the first one was changed without the app;
  - all rows, if the first database is unknown: no app opened these databases with package app/fanout, two of them were in service
    without each other, or one in service is not named or unreachable.
Compare them and name the correct database: --from NAME. Its rows then replace those of all others.`
	eject.Flags().StringVar(&o.reason, "reason", "ejected by hand", "reason, shown by \"isukit replicas status\"")
	return cmd
}

func modeNames() []string {
	var names []string
	for _, m := range fanout.Modes() {
		if m != fanout.ModeSingle {
			names = append(names, string(m))
		}
	}
	return names
}

// orList lists words as a sentence does: a, b or c.
func orList(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

func (o *replicasOptions) open(ctx context.Context, s streams, fn func(*fanout.Pool) error) error {
	if len(o.replicas) > 0 {
		cfg, err := o.named(s)
		if err != nil {
			return err
		}
		return openPool(ctx, cfg, fn)
	}
	use := func(cfg fanout.Config) error {
		o.mode = string(cfg.Mode)
		return openPool(ctx, cfg, fn)
	}
	p, dir, err := o.ofProject()
	switch {
	case err != nil:
		return err
	case p == nil || o.project == "" && !p.Replicates():
		return o.ofSite(ctx, use)
	}
	cfg, err := round.ReplicasOfProject(p, dir)
	switch {
	case err != nil:
		return err
	case len(cfg.Replicas) > 0:
		return use(cfg)
	case !p.Replicates():
		return ui.UsageError(fmt.Errorf("%s names no replicas", o.project), "docs/project.md describes the file")
	}
	return round.WithProject(ctx, p, dir, o.stateDir, func(opened *round.Opened) error {
		cfg, err := opened.PlacedReplicas(ctx)
		if err != nil {
			return err
		}
		return use(cfg)
	})
}

// ofProject is the project that was named, or the one in the current directory unless a topology's driver was named.
func (o *replicasOptions) ofProject() (*project.Project, string, error) {
	if o.driver != "" && o.project != "" {
		return nil, "", ui.UsageError(errors.New("--driver selects the databases of a topology, --project those of a project"), "use only one of them")
	}
	if o.driver != "" {
		return nil, "", nil
	}
	return round.FindServed(o.project)
}

// named are the databases that were named.
func (o *replicasOptions) named(s streams) (fanout.Config, error) {
	cfg := fanout.Config{Mode: fanout.Mode(o.mode), Observer: true}
	var faults []error
	for _, r := range o.replicas {
		name, file, ok := strings.Cut(r, "=")
		if !ok || file == "" {
			faults = append(faults, fmt.Errorf("--replica %q is not NAME=FILE", name))
			continue
		}
		dsn, err := readDSN(file, s)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		cfg.Replicas = append(cfg.Replicas, fanout.Replica{Name: name, MySQL: dsn})
	}
	if len(o.replicas) < 2 {
		faults = append(faults, errors.New("at least two databases are needed"))
	}
	if len(faults) == 0 {
		faults = append(faults, cfg.Validate())
	}
	if o.driver != "" || o.project != "" {
		faults = append(faults, errors.New("--driver selects the databases of a topology, --project those of a project, --replica others"))
	}
	if err := errors.Join(faults...); err != nil {
		return cfg, ui.UsageError(err, `name each database: --replica NAME=FILE; see "isukit replicas --help"`)
	}
	return cfg, nil
}

func openPool(ctx context.Context, cfg fanout.Config, fn func(*fanout.Pool) error) (err error) {
	pool, err := fanout.Open(ctx, cfg)
	if err != nil {
		return ui.Hinted(err, "the databases must run, and their schemas must be the same")
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	return fn(pool)
}

// readDSN reads a file with one DSN, and warns where others can read it.
func readDSN(file string, s streams) (*mysql.Config, error) {
	dsn, open, err := round.ReadDSN(file)
	if open {
		fmt.Fprintf(s.err, "isukit: warning: other users can read %s, which contains a password (chmod 600 %s)\n", file, file)
	}
	return dsn, err
}

func runReplicasStatus(ctx context.Context, pool *fanout.Pool, o replicasOptions, _ []string, s streams) error {
	status, err := pool.Status(ctx)
	if err != nil {
		return err
	}
	var lines []replicaStatus
	for _, r := range status.Replicas {
		line := replicaStatus{Name: r.Name, State: string(r.State), Reason: r.Reason}
		if r.Err != nil {
			line.Error = r.Err.Error()
		}
		lines = append(lines, line)
	}
	return ui.PrintList(s.out, o.asJSON, lines, "REPLICA\tSTATE\tANSWERS\tREASON", func(l replicaStatus) string {
		return l.Name + "\t" + l.State + "\t" + cmp.Or(l.Error, "yes") + "\t" + l.Reason
	})
}

type replicaStatus struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Error says why the database does not answer.
	Error string `json:"error,omitempty"`
}

func runReplicasCheck(ctx context.Context, pool *fanout.Pool, o replicasOptions, _ []string, s streams) error {
	done := ui.Waiting(s.err, o.quiet, "comparing the tables")
	defer done()
	report, err := pool.Check(ctx, fanout.CheckOptions{Tables: o.tables})
	done()
	if err != nil {
		return err
	}
	if err := printReport(o, report, report.String(), s); err != nil {
		return err
	}
	if !report.Clean() {
		if o.mode != string(fanout.ModeReplicated) { // there, the servers' own replication repairs them
			sayNext(s, o.quiet || o.asJSON, o.on("isukit replicas repair"))
		}
		return ui.ErrCheckFailed
	}
	return nil
}

func runReplicasRepair(ctx context.Context, pool *fanout.Pool, o replicasOptions, _ []string, s streams) error {
	report, err := pool.Repair(ctx, fanout.RepairOptions{Tables: o.tables, From: o.from})
	if err != nil {
		return err
	}
	if err := printReport(o, report, report.String(), s); err != nil {
		return err
	}
	if len(report.Left) > 0 {
		return ui.Hinted(fmt.Errorf("%d rows were not repaired: %s", len(report.Left), report.Why), "compare these rows, then name the correct database: "+o.on("isukit replicas repair --from NAME"))
	}
	return nil
}

func runReplicasEject(ctx context.Context, pool *fanout.Pool, o replicasOptions, args []string, s streams) error {
	if err := pool.Eject(ctx, args[0], o.reason); err != nil {
		return err
	}
	return runReplicasStatus(ctx, pool, o, nil, s)
}

func runReplicasAdmit(ctx context.Context, pool *fanout.Pool, o replicasOptions, args []string, s streams) error {
	report, err := pool.Admit(ctx, args[0])
	if err != nil {
		return err
	}
	return printReport(o, report, report.String(), s)
}

func printReport(o replicasOptions, report any, text string, s streams) error {
	if o.asJSON {
		return json.NewEncoder(s.out).Encode(report)
	}
	_, err := fmt.Fprintln(s.out, strings.TrimRight(text, "\n"))
	return err
}

// errNoReplicas says that no database was named, and that there is none to take in its place.
var errNoReplicas = errors.New("no databases are named, and no topology is running")

// ofSite calls fn with the databases that the options select, of the driver that is deployed. Their DSNs are valid while fn runs.
func (o *replicasOptions) ofSite(ctx context.Context, fn func(fanout.Config) error) (err error) {
	name, err := round.FindDriver(o.driver, o.stateDir)
	if err != nil {
		return err
	}
	if name == "" {
		return ui.UsageError(errNoReplicas, `name each database: --replica NAME=FILE; or isukit topology apply fanout-2`)
	}
	return round.WithUp(ctx, name, infra.Spec{StateDir: o.stateDir}, false, func(running *infra.Running, lacking error) error {
		if lacking != nil {
			return lacking
		}
		top := running.Topology
		if len(round.ReplicasOf(top)) == 0 {
			return ui.UsageError(fmt.Errorf("the topology %s, which runs with driver %s, has no replicated databases", top.Name, name),
				"\"isukit topology ls\" shows which topologies have; or name databases: --replica NAME=FILE")
		}
		return fn(round.PlacementOf(top, running.DSNs()))
	})
}
