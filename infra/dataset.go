package infra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"isukit/infra/dbserver"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/topology"
)

const (
	appUser     = "isukit_app"
	appDatabase = "portal"
	// prepareLimit is for making the dataset's tables: about ten seconds on two idle cores.
	prepareLimit = 5 * time.Minute
	// answerLimit is for a program to say its version.
	answerLimit = time.Minute
)

// appVersion is what the app says about itself with "version --json".
type appVersion struct {
	Version        string `json:"version"`
	Commit         string `json:"commit"`
	DatasetVersion int    `json:"dataset_version"`
}

type database struct {
	*dbserver.Instance
	name string // of the instance in the topology
}

// DSNs are the databases as the app's account reaches them from here, by name of instance, as go-sql-driver reads them. They hold passwords.
func (r *Running) DSNs() map[string]string {
	dsns := map[string]string{}
	for _, db := range r.dbs {
		dsn := db.DSN
		if db.Socket != "" && !db.Far() {
			dsn = db.SocketDSN
		}
		dsns[db.name] = dsn(appUser, r.secrets.AppPassword, appDatabase).FormatDSN()
	}
	return dsns
}

// prepared returns a data directory with the dataset's tables, kept or new, made on this machine and apart from the site's hosts.
func (s *Site) prepared(ctx context.Context, l *layout) (dir string, err error) {
	here, err := machine.OpenHere(s.spec.StateDir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, here.Close(context.WithoutCancel(ctx))) }()
	cache := filepath.Join(s.spec.StateDir, "cache")
	template, err := dbserver.Template(ctx, here, l.install, cache)
	if err != nil {
		return "", err
	}
	app, err := askApp(ctx, here, s.spec.AppBinary)
	if err != nil {
		return "", err
	}
	dir = filepath.Join(cache, fmt.Sprintf("%s%s%s-%d-v%d", l.install.Key(), preparedMark, l.Scale, l.Seed, app.DatasetVersion))
	err = dbserver.Cached(ctx, dir, func(tmp string) error { return s.prepare(ctx, here, l, template, tmp) })
	if err == nil {
		err = useCached(dir, time.Now())
	}
	if err != nil {
		return "", fmt.Errorf("prepare the dataset: %w", err)
	}
	return dir, nil
}

// prepare makes a data directory with the dataset's tables: a server on a copy of the template, the app's own "prepare" on that, a clean
// stop. tmp is empty; the data directory takes its place.
func (s *Site) prepare(ctx context.Context, here *machine.Here, of *layout, template, tmp string) error {
	ctx, cancel := context.WithTimeout(ctx, prepareLimit)
	defer cancel()
	t, err := Shipped("single")
	if err == nil {
		t, err = t.WithKind(topology.DB, topology.Kind(of.install.Engine))
	}
	if err != nil {
		return err
	}
	l := &layout{
		deployment: &deployment{Topology: t, Scale: of.Scale, Seed: of.Seed}, driver: "local", spec: s.spec, install: of.install, secrets: newSecrets(),
		hosts: map[string]host.Host{}, binary: of.binary,
	}
	for _, h := range t.Hosts {
		l.hosts[h.Name] = here
	}
	if err := l.places(); err != nil {
		return err
	}
	db := &server{declared: t.Of(topology.DB)[0], host: here}
	cfg := l.instanceConfig(db.declared)
	// Nothing of this server is worth keeping before its clean stop, so it need not wait for the disk.
	cfg.Template, cfg.DefaultsFile = template, ""
	cfg.Args = []string{"--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=256M", "--skip-log-bin"}
	if db.Instance, err = dbserver.Create(ctx, here, cfg); err != nil {
		return err
	}
	name := db.declared.Name
	if err := here.Start(ctx, databaseService(name, db.Dir, db.Command(), topology.Sizes{})); err != nil {
		return err
	}
	e := &execution{site: s, l: l}
	if err := l.awaitDB(ctx, db.declared, db.Instance); err != nil {
		return err
	}
	for _, step := range []func(context.Context, *server) error{e.setAccounts, e.fill} {
		if err := step(ctx, db); err != nil {
			return err
		}
	}
	if err := here.Stop(ctx, name, dbStopLimit); err != nil {
		return err
	}
	if ctx.Err() != nil { // then Stop was not patient
		return context.Cause(ctx)
	}
	st, err := here.State(ctx, name)
	if err != nil {
		return err
	}
	if st.Exit != "exit status 0" {
		return fmt.Errorf("the server did not stop cleanly (%s); the end of its log:\n%s", st.Exit, db.LogTail(15))
	}
	if err := os.Remove(tmp); err != nil { // os.Rename takes no directory for its target, not even an empty one
		return err
	}
	if err = os.Rename(db.DataDir(), tmp); errors.Is(err, syscall.EXDEV) { // the cache may be behind a link
		err = runOn(ctx, here, host.Command{Argv: []string{"cp", "-a", db.DataDir(), tmp}})
	}
	return err
}

func askApp(ctx context.Context, at host.Host, program string) (v appVersion, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, fmt.Errorf("query the version of %s: no answer within %v", program, answerLimit))
	defer cancel()
	out, err := host.Must(ctx, at, host.Command{Argv: []string{program, "version", "--json"}})
	if err != nil {
		return v, fmt.Errorf("query the version of %s: %w", program, err)
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		return v, fmt.Errorf("query the version of %s: %w in %q", program, err, host.Tail([]byte(out), 15))
	}
	return v, nil
}

// keepPrepared is how long prepared data, some hundred megabytes each, is kept after its last use.
const keepPrepared = 14 * 24 * time.Hour

// useCached marks prepared data as used at the time now, and removes data next to it that was not used for long.
func useCached(dir string, now time.Time) error {
	if err := os.Chtimes(dir, now, now); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() || !strings.Contains(e.Name(), preparedMark) || now.Sub(info.ModTime()) < keepPrepared {
			continue
		}
		path := filepath.Join(filepath.Dir(dir), e.Name())
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if err := os.Remove(path + ".lock"); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// preparedMark is in the names of prepared data, and of nothing else in the cache.
const preparedMark = "-data-"
