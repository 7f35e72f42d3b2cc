package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/spf13/cobra"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/doctor"
	enginemysql "isukit/infra/engine/mysql"
	"isukit/infra/host/machine"
	"isukit/infra/project"
	"isukit/infra/subject"
)

type doctorOptions struct {
	topology, driver, project, round string
	host                             string // of stop and start
	results, stateDir, localDir, app string
	only, skip, dbs                  []string
	list, asJSON, quiet              bool
}

// doctorLook is the time between two readings of the hosts' counters.
const doctorLook = time.Second

func newDoctorCmd(s streams) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor [ROUND]",
		Short: "Check for known problems: limits, MTU, caches without effect",
		Long: `Check for known problems, and print each with its numbers and the command that fixes it. doctor changes nothing.

It checks the running topology (with -t or --driver), the hosts of the project (if there is an isukit.yaml), or this machine. With ROUND
it checks that round's record. Every round runs the quick checks and prints their findings as warnings.

Exit code 0: no findings, or only notes. Exit code 3: findings of severity warn or crit.`,
		Example: "  isukit doctor\n  isukit doctor -t final-1 --driver lab\n  isukit doctor last\n  isukit doctor --ls\n  isukit doctor --only file-limits,swap",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.round = args[0]
			}
			o.stateDir, o.quiet = stateDir(cmd), isQuiet(cmd)
			if err := runDoctor(cmd.Context(), o, s); err != nil {
				return err
			}
			if !o.list && o.round == "" && len(o.dbs) == 0 {
				sayNext(s, o.quiet || o.asJSON, nextAfterDoctor(cmd))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.topology, "topology", "t", "", "the running topology: a shipped one's name, or a file")
	f.StringVar(&o.driver, "driver", "", "check the topology that runs with this driver: local, lab or ssh")
	projectFlag(f, &o.project)
	resultsFlag(f, &o.results)
	f.StringArrayVar(&o.dbs, "db", nil, "file with the DSN of a database on this machine, to check it too (mode 0600)")
	programFlags(f, &o.localDir, &o.app)
	f.BoolVar(&o.list, "ls", false, "list the checks")
	p := cmd.PersistentFlags()
	p.StringSliceVar(&o.only, "only", nil, "run only these checks")
	p.StringSliceVar(&o.skip, "skip", nil, "skip these checks")
	linesFlag(p, &o.asJSON)
	cmd.AddCommand(newDoctorLintCmd(&o, s), newDoctorStopCmd(&o, s), newDoctorStartCmd(&o, s), newDoctorProbeCmd(s))
	return cmd
}

func runDoctor(ctx context.Context, o doctorOptions, s streams) error {
	checks, err := doctor.Select(doctor.Checks(), o.only, o.skip)
	if err != nil {
		return ui.UsageError(err, `"isukit doctor --ls" lists the checks`)
	}
	if o.list {
		return listChecks(s.out, checks, o.asJSON)
	}
	if o.round != "" {
		r, _, err := findRound(o.results, o.round)
		if err != nil {
			return err
		}
		return printFindings(s.out, append(doctor.Diagnose(round.ObservedIn(r), checks), round.SaidThen(r, checks)...), len(checks), o.asJSON)
	}
	done := ui.Waiting(s.err, o.quiet, "checking hosts, servers and networks")
	seen, err := o.observe(ctx, s)
	done()
	if seen == nil {
		return err
	}
	if err != nil {
		// What can be looked at is looked at.
		fmt.Fprintf(s.err, "isukit: warning: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nisukit: warning: "))
	}
	return printFindings(s.out, doctor.Diagnose(seen, checks), len(checks), o.asJSON)
}

func (o doctorOptions) observe(ctx context.Context, s streams) (*doctor.Observed, error) {
	if o.topology != "" || o.driver != "" {
		return o.ofTopology(ctx)
	}
	if len(o.dbs) == 0 {
		p, dir, err := round.FindServed(o.project)
		if err != nil {
			return nil, err
		}
		if p != nil {
			return o.ofProject(ctx, p, dir)
		}
	}
	return o.ofThisMachine(ctx, s)
}

func (o doctorOptions) ofTopology(ctx context.Context) (seen *doctor.Observed, err error) {
	if o.driver, err = round.FindDriver(o.driver, o.stateDir); err != nil {
		return nil, err
	}
	o.driver = cmp.Or(o.driver, "local")
	spec := infra.Spec{StateDir: o.stateDir, LocalDir: o.localDir, AppBinary: o.app}
	err = round.WithUp(ctx, o.driver, spec, false, func(running *infra.Running, lacking error) (err error) {
		if err = o.wantUp(running.Topology.Name); err != nil {
			return err
		}
		seen, err = examine(ctx, running.Subject())
		return errors.Join(err, lacking)
	})
	if errors.Is(err, infra.ErrNothingUp) {
		err = cmp.Or(o.wantUp(""), err)
	}
	return seen, err
}

// wantUp wants the topology that was asked for to be the one that is up; "" is for none.
func (o doctorOptions) wantUp(up string) error {
	if o.topology == "" {
		return nil
	}
	want, err := readTopology(o.topology)
	if err != nil || up == want.Name {
		return err
	}
	if up += " is"; up == " is" {
		up = "none is"
	}
	return ui.UsageError(fmt.Errorf("topology %s does not run with driver %s (%s)", want.Name, o.driver, up), "isukit topology apply "+o.topology+" --driver "+o.driver)
}

// ofThisMachine looks at the machine that isukit runs on, and at the databases that were named.
func (o doctorOptions) ofThisMachine(ctx context.Context, s streams) (seen *doctor.Observed, err error) {
	here, err := machine.OpenHere(o.stateDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, here.Close(context.WithoutCancel(ctx))) }()
	sub := &subject.Subject{Hosts: []subject.Host{subject.HostHere(hostName(), here, o.stateDir, false, false)}}
	for _, file := range o.dbs {
		dsn, err := readDSN(file, s)
		if err != nil {
			return nil, ui.UsageError(err, "a DSN file holds one line: user:password@tcp(127.0.0.1:3306)/")
		}
		connector, err := mysql.NewConnector(dsn)
		if err != nil {
			return nil, err
		}
		pool := sql.OpenDB(connector)
		defer pool.Close()
		name := "db-" + strings.NewReplacer("/", "_", "(", "", ")", "").Replace(dsn.Addr)
		sub.Services = append(sub.Services, subject.Service{Name: name, Kind: subject.Database, Host: sub.Hosts[0].Name,
			Open: func() (enginemysql.Querier, func() error, error) {
				return enginemysql.SQL{DB: pool}, func() error { return nil }, nil
			}})
	}
	return examine(ctx, sub)
}

func listChecks(out io.Writer, checks []doctor.Check, asJSON bool) error {
	return ui.PrintList(out, asJSON, checks, "CHECK\tRUNS\tABOUT", func(c doctor.Check) string {
		when := "when asked"
		if c.Quick {
			when = "before rounds"
		}
		return c.ID + "\t" + when + "\t" + c.About
	})
}

// printFindings prints what was found; the error is errCheckFailed where any of it is serious.
func printFindings(out io.Writer, findings []doctor.Finding, checks int, asJSON bool) error {
	var err error
	if asJSON {
		err = ui.PrintJSONLines(out, findings)
	} else {
		_, err = io.WriteString(ui.Signalling(out), findingsText(findings, checks))
	}
	if err == nil && doctor.Serious(findings) {
		return ui.ErrCheckFailed
	}
	return err
}

func findingsText(findings []doctor.Finding, checks int) string {
	if len(findings) == 0 {
		return fmt.Sprintf("nothing found (%d checks)\n", checks)
	}
	var b strings.Builder
	counts := map[doctor.Severity]int{}
	for _, f := range findings {
		counts[f.Severity]++
		fmt.Fprintf(&b, "%-4s  %s  %s\n      %s\n      fix: %s\n", f.Severity, f.Check, strings.TrimSpace(f.Host+" "+f.Subject), f.Seen, f.Fix)
	}
	fmt.Fprintf(&b, "%d crit, %d warn, %d note (%d checks)\n", counts[doctor.Crit], counts[doctor.Warn], counts[doctor.Note], checks)
	return b.String()
}

// examine looks at a subject, with this program as what tries ways from its hosts.
func examine(ctx context.Context, sub *subject.Subject) (*doctor.Observed, error) {
	me, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return sub.Examine(ctx, subject.ExamineOptions{Over: doctorLook, Probe: doctor.Probe{Argv: []string{me, "doctor", "probe"}}})
}

func (o doctorOptions) ofProject(ctx context.Context, p *project.Project, dir string) (seen *doctor.Observed, err error) {
	err = round.WithProject(ctx, p, dir, o.stateDir, func(opened *round.Opened) (err error) {
		sub, lacking := opened.Subject(ctx, false)
		seen, err = examine(ctx, sub)
		return errors.Join(lacking, err)
	})
	return seen, err
}
