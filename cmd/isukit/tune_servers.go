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
	"isukit/infra/tune"
)

// tuneServers are the servers of this machine that the user names, or those of the topology that is up with a driver.
type tuneServers struct {
	driver           string // "" is this machine
	localDir, app    string
	dbs, cnfs, units []string
	nginx            string
	envoy, envoyUnit string
	pids             []int
	thisKernel       bool
	memory           string
	shared           bool
	writes           bool    // what is done to the targets may change files
	measure          *string // where not nil, gets the round that measures what is up, "" where nothing is
}

func (t *tuneServers) addFlags(f *pflag.FlagSet) {
	f.StringVar(&t.driver, "driver", "", "the servers of the topology that is up with this driver, local, lab or ssh, and their hosts' kernels (default: what is up, unless servers of this machine are named)")
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

// open makes the targets and calls fn with them.
func (t tuneServers) open(ctx context.Context, stateDir string, s streams, fn func([]*tune.Target) error) (err error) {
	if !t.named() {
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
	place, err := t.place(h, stateDir)
	if err != nil {
		return err
	}
	targets, err := t.targetsHere(place)
	if err != nil {
		return err
	}
	for i := range t.dbs {
		target, pool, err := t.database(i, place, s)
		if err != nil {
			return err
		}
		defer pool.Close()
		targets = append(targets, target)
	}
	return fn(targets)
}

// targetsHere are the kernel, the processes and the proxies of this machine.
func (t tuneServers) targetsHere(place tune.Place) ([]*tune.Target, error) {
	kernel, link, boot := infra.KernelTargets(place, t.thisKernel)
	targets := []*tune.Target{kernel, link, boot}
	for _, pid := range t.pids {
		p := place
		p.Name = fmt.Sprintf("pid-%d", pid)
		targets = append(targets, tune.NewLimits(p, tune.LimitsConfig{PIDs: func(context.Context) ([]int, error) { return []int{pid}, nil }}))
	}
	if t.nginx != "" {
		p := place
		p.Name = "nginx"
		target, err := infra.NginxTarget(p, t.nginx)
		if err != nil {
			return nil, err
		}
		targets = append(targets, target)
	}
	if t.envoy != "" {
		p := place
		p.Name = "envoy"
		target, err := infra.EnvoyTarget(p, t.envoy, t.envoyUnit, round.LocalDir(t.localDir))
		if err != nil {
			return nil, err
		}
		targets = append(targets, target)
	}
	return targets, nil
}

// named tells that servers of this machine were asked for.
func (t tuneServers) named() bool {
	return len(t.dbs)+len(t.pids) > 0 || t.nginx != "" || t.envoy != "" || t.thisKernel || t.memory != "" || t.shared
}

// openSite makes the targets of what is up, and keeps others from changing it meanwhile.
func (t tuneServers) openSite(ctx context.Context, stateDir string, fn func([]*tune.Target) error) (err error) {
	if t.named() {
		return ui.UsageError(errors.New("--driver means all servers of a topology; --db, --nginx, --envoy, --pid, --this-kernel, --memory and --shared are for this machine's"), "")
	}
	spec := infra.Spec{StateDir: stateDir, LocalDir: round.LocalDir(t.localDir)}
	if spec.AppBinary, err = round.Beside(t.app, "isukit-app"); err != nil {
		return err
	}
	driver, err := round.OpenDriver(t.driver, stateDir, 0, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, driver.Close(context.WithoutCancel(ctx))) }()
	release, err := driver.Lock(ctx, round.UserName())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	running, err := infra.NewSite(driver, spec).Running(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, running.Down(context.WithoutCancel(ctx))) }()
	targets, err := running.TuneTargets()
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
		return fn(targets)
	}
	return running.Tuning(ctx, func() error { return fn(targets) })
}

func (t tuneServers) place(h *host.Local, stateDir string) (tune.Place, error) {
	about := h.About()
	p := tune.Place{Name: hostName(), Host: h, StateDir: filepath.Join(stateDir, "tune"),
		Sizes: tune.Sizes{MemoryBytes: about.MemoryBytes, CPUs: about.CPUs, Shared: t.shared}}
	if t.memory == "" {
		return p, nil
	}
	bytes, err := parseMemory(t.memory)
	if err != nil {
		return p, ui.UsageError(fmt.Errorf("--memory: %w", err), "")
	}
	p.Sizes.MemoryBytes = bytes
	return p, nil
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

func (t tuneServers) database(i int, place tune.Place, s streams) (*tune.Target, *sql.DB, error) {
	dsn, err := readDSN(t.dbs[i], s)
	if err != nil {
		return nil, nil, ui.UsageError(err, "a DSN file holds one line: user:password@tcp(127.0.0.1:3306)/")
	}
	connector, err := mysql.NewConnector(dsn)
	if err != nil {
		return nil, nil, err
	}
	pool := sql.OpenDB(connector)
	place.Name = "db-" + strings.NewReplacer("/", "_", "(", "", ")", "").Replace(dsn.Addr)
	c := tune.DatabaseConfig{Query: enginemysql.SQL{DB: pool}}
	if i < len(t.cnfs) {
		if c.File, err = filepath.Abs(t.cnfs[i]); err != nil {
			return nil, nil, err
		}
	}
	if i < len(t.units) {
		c.Restart = func(ctx context.Context) error { return infra.RestartUnit(ctx, place.Host, t.units[i]) }
	}
	return tune.NewDatabase(place, c), pool, nil
}
