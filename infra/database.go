package infra

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"isukit/infra/dbserver"
	"isukit/infra/host"
	"isukit/infra/render"
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

// database is one database server and the app's account on it.
type database struct {
	*dbserver.Instance
	name        string // of the instance in the topology
	appPassword string
}

func (d database) appDSN() string { return d.DSN(appUser, d.appPassword, appDatabase).FormatDSN() }

// DSNs are the databases as the app's account reaches them from here, by name of instance, as go-sql-driver reads them. They hold passwords.
func (r *Running) DSNs() map[string]string {
	dsns := map[string]string{}
	for _, db := range r.dbs {
		dsns[db.name] = db.appDSN()
		if db.Socket != "" && !db.Far() {
			dsns[db.name] = db.SocketDSN(appUser, db.appPassword, appDatabase).FormatDSN()
		}
	}
	return dsns
}

// prepared returns a data directory with the dataset's tables, which is made where it is not kept from earlier.
func (r *Running) prepared(ctx context.Context, in dbserver.Install) (dir string, err error) {
	template, err := dbserver.Template(ctx, in, r.cacheDir(), r.runRecorded)
	if err != nil {
		return "", err
	}
	if r.app, err = askApp(ctx, r.local, r.spec.AppBinary); err != nil {
		return "", err
	}
	dir = filepath.Join(r.cacheDir(), fmt.Sprintf("%s%s%s-%d-v%d", in.Key(), preparedMark, r.spec.Scale, r.spec.Seed, r.app.DatasetVersion))
	err = dbserver.Cached(ctx, dir, func(tmp string) error { return r.prepare(ctx, in, template, tmp) })
	if err == nil {
		err = useCached(dir, time.Now())
	}
	if err != nil {
		return "", fmt.Errorf("prepare the dataset: %w", err)
	}
	return dir, nil
}

// prepareData is prepared for a Site, whose own hosts have no part in it.
func prepareData(ctx context.Context, spec Spec, in dbserver.Install) (dir string, app appVersion, err error) {
	if spec.Topology, err = Shipped("single"); err != nil {
		return "", app, err
	}
	if spec.Topology, err = spec.Topology.WithKind(topology.DB, topology.Kind(in.Engine)); err != nil {
		return "", app, err
	}
	r := &Running{spec: spec}
	if r.local, err = host.OpenLocal(spec.StateDir); err != nil {
		return "", app, err
	}
	defer func() { err = errors.Join(err, r.local.Close(context.WithoutCancel(ctx))) }()
	if err := r.place(); err != nil {
		return "", app, err
	}
	dir, err = r.prepared(ctx, in)
	return dir, r.app, err
}

// createDB lays an instance down that has the app's database and account, whatever the template has.
func (r *Running) createDB(in dbserver.Install, template, dir string, port int, defaults string, args ...string) (database, error) {
	password := rand.Text()
	user := fmt.Sprintf("'%s'@'127.0.0.1'", appUser)
	sql := []string{
		fmt.Sprintf("CREATE DATABASE IF NOT EXISTS %s;", appDatabase),
		fmt.Sprintf("CREATE USER IF NOT EXISTS %s IDENTIFIED BY '%s';", user, password),
		fmt.Sprintf("ALTER USER %s IDENTIFIED BY '%s';", user, password),
		// The app keeps its seed tables in databases of its own beside this one.
		fmt.Sprintf("GRANT ALL ON `%s%%`.* TO %s;", appDatabase, user),
	}
	if in.Engine == dbserver.MySQL {
		// Mode durable looks for branches that a crash left prepared, and keeps one with its session until its commit, which
		// is faster; MariaDB asks no right for the one, and always does the other.
		sql = append(sql, fmt.Sprintf("GRANT XA_RECOVER_ADMIN, SESSION_VARIABLES_ADMIN ON *.* TO %s;", user))
	}
	inst, err := dbserver.Create(dbserver.Config{
		Install: in, Dir: dir, Template: template, Port: port, DefaultsFile: defaults, Args: args,
		InitSQL: sql,
	})
	if err != nil {
		return database{}, err
	}
	r.secrets = append(r.secrets, password, inst.RootDSN("").Passwd)
	return database{Instance: inst, appPassword: password}, nil
}

func (r *Running) cacheDir() string { return filepath.Join(r.spec.StateDir, "cache") }

// runRecorded is a dbserver.Runner whose processes are in the inventory.
func (r *Running) runRecorded(ctx context.Context, argv []string) ([]byte, error) {
	r.spec.progress("initialising a data directory")
	res, err := r.local.Run(ctx, host.Command{Argv: argv})
	if err == nil && res.Code != 0 {
		err = fmt.Errorf("exit status %d", res.Code)
	}
	return append(res.Stdout, res.Stderr...), err
}

func askApp(ctx context.Context, at host.Host, program string) (v appVersion, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, fmt.Errorf("ask %s for its version: no answer within %v", program, answerLimit))
	defer cancel()
	res, err := at.Run(ctx, host.Command{Argv: []string{program, "version", "--json"}})
	if err != nil {
		return v, err
	}
	if res.Code != 0 {
		return v, fmt.Errorf("ask %s for its version: exit status %d: %s", program, res.Code, tailOf(res.Stderr))
	}
	if err := json.Unmarshal(res.Stdout, &v); err != nil {
		return v, fmt.Errorf("ask %s for its version: %w in %q", program, err, tailOf(res.Stdout))
	}
	return v, nil
}

// prepare makes a data directory with the dataset's tables: a server on a copy of the template, the app's own "prepare"
// on that, a clean stop. tmp is empty; the data directory takes its place.
func (r *Running) prepare(ctx context.Context, in dbserver.Install, template, tmp string) error {
	r.spec.progress("preparing the dataset %s, seed %d (once; it is kept)", r.spec.Scale, r.spec.Seed)
	ctx, cancel := context.WithTimeout(ctx, prepareLimit)
	defer cancel()
	const name = "prepare"
	dir := filepath.Join(r.local.Dir(), name)
	port, err := host.FreePort()
	if err != nil {
		return err
	}
	// Nothing of this server is worth keeping before its clean stop, so it need not wait for the disk.
	args := []string{"--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=256M", "--skip-log-bin"}
	inst, err := r.createDB(in, template, filepath.Join(dir, "db"), port, "", args...)
	if err != nil {
		return err
	}
	if err := r.startInstance(ctx, r.local, databaseService(name, inst.Dir, inst.Command(), topology.Sizes{}), inst.Instance); err != nil {
		return err
	}
	if err := r.runPrepare(ctx, inst, filepath.Join(dir, "app")); err != nil {
		return err
	}
	if err := r.local.Stop(ctx, name, time.Minute); err != nil {
		return err
	}
	if ctx.Err() != nil { // then Stop was not patient
		return context.Cause(ctx)
	}
	st, err := r.local.State(ctx, name)
	if err != nil {
		return err
	}
	if st.Exit != "exit status 0" {
		return fmt.Errorf("the server did not stop cleanly (%s); the end of its log:\n%s", st.Exit, inst.LogTail(15))
	}
	if err := os.Remove(tmp); err != nil { // os.Rename takes no directory for its target, not even an empty one
		return err
	}
	if err := r.move(ctx, inst.DataDir(), tmp); err != nil {
		return err
	}
	return r.local.Remove(ctx, dir)
}

// move renames a directory, or copies it where the target is on another file system, as a cache behind a link may be.
func (r *Running) move(ctx context.Context, from, to string) error {
	err := os.Rename(from, to)
	if errors.Is(err, syscall.EXDEV) {
		err = runOn(ctx, r.local, host.Command{Argv: []string{"cp", "-a", from, to}})
	}
	return err
}

// runPrepare gives the app a configuration like the one it will run with, and lets it make its tables.
func (r *Running) runPrepare(ctx context.Context, db database, dir string) error {
	in := r.input
	in.Topology = in.Topology.FirstOf(topology.DB) // all databases begin as copies of this one
	in.Topology.Data = topology.Data{}
	in.Places = map[string]render.Place{}
	for name, place := range r.input.Places {
		place.Dir = dir
		in.Places[name] = place
	}
	web := r.of(topology.Web)[0]
	files, err := render.Files(in, web.Host)
	if err != nil {
		return err
	}
	conf := filepath.Join(dir, render.AppConf)
	for _, f := range files {
		if f.Path != conf {
			continue
		}
		if err := r.local.Put(ctx, f.Path, f.Data, f.Mode); err != nil {
			return err
		}
	}
	if err := r.local.Put(ctx, filepath.Join(dir, render.DSNFile(r.of(topology.DB)[0].Name)), []byte(db.appDSN()+"\n"), 0o600); err != nil {
		return err
	}
	res, err := r.local.Run(ctx, host.Command{Argv: []string{r.spec.AppBinary, "--config", conf, "prepare"}})
	if err != nil {
		return err
	}
	if res.Code != 0 {
		return fmt.Errorf("%s prepare: exit status %d: %s", r.spec.AppBinary, res.Code, tailOf(res.Stderr))
	}
	return nil
}

func (r *Running) startInstance(ctx context.Context, at host.Host, service host.Service, inst *dbserver.Instance) error {
	if err := at.Start(ctx, service); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.spec.healthLimit(), fmt.Errorf("not healthy within %v", r.spec.healthLimit()))
	defer cancel()
	exited, stop := watch(ctx, at, service.Name)
	defer stop()
	if err := inst.WaitReady(ctx, exited); err != nil {
		if inst.PortTaken() {
			return &HintError{err, "another process took the port; run it again"}
		}
		return err
	}
	return nil
}
