package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/spf13/cobra"

	"forge.example/account/isukit/app/fanout"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
)

// replicasOptions name the databases and how the app writes to them.
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
		Short: "Compare, mend, eject and admit databases with the same tables",
		Long: `Look after databases that an app writes to through package app/fanout, or that should hold the same tables for any other
reason. Each is named as NAME=FILE, in the app's order; FILE holds one DSN as go-sql-driver reads it
("user:password@tcp(127.0.0.1:3306)/portal") and should have mode 0600. The password is never taken from the command line.
If you name none, the command applies to those of isukit.yaml (replicas), or to those of the topology that is up.`,
		Example: "  isukit replicas check\n  isukit replicas check --replica db-1=db-1.dsn --replica db-2=db-2.dsn",
	}
	f := cmd.PersistentFlags()
	f.StringArrayVar(&o.replicas, "replica", nil, "NAME=FILE of one database; give it once for each, in the app's order")
	f.StringVar(&o.mode, "mode", string(fanout.ModeOrdered), "how the app writes to those that are named: "+orList(modeNames()))
	upDriverFlag(f, &o.driver)
	projectFlag(f, &o.project)
	jsonFlag(f, &o.asJSON)
	sub := func(use, short string, args cobra.PositionalArgs, run func(context.Context, *fanout.Pool, replicasOptions, []string, streams) error) *cobra.Command {
		c := &cobra.Command{
			Use: use, Short: short, Args: args,
			Example: "  isukit replicas " + use + " --replica db-1=db-1.dsn --replica db-2=db-2.dsn",
			RunE: func(cmd *cobra.Command, args []string) error {
				var err error
				if o.stateDir, err = stateDir(cmd); err != nil {
					return err
				}
				o.quiet, o.on = isQuiet(cmd), func(command string) string { return nextOn(cmd, command, replicaFlags...) }
				return o.open(cmd.Context(), s, func(pool *fanout.Pool) error { return run(cmd.Context(), pool, o, args, s) })
			},
		}
		cmd.AddCommand(c)
		return c
	}
	sub("status", "Say which databases are in service", cobra.NoArgs, runReplicasStatus)
	check := sub("check", "Compare the tables and name the rows that differ (exit code 3)", cobra.NoArgs, runReplicasCheck)
	repair := sub("repair", "Make the rows that differ equal, where it is known which are right", cobra.NoArgs, runReplicasRepair)
	eject := sub("eject NAME", "Take a database out of service", cobra.ExactArgs(1), runReplicasEject)
	sub("admit NAME", "Copy what a database lacks and put it back into service", cobra.ExactArgs(1), runReplicasAdmit)
	cmd.AddCommand(newReplicasLintCmd(s))
	for _, c := range []*cobra.Command{check, repair} {
		c.Flags().StringSliceVar(&o.tables, "tables", nil, "only these tables (default: all)")
	}
	repair.Flags().StringVar(&o.from, "from", "", "the database whose rows are right (default: the first one in service, for rows where nothing speaks against it)")
	repair.Long = `Make the rows that differ equal. The app writes to the first database in service before the others, so its rows are right: the number of
databases that have a row decides nothing. Two kinds of rows are left as they are, and printed with what each database has:
  - rows in which all others in service have the same, and the first one something else. Either the others computed it wrongly, or
    the row was changed on the first one without the app;
  - all rows, where the first one is not known: no app has opened these databases with package app/fanout, two of them were each in service
    without the other, or one in service is not named or does not answer.
Compare them, and name the database whose rows are right: --from NAME. Its rows then replace those of all others.`
	eject.Flags().StringVar(&o.reason, "reason", "ejected by hand", "why, for whoever asks for the status")
	return cmd
}

// modeNames are the modes in which several databases are written.
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

// open opens the databases, runs fn, and closes them.
func (o *replicasOptions) open(ctx context.Context, s streams, fn func(*fanout.Pool) error) error {
	if len(o.replicas) > 0 {
		cfg, err := o.named(s)
		if err != nil {
			return err
		}
		return openPool(ctx, cfg, fn)
	}
	if cfg, err := o.ofProject(); err != nil || len(cfg.Replicas) > 0 {
		if err != nil {
			return err
		}
		o.mode = string(cfg.Mode)
		return openPool(ctx, cfg, fn)
	}
	return o.ofSite(ctx, func(cfg fanout.Config) error {
		o.mode = string(cfg.Mode)
		return openPool(ctx, cfg, fn)
	})
}

// ofProject are the databases of the project that was named, or of the one in the current directory unless a topology's driver was named.
func (o *replicasOptions) ofProject() (fanout.Config, error) {
	if o.driver != "" && o.project != "" {
		return fanout.Config{}, ui.UsageError(errors.New("--driver means the databases of a topology, --project those of a project"), "leave one of them out")
	}
	if o.driver != "" {
		return fanout.Config{}, nil
	}
	p, dir, err := round.FindProject(o.project)
	if err != nil || p == nil {
		return fanout.Config{}, err
	}
	if len(p.Replicas.Databases) == 0 && o.project != "" {
		return fanout.Config{}, ui.UsageError(fmt.Errorf("%s names no replicas", o.project), "docs/project.md describes the file")
	}
	return round.ReplicasOfProject(p, dir)
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
		faults = append(faults, errors.New("two databases or more are needed"))
	}
	if len(faults) == 0 {
		faults = append(faults, cfg.Validate())
	}
	if o.driver != "" || o.project != "" {
		faults = append(faults, errors.New("--driver means the databases of a topology, --project those of a project, --replica others"))
	}
	if err := errors.Join(faults...); err != nil {
		return cfg, ui.UsageError(err, `name each database: --replica NAME=FILE; see "isukit replicas --help"`)
	}
	return cfg, nil
}

// openPool opens the databases, runs fn, and closes them.
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
		fmt.Fprintf(s.err, "isukit: warning: others can read %s, which holds a password (chmod 600 %s)\n", file, file)
	}
	return dsn, err
}

func runReplicasStatus(ctx context.Context, pool *fanout.Pool, o replicasOptions, _ []string, s streams) error {
	status, err := pool.Status(ctx)
	if err != nil {
		return err
	}
	if o.asJSON {
		return statusJSON(status, s)
	}
	w := ui.NewTable(s.out)
	fmt.Fprintln(w, "REPLICA\tSTATE\tANSWERS\tREASON")
	for _, r := range status.Replicas {
		answers := "yes"
		if r.Err != nil {
			answers = r.Err.Error()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Name, r.State, answers, r.Reason)
	}
	return w.Flush()
}

// replicaStatus is one line of `isukit replicas status --json`.
type replicaStatus struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Error says why the database does not answer.
	Error string `json:"error,omitempty"`
}

func statusJSON(status fanout.Status, s streams) error {
	encoder := json.NewEncoder(s.out)
	for _, r := range status.Replicas {
		line := replicaStatus{Name: r.Name, State: string(r.State), Reason: r.Reason}
		if r.Err != nil {
			line.Error = r.Err.Error()
		}
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	return nil
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
		if o.mode != string(fanout.ModeReplicated) { // there, the servers' own replication mends
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
		return ui.Hinted(fmt.Errorf("%d rows were left as they are: %s", len(report.Left), report.Why), "compare these rows, then name the database whose rows are right: "+o.on("isukit replicas repair --from NAME"))
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

// printReport writes what a command found or did, as text or as JSON.
func printReport(o replicasOptions, report any, text string, s streams) error {
	if o.asJSON {
		return json.NewEncoder(s.out).Encode(report)
	}
	_, err := fmt.Fprintln(s.out, strings.TrimRight(text, "\n"))
	return err
}
