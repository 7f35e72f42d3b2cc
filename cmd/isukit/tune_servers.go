package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/spf13/pflag"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	enginemysql "isukit/infra/engine/mysql"
	"isukit/infra/host"
	"isukit/infra/project"
	"isukit/infra/subject"
	"isukit/infra/tune"
)

// tuneServers are the servers of this machine that the user names, or those of the topology that is up with a driver.
type tuneServers struct {
	driver           string // "" is this machine
	project          string // its file; "" is isukit.yaml where there is one
	localDir, app    string
	dbs, cnfs, units []string
	nginx            string
	envoy, envoyUnit string
	pids             []int
	thisKernel       bool
	memory           string
	shared           bool
	partly           bool    // servers that cannot be asked do not keep the others from it
	writes           bool    // what is done to the targets may change files
	measure          *string // where not nil, gets the round that measures what is up, "" where nothing is
}

func (t *tuneServers) addFlags(f *pflag.FlagSet) {
	f.StringVar(&t.driver, "driver", "", "the servers of the topology that is up with this driver, local, lab or ssh, and their hosts' kernels (default: what is up, unless servers of this machine are named)")
	projectFlag(f, &t.project)
	programFlags(f, &t.localDir, &t.app)
	f.StringArrayVar(&t.dbs, "db", nil, "a file of mode 0600 with a database's DSN, of an account that may change variables")
	f.StringArrayVar(&t.cnfs, "db-cnf", nil, "the option file of that database that gets the settings; without it only the running server does")
	f.StringArrayVar(&t.units, "db-unit", nil, "the systemd unit of that database, for restarts")
	f.StringVar(&t.nginx, "nginx", "", "nginx's configuration file")
	f.StringVar(&t.envoy, "envoy", "", "the configuration file of an Envoy, which names its admin page")
	f.StringVar(&t.envoyUnit, "envoy-unit", "", "the systemd unit of that Envoy, for restarts")
	f.IntSliceVar(&t.pids, "pid", nil, "processes whose limits are meant")
	f.BoolVar(&t.thisKernel, "this-kernel", false, "also change settings of the kernel of this machine")
	f.StringVar(&t.memory, "memory", "", "what values go by in place of this machine's limit, such as 1GiB")
	f.BoolVar(&t.shared, "shared", false, "other servers share this machine: values that depend on its memory are smaller")
}

// open makes the targets and calls fn with them: of the servers that are named, else of the topology that is up with the driver that is
// named, else of the project, else of what is up.
func (t tuneServers) open(ctx context.Context, stateDir string, s streams, fn func([]*tune.Target) error) (err error) {
	var p *project.Project
	var dir string
	if t.driver == "" && (!t.named() || t.project != "") {
		if p, dir, err = round.FindProject(t.project); err != nil {
			return err
		}
	}
	switch {
	case p != nil:
		return t.openProject(ctx, p, dir, stateDir, fn)
	case !t.named():
		if t.driver, err = round.FindDriver(t.driver, stateDir); err != nil {
			return err
		}
	}
	if t.driver != "" {
		return t.openSite(ctx, stateDir, fn)
	}
	if len(t.cnfs) > len(t.dbs) || len(t.units) > len(t.dbs) {
		return ui.UsageError(errors.New("--db-cnf and --db-unit belong to a --db each, in the same order"), "")
	}
	h, err := host.OpenLocal(stateDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close(context.WithoutCancel(ctx))) }()
	here, err := t.here(h, stateDir)
	if err != nil {
		return err
	}
	named := subject.Named{EnvoyUnit: t.envoyUnit, PIDs: t.pids}
	if named.Nginx, err = absolute(t.nginx); err != nil {
		return err
	}
	if named.Envoy, err = absolute(t.envoy); err != nil {
		return err
	}
	var pools []*sql.DB
	defer func() {
		for _, pool := range pools {
			pool.Close()
		}
	}()
	for i := range t.dbs {
		d, pool, err := t.database(i, s)
		if err != nil {
			return err
		}
		pools, named.Databases = append(pools, pool), append(named.Databases, d)
	}
	sub, err := subject.OfHost(ctx, here, named)
	if err != nil {
		return err
	}
	return withTargets(sub, fn)
}

// absolute is a file's path from the root; "" stays.
func absolute(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	return filepath.Abs(file)
}

func withTargets(sub *subject.Subject, fn func([]*tune.Target) error) error {
	targets, closeAll, err := sub.TuneTargets()
	if err != nil {
		return err
	}
	return errors.Join(fn(targets), closeAll())
}

// openProject makes the targets of what a project names.
func (t tuneServers) openProject(ctx context.Context, p *project.Project, dir, stateDir string, fn func([]*tune.Target) error) (err error) {
	if only := t; only.thisKernel {
		only.thisKernel = false
		if only.named() {
			return errProjectServers
		}
	} else if t.named() {
		return errProjectServers
	}
	opened, err := round.OpenProject(ctx, p, dir, stateDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, opened.Close(context.WithoutCancel(ctx))) }()
	sub, lacking := opened.Subject(ctx, t.thisKernel)
	if lacking != nil {
		lacking = ui.Hinted(lacking, "isukit.yaml names what is tuned, under services and databases; docs/project.md describes the file")
	}
	if lacking != nil && !t.partly {
		return lacking
	}
	return errors.Join(withTargets(sub, fn), lacking)
}

var errProjectServers = ui.UsageError(errors.New("--project means the servers that isukit.yaml names; --db, --nginx, --envoy, --pid, --memory and --shared are for servers that no file names"), "")

// named tells that servers of this machine were asked for.
func (t tuneServers) named() bool {
	return len(t.dbs)+len(t.pids) > 0 || t.nginx != "" || t.envoy != "" || t.thisKernel || t.memory != "" || t.shared
}

// openSite makes the targets of what is up, and keeps others from changing it meanwhile.
func (t tuneServers) openSite(ctx context.Context, stateDir string, fn func([]*tune.Target) error) error {
	if t.named() {
		return ui.UsageError(errors.New("--driver means all servers of a topology; --db, --nginx, --envoy, --pid, --this-kernel, --memory and --shared are for this machine's"), "")
	}
	return round.WithRunning(ctx, t.driver, t.app, infra.Spec{StateDir: stateDir, LocalDir: t.localDir}, true, func(running *infra.Running) error {
		sub, err := running.Subject()
		if err != nil {
			return err
		}
		if t.measure != nil {
			facts := map[string]string{}
			for _, f := range running.Facts {
				facts[f.Key] = f.Value
			}
			*t.measure = roundOn(facts["topology"], facts["topology_hash"], t.driver)
		}
		if !t.writes {
			return withTargets(sub, fn)
		}
		return running.Tuning(ctx, func() error { return withTargets(sub, fn) })
	})
}

// here is this machine, with the sizes that the user gives it.
func (t tuneServers) here(h *host.Local, stateDir string) (subject.Host, error) {
	here := subject.HostHere(hostName(), h, stateDir, t.shared, t.thisKernel)
	if t.memory == "" {
		return here, nil
	}
	var err error
	if here.Sizes.MemoryBytes, err = parseMemory(t.memory); err != nil {
		err = ui.UsageError(fmt.Errorf("--memory: %w", err), "")
	}
	return here, err
}

// parseMemory reads 512MiB or 2GiB.
func parseMemory(text string) (int64, error) {
	for unit, factor := range map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30} {
		var n int64
		if digits, ok := strings.CutSuffix(text, unit); ok {
			if _, err := fmt.Sscanf(digits, "%d", &n); err == nil && n > 0 && n < 1<<20 {
				return n * factor, nil
			}
		}
	}
	return 0, fmt.Errorf("%q: want a whole number with MiB or GiB", text)
}

func (t tuneServers) database(i int, s streams) (d subject.NamedDatabase, pool *sql.DB, err error) {
	dsn, err := readDSN(t.dbs[i], s)
	if err != nil {
		return d, nil, ui.UsageError(err, "a DSN file holds one line: user:password@tcp(127.0.0.1:3306)/")
	}
	connector, err := mysql.NewConnector(dsn)
	if err != nil {
		return d, nil, err
	}
	pool = sql.OpenDB(connector)
	d.Name, d.Query = "db-"+strings.NewReplacer("/", "_", "(", "", ")", "").Replace(dsn.Addr), enginemysql.SQL{DB: pool}
	if i < len(t.cnfs) {
		if d.Cnf, err = absolute(t.cnfs[i]); err != nil {
			return d, pool, err
		}
	}
	if i < len(t.units) {
		d.Unit = t.units[i]
	}
	return d, pool, nil
}
