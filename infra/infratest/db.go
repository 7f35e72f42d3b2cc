package infratest

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sys/unix"

	"isukit/infra/dbserver"
	"isukit/infra/host"
	"isukit/infra/host/machine"
)

const (
	startLimit = 5 * time.Minute // a start takes under a second on an idle machine
	stopLimit  = 30 * time.Second
)

// Here is this machine as a host, until tb ends.
func Here(tb testing.TB) host.Host {
	tb.Helper()
	h, err := machine.OpenHere(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return h
}

// Engines are the names of the database engines that tests run on: "mariadb" and "mysql", both, always. It skips the
// test where real servers were not asked for, and fails it where one of the two is missing.
func Engines(tb testing.TB) []string {
	tb.Helper()
	Real(tb)
	var names []string
	for _, engine := range []dbserver.Engine{dbserver.MariaDB, dbserver.MySQL} {
		installed(tb, engine)
		names = append(names, string(engine))
	}
	return names
}

var found sync.Map // installs by their engine: servers are slow to print their version

func installed(tb testing.TB, engine dbserver.Engine) dbserver.Install {
	tb.Helper()
	if in, ok := found.Load(engine); ok {
		return in.(dbserver.Install)
	}
	in, err := dbserver.Find(tb.Context(), Here(tb), engine, localDir(tb))
	if err != nil {
		tb.Fatalf("%v (hint: make setup-test mysql)", err)
	}
	found.Store(engine, in)
	return in
}

// DB is a private database instance that belongs to a test.
type DB struct {
	Engine  string // "mariadb" or "mysql"
	Version string // as the server says it
	Host    string // 127.0.0.1
	Port    int    // the same after every Restart
	Socket  string // path of the Unix socket

	tb   testing.TB
	inst *dbserver.Instance
	proc *process // nil before the first start
	at   place
}

// place is where an instance runs; the zero value is the machine itself.
type place struct {
	net     *Net
	host    int
	diskMiB int // what its directory may hold; 0: no bound
}

// farUser is the account with all rights of an instance in a namespace, whose clients come from another address.
const farUser, farPassword = "far", "for-tests-only"

// StartDB starts an instance of the engine ("mariadb" or "mysql") and returns when it answers. It has no databases and
// no accounts beyond its own and RootDSN's. args are further options of the server, e.g. "--max-connections=20"; they
// hold for every Restart. The server is stopped and its directory removed when the test ends. Any failure fails tb.
func StartDB(tb testing.TB, engine string, args ...string) *DB {
	tb.Helper()
	return start(tb, place{}, engine, dbserver.Config{Args: testArgs(args)})
}

// StartDB is StartDB on the host at index i. Its clients dial by Net.Dial.
func (n *Net) StartDB(tb testing.TB, i int, engine string, args ...string) *DB {
	tb.Helper()
	return start(tb, place{net: n, host: i}, engine, dbserver.Config{
		Args: testArgs(args), Bind: n.Addr(i),
		InitSQL: []string{fmt.Sprintf("CREATE USER IF NOT EXISTS '%s'@'%%' IDENTIFIED BY '%s';", farUser, farPassword),
			fmt.Sprintf("GRANT ALL ON *.* TO '%s'@'%%' WITH GRANT OPTION;", farUser)},
	})
}

// StartDBOn is StartDB on a disk of its own, of so many MiB. It needs root, since the disk is a tmpfs.
func StartDBOn(tb testing.TB, diskMiB int, engine string, args ...string) *DB {
	tb.Helper()
	return start(tb, place{diskMiB: diskMiB}, engine, dbserver.Config{Args: testArgs(args)})
}

// StartDBWith is StartDB for a server that reads the option file; only paths of data, socket and log are on its command line.
func StartDBWith(tb testing.TB, engine, file string) *DB {
	tb.Helper()
	return start(tb, place{}, engine, dbserver.Config{DefaultsFile: file})
}

// testArgs make a server small and without waits for the disk: test data need not survive a power failure.
func testArgs(more []string) []string {
	return append([]string{"--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0",
		"--performance-schema=OFF", "--innodb-log-buffer-size=4M", "--loose-innodb-log-writer-threads=OFF", "--loose-innodb-log-file-size=32M"}, more...)
}

func start(tb testing.TB, at place, engine string, cfg dbserver.Config) *DB {
	tb.Helper()
	Real(tb)
	here := Here(tb)
	cfg.Install = installed(tb, dbserver.Engine(engine))
	var err error
	if cfg.Template, err = dbserver.Template(tb.Context(), here, cfg.Install, filepath.Join(localDir(tb), "cache")); err != nil {
		tb.Fatalf("start a database: %v", err)
	}
	for attempt := 1; ; attempt++ {
		db, err := startConfigured(tb, here, at, cfg)
		if err == nil {
			return db
		}
		// Between finding a free port and listening on it, another process may take it.
		if attempt == 3 || db == nil || !db.inst.PortTaken() {
			tb.Fatalf("start a database: %v", err)
		}
	}
}

func startConfigured(tb testing.TB, here host.Host, at place, cfg dbserver.Config) (*DB, error) {
	port, err := host.FreePort()
	if err != nil {
		return nil, err
	}
	dir := shortTempDir(tb)
	if at.diskMiB > 0 {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", at.diskMiB)); err != nil {
			return nil, fmt.Errorf("make a disk of %d MiB: %w", at.diskMiB, err)
		}
		tb.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	}
	cfg.Dir, cfg.Port = filepath.Join(dir, "db"), port
	inst, err := dbserver.Create(tb.Context(), here, cfg)
	if err != nil {
		return nil, err
	}
	db := &DB{
		Engine: string(inst.Engine), Version: inst.Version,
		Host: inst.Host, Port: inst.Port, Socket: inst.Socket,
		tb: tb, inst: inst, at: at,
	}
	tb.Cleanup(db.Kill)
	return db, db.start()
}

func (db *DB) start() error {
	argv := db.inst.Command()
	if db.at.net != nil {
		argv = append([]string{"ip", "netns", "exec", db.at.net.host(db.at.host)}, argv...)
	}
	proc, err := startProcess(argv, db.inst.LogFile(), syscall.SIGKILL)
	if err != nil {
		return fmt.Errorf("start %s: %w", db.Engine, err)
	}
	db.proc = proc
	ctx, cancel := context.WithTimeout(db.tb.Context(), startLimit)
	defer cancel()
	if db.at.net == nil {
		return db.inst.WaitReady(ctx, proc.done)
	}
	return db.waitFar(ctx)
}

// waitFar is dbserver's WaitReady from the clients' namespace.
func (db *DB) waitFar(ctx context.Context) error {
	conn, err := mysql.NewConnector(db.config(""))
	if err != nil {
		return err
	}
	pool := sql.OpenDB(conn)
	defer pool.Close()
	for {
		err := pool.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-db.proc.done:
			return fmt.Errorf("%s exited before it answered; the end of its log:\n%s", db.Engine, db.inst.LogTail(15))
		case <-ctx.Done():
			return fmt.Errorf("%s did not answer: %w", db.Engine, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// config is how an account with all rights connects.
func (db *DB) config(database string) *mysql.Config {
	if db.at.net == nil {
		return db.inst.RootDSN(database)
	}
	cfg := db.inst.DSN(farUser, farPassword, database)
	cfg.DialFunc = db.at.net.Dial
	return cfg
}

// Dir is the instance's directory; everything of it is in there.
func (db *DB) Dir() string { return db.inst.Dir }

// PID is the server's process.
func (db *DB) PID() int { return db.proc.pid() }

// Addr is Host:Port.
func (db *DB) Addr() string { return net.JoinHostPort(db.Host, strconv.Itoa(db.Port)) }

// Log is the end of the server's error log.
func (db *DB) Log() string { return db.inst.LogTail(200) }

// Kill sends SIGKILL to the server and returns when it is gone. Killing a dead one does nothing.
func (db *DB) Kill() {
	if db.proc == nil || db.proc.cmd.Process == nil {
		return
	}
	if err := db.proc.signal(syscall.SIGKILL, true); err != nil {
		db.tb.Errorf("kill %s: %v", db.Engine, err)
	}
	<-db.proc.done
}

// Pause stops the server's execution with SIGSTOP: connections stay open and nothing answers. Resume ends that.
func (db *DB) Pause() { NoError(db.tb, db.proc.signal(syscall.SIGSTOP, true)) }

// Resume lets a paused server run on.
func (db *DB) Resume() { NoError(db.tb, db.proc.signal(syscall.SIGCONT, true)) }

// Stop shuts the server down cleanly and returns when it is gone.
func (db *DB) Stop() { NoError(db.tb, db.proc.end(syscall.SIGTERM, stopLimit)) }

// Restart starts the server again with the same data, port and socket, and returns when it answers.
func (db *DB) Restart() {
	db.tb.Helper()
	db.Stop()
	if err := db.start(); err != nil {
		db.tb.Fatalf("restart %s: %v", db.Engine, err)
	}
}

// TryRestart is Restart for code under test: a server that does not start again is its error, with the end of the log.
func (db *DB) TryRestart(context.Context) error {
	if err := db.proc.end(syscall.SIGTERM, stopLimit); err != nil {
		return err
	}
	return db.start()
}

// Command is what starts the server in the foreground.
func (db *DB) Command() []string { return db.inst.Command() }

// DSN is the go-sql-driver address of a database on this server for an account over TCP; database may be "".
// Parameters can be appended: the DSN ends with "?" and at least one parameter, so begin with "&".
func (db *DB) DSN(user, password, database string) string {
	return withParams(db.inst.DSN(user, password, database))
}

// RootDSN is DSN for an account with all rights.
func (db *DB) RootDSN(database string) string { return withParams(db.config(database)) }

func withParams(cfg *mysql.Config) string {
	cfg.ParseTime = false
	cfg.Timeout = time.Minute
	return cfg.FormatDSN()
}

// Open is a pool of connections with all rights to a database on this server, closed when tb ends; database may be "".
func (db *DB) Open(tb testing.TB, database string) *sql.DB {
	tb.Helper()
	conn, err := mysql.NewConnector(db.config(database))
	if err != nil {
		tb.Fatalf("open %s: %v", db.Engine, err)
	}
	pool := sql.OpenDB(conn)
	tb.Cleanup(func() { pool.Close() })
	return pool
}

// Exec runs statements with all rights, one by one.
func (db *DB) Exec(tb testing.TB, statements ...string) {
	tb.Helper()
	pool := db.Open(tb, "")
	defer pool.Close()
	for _, s := range statements {
		if _, err := pool.ExecContext(tb.Context(), s); err != nil {
			tb.Fatalf("%s: %s: %v", db.Engine, s, err)
		}
	}
}

// Replicated is a source and its replicas, which copy from it by the server's own replication.
type Replicated struct {
	DBs []*DB // the source is the first

	how dbserver.Replication
}

// StartReplicated starts n instances; all but the first replicate from it, perhaps semi-synchronously. args are as for StartDB.
func StartReplicated(tb testing.TB, engine string, n int, semiSync bool, args ...string) *Replicated {
	tb.Helper()
	r := &Replicated{how: dbserver.Replication{Engine: dbserver.Engine(engine), SemiSync: semiSync, User: "copy", Password: "for-tests-only"}}
	for i := range n {
		r.DBs = append(r.DBs, StartDB(tb, engine, append(r.how.Args(i+1, i > 0), args...)...))
	}
	source := r.DBs[0]
	source.Exec(tb, r.how.UserSQL("127.0.0.1")...)
	for _, db := range r.DBs[1:] {
		db.Exec(tb, r.how.StartSQL(source.Host, source.Port)...)
	}
	return r
}

// StopCopying stops the replication of the replica at index i, which stays readable. ResumeCopying ends that.
func (r *Replicated) StopCopying(tb testing.TB, i int) {
	tb.Helper()
	r.DBs[i].Exec(tb, r.how.StopSQL())
}

// ResumeCopying continues a replica's replication after an error or StopCopying.
func (r *Replicated) ResumeCopying(tb testing.TB, i int) {
	tb.Helper()
	r.DBs[i].Exec(tb, r.how.StopSQL(), r.how.ResumeSQL())
}
