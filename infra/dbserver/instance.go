package dbserver

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"io"
	"log"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	enginemysql "isukit/infra/engine/mysql"
	"isukit/infra/host"
)

// RootUser is the account with all rights that every instance has, for connections over TCP and over the socket.
const RootUser = "root"

// maxSocketPath: an address of a Unix socket holds 108 bytes with its final zero.
const maxSocketPath = 107

// Config describes an instance to create.
type Config struct {
	Install  Install
	Dir      string // made by Create with mode 0700; everything of the instance is in it
	Template string // a data directory to copy (see Template), on the host
	Fill     Fill   // makes the data directory without a Template; nil for one that is only initialised
	Port     int    // on Bind
	Bind     string // address to listen on; "" is 127.0.0.1

	DefaultsFile string   // a my.cnf with the settings that are a matter of taste; "" for none
	Args         []string // further options, after all others, e.g. "--max-connections=50"
	InitSQL      []string // statements for every start of the server, one line each, e.g. CREATE USER IF NOT EXISTS ...
}

// Fill lays the data directory of an instance down, on its host; it is not there yet.
type Fill func(ctx context.Context, dir string) error

// Instance is a database server whose files Create wrote.
type Instance struct {
	Engine  Engine
	Version string
	Dir     string
	Host    string
	Port    int
	// Socket is the path of its Unix socket; "" where Dir is so deep that no client could name it.
	Socket string

	password string
	argv     []string
	at       host.Host
}

// Create writes an instance to cfg.Dir on its host: the data directory as cfg has it, a new password in a file with mode 0600, and an init
// file (0600) that sets it. The password is in no argument and in no log.
func Create(ctx context.Context, h host.Host, cfg Config) (*Instance, error) {
	i := newInstance(h, cfg)
	i.password = rand.Text()
	fill := cfg.Fill
	switch {
	case cfg.Template != "":
		fill = func(ctx context.Context, dir string) error { return runOn(ctx, h, "cp", "-a", cfg.Template, dir) }
	case fill == nil:
		fill = func(ctx context.Context, dir string) error { return cfg.Install.initialize(ctx, h, dir) }
	}
	more := []string{"localhost", "127.0.0.1"}
	if i.Far() { // isukit's own way leads through the host
		more = append(more, cfg.bind())
	}
	// The files of an instance have names without meaning to a shell. MySQL keeps its identity among replicas in auto.cnf, and makes a
	// new one when it is missing.
	err := runOn(ctx, h, "sh", "-c", `umask 077; mkdir -p "$1" && chmod 700 "$1" && rm -rf "$1/data" "$1/tmp" && mkdir "$1/tmp"`, "sh", cfg.Dir)
	if err == nil && cfg.Install.held {
		err = runOn(ctx, h, "cp", cfg.Install.path, cfg.Dir)
	}
	if err == nil {
		err = fill(ctx, i.DataDir())
	}
	if err == nil {
		err = h.Remove(ctx, filepath.Join(i.DataDir(), "auto.cnf"))
	}
	if err == nil {
		err = host.PutAll(ctx, h, []host.File{
			{Path: i.PasswordFile(), Data: []byte(i.password + "\n"), Mode: 0o600},
			{Path: i.initFile(), Data: []byte(initSQL(i.Engine, i.password, cfg.InitSQL, more...)), Mode: 0o600},
		})
	}
	if err != nil {
		return nil, fmt.Errorf("create %s on %s: %w", cfg.Dir, h.About().Name, err)
	}
	return i, nil
}

// Attach returns the instance that an earlier Create wrote to cfg.Dir, with these settings, except Template, Fill and InitSQL.
func Attach(ctx context.Context, h host.Host, cfg Config) (*Instance, error) {
	i := newInstance(h, cfg)
	password, err := h.Get(ctx, i.PasswordFile())
	if err != nil {
		return nil, fmt.Errorf("read password file: %w", err)
	}
	i.password = strings.TrimSpace(string(password))
	return i, nil
}

func newInstance(h host.Host, cfg Config) *Instance {
	i := &Instance{
		Engine: cfg.Install.Engine, Version: cfg.Install.Version,
		Dir: cfg.Dir, Host: cfg.bind(), Port: cfg.Port, at: h,
	}
	i.argv = i.command(cfg.Install, cfg)
	if d, ok := h.(host.Dialer); ok && i.Far() {
		mysql.RegisterDialContext(farNetwork(h), func(ctx context.Context, address string) (net.Conn, error) {
			return d.Dial(ctx, "tcp", address)
		})
	}
	return i
}

func (c Config) bind() string { return cmp.Or(c.Bind, "127.0.0.1") }

// Far tells whether the instance is on a host that is not this machine.
func (i *Instance) Far() bool { return !i.at.About().Here }

// farNetwork is the name by which go-sql-driver knows the way through a host.
func farNetwork(h host.Host) string { return "isukit-" + h.About().Name }

// DataDir is the server's data directory.
func (i *Instance) DataDir() string { return filepath.Join(i.Dir, "data") }

// LogFile is where the server's error log goes.
func (i *Instance) LogFile() string { return filepath.Join(i.Dir, "error.log") }

// PasswordFile holds the password of RootUser; mode 0600.
func (i *Instance) PasswordFile() string { return filepath.Join(i.Dir, "root.password") }

// tmpDir is the instance's own: a server that starts removes every temporary table from its tmpdir, also those of other
// servers that share it, and MariaDB 10.11 crashes on the loss.
func (i *Instance) tmpDir() string { return filepath.Join(i.Dir, "tmp") }

func (i *Instance) initFile() string { return filepath.Join(i.Dir, "init.sql") }

// Command is what starts the server in the foreground. SIGTERM ends it cleanly.
func (i *Instance) Command() []string { return append([]string{}, i.argv...) }

func (i *Instance) command(in Install, cfg Config) []string {
	argv := in.in(i.Dir)
	if cfg.DefaultsFile != "" {
		argv = append(argv, "--defaults-file="+cfg.DefaultsFile) // must come first
	} else {
		argv = append(argv, "--no-defaults")
	}
	argv = append(argv, in.base...)
	socket := filepath.Join(i.Dir, "db.sock")
	if len(socket) <= maxSocketPath {
		i.Socket = socket
	} else {
		socket = "db.sock" // within the data directory, where the server stands when it opens it
	}
	argv = append(argv,
		"--datadir="+i.DataDir(), "--socket="+socket, "--port="+port(i.Port), "--bind-address="+cfg.bind(),
		"--pid-file="+filepath.Join(i.Dir, "db.pid"), "--log-error="+i.LogFile(), "--init-file="+i.initFile(),
		"--tmpdir="+i.tmpDir(), "--skip-name-resolve", "--character-set-server=utf8mb4")
	if in.Engine == MySQL {
		argv = append(argv, "--secure-file-priv=NULL", "--mysqlx=0")
	}
	return slices.Concat(argv, asRoot(i.at), cfg.Args)
}

// initSQL: an instance's accounts are its own, so they do not go into its binary log, from which a replica would take
// another instance's password for its own. With skip_name_resolve a TCP connection from this machine comes from
// '127.0.0.1', one over the socket from 'localhost'. The statements are those that both engines know.
func initSQL(engine Engine, password string, more []string, hosts ...string) string {
	s := "SET SESSION sql_log_bin=0;\n"
	if engine == MariaDB {
		// Its installer also makes accounts without a password for the machine's name and for ::1.
		s += "DELETE FROM mysql.global_priv WHERE user = '' OR user = 'root' AND host NOT IN ('localhost', '127.0.0.1');\nFLUSH PRIVILEGES;\n"
	}
	for _, host := range hosts {
		user := fmt.Sprintf("'%s'@'%s'", RootUser, host)
		s += fmt.Sprintf("CREATE USER IF NOT EXISTS %s IDENTIFIED BY '%s';\n", user, password)
		s += fmt.Sprintf("ALTER USER %s IDENTIFIED BY '%s';\n", user, password)
		s += fmt.Sprintf("GRANT ALL ON *.* TO %s WITH GRANT OPTION;\n", user)
	}
	for _, line := range more {
		s += line + "\n"
	}
	return s
}

// DSN is the address of a database on the instance for go-sql-driver, for the given account. database may be "".
// What the driver itself would print is dropped: its errors are returned as well.
func (i *Instance) DSN(user, password, database string) *mysql.Config {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName = user, password, database
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(i.Host, port(i.Port))
	if i.Far() {
		cfg.Net = farNetwork(i.at)
	}
	cfg.Logger = log.New(io.Discard, "", 0)
	return cfg
}

// RootDSN is DSN for RootUser.
func (i *Instance) RootDSN(database string) *mysql.Config {
	return i.DSN(RootUser, i.password, database)
}

// OpenRoot is a pool of connections of RootUser, over the Unix socket if there is one, without the network. The caller closes it.
func (i *Instance) OpenRoot() (*sql.DB, error) {
	conn, err := mysql.NewConnector(i.rootDSN())
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", i.name(), err)
	}
	return sql.OpenDB(conn), nil
}

// SocketDSN is DSN over the Unix socket, for accounts at localhost. It is not for an instance without Socket.
func (i *Instance) SocketDSN(user, password, database string) *mysql.Config {
	cfg := i.DSN(user, password, database)
	cfg.Net, cfg.Addr = "unix", i.Socket
	return cfg
}

// rootDSN goes over the socket where there is one: it needs no way through the network to the server.
func (i *Instance) rootDSN() *mysql.Config {
	if i.Socket != "" && !i.Far() {
		return i.SocketDSN(RootUser, i.password, "")
	}
	return i.RootDSN("")
}

// Exec runs statements as RootUser on one connection, without the binary log: the changes are the instance's own.
func (i *Instance) Exec(ctx context.Context, statements ...string) error {
	return i.onRoot(ctx, func(conn *sql.Conn) error {
		for _, s := range append([]string{"SET SESSION sql_log_bin = 0"}, statements...) {
			if _, err := conn.ExecContext(ctx, s); err != nil {
				verb, _, _ := strings.Cut(s, " ") // the rest may hold a password
				return fmt.Errorf("%s on %s: %w", verb, i.name(), err)
			}
		}
		return nil
	})
}

// Column returns the first values of the rows that a query of RootUser gives.
func (i *Instance) Column(ctx context.Context, query string) (values []string, err error) {
	rows, err := i.Rows(ctx, query)
	for _, row := range rows {
		values = append(values, row[0])
	}
	return values, err
}

// Rows returns what a query of RootUser gives; NULL is "".
func (i *Instance) Rows(ctx context.Context, query string) ([][]string, error) {
	db, err := i.OpenRoot()
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := enginemysql.SQL{DB: db}.Query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", i.name(), err)
	}
	return rows, nil
}

func (i *Instance) onRoot(ctx context.Context, do func(*sql.Conn) error) error {
	db, err := i.OpenRoot()
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return do(conn)
}

// WaitReady waits until the server answers RootUser. The caller closes exited when the process ends; the error then has the log's end.
func (i *Instance) WaitReady(ctx context.Context, exited <-chan struct{}) error {
	db, err := i.OpenRoot()
	if err != nil {
		return err
	}
	defer db.Close()
	patience := 20 * time.Millisecond
	if i.Far() {
		patience = 200 * time.Millisecond
	}
	for {
		ping, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := db.PingContext(ping)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("%s exited before it answered; the end of its log:\n%s", i.name(), i.LogTail(15))
		case <-ctx.Done():
			return fmt.Errorf("%s did not answer (%w; last: %w); the end of its log:\n%s",
				i.name(), context.Cause(ctx), err, i.LogTail(15))
		case <-time.After(patience):
		}
	}
}

func (i *Instance) name() string {
	return fmt.Sprintf("%s %s on %s:%d", i.Engine, i.Version, i.Host, i.Port)
}

// LogTail is the end of the server's error log, at most the given number of lines of its last 64 KiB.
func (i *Instance) LogTail(lines int) string {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	text, err := host.Output(ctx, i.at, "sh", "-c", `tail -c 65536 -- "$0" | tail -n "$1"`, i.LogFile(), strconv.Itoa(lines))
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	return strings.TrimRight(text, "\n")
}

// PortTaken tells whether the log says that something else listens on the instance's port.
func (i *Instance) PortTaken() bool {
	return strings.Contains(i.LogTail(50), "Address already in use")
}
