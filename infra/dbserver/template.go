package dbserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"isukit/infra/host"
)

// templateFormat changes when what initialize does changes, so that older templates are not used any more.
const templateFormat = 1

// Template returns a data directory that was just initialised and cleanly shut down, for Config.Template. Making one takes seconds, copying
// it a fraction of one, so it is kept in cacheDir, one for each engine and version. h is this machine. Several processes may call it at the
// same time. The directory must not be changed.
func Template(ctx context.Context, h host.Host, in Install, cacheDir string) (string, error) {
	dir := filepath.Join(cacheDir, in.Key())
	return dir, Cached(ctx, dir, func(tmp string) error { return in.initialize(ctx, h, tmp) })
}

// Key names the engine, its version and the way in which data directories are initialised here; it is a file name.
func (in Install) Key() string {
	return fmt.Sprintf("%s-%s-%d", in.Engine, safeName(in.Version), templateFormat)
}

// Cached makes dir by calling build with the path of a new, empty directory next to it (mode 0700), which is renamed to dir if build
// succeeds, and removed if it fails. It does nothing if dir exists. Processes that want the same directory at the same time wait for one
// another.
func Cached(ctx context.Context, dir string, build func(tmp string) error) error {
	if isDir(dir) {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return fmt.Errorf("make cache directory: %w", err)
	}
	unlock, err := lockFile(ctx, dir+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if isDir(dir) {
		return nil
	}
	tmp := dir + ".new" // a fixed name: what a killed process left is removed here
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("remove unfinished %s: %w", tmp, err)
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", tmp, err)
	}
	defer os.Remove(tmp + ".sql") // see bootstrapCommand
	if err := build(tmp); err != nil {
		os.RemoveAll(tmp)
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("keep %s: %w", dir, err)
	}
	return nil
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// lockFile waits for the lock until ctx ends.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for lock %s: %w", path, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// initialize makes a fresh data directory, which may be there and empty. The redo log is made as small as the server allows: a server that
// is configured for a larger one enlarges it at its start.
func (in Install) initialize(ctx context.Context, h host.Host, dir string) error {
	// As for an instance: in a shared tmpdir the server would remove other servers' temporary tables.
	tmp := dir + ".tmp"
	script := `umask 077; mkdir -p "$1" "$2"`
	if in.held {
		script += ` && cp "$3" "$2/"`
	}
	argv, err := in.initCommand(dir, tmp)
	if err == nil {
		err = runOn(ctx, h, "sh", "-c", script, "sh", dir, tmp, in.path)
	}
	if err == nil {
		err = runOn(ctx, h, slices.Concat(argv, in.base, []string{"--datadir=" + dir, "--tmpdir=" + tmp}, asRoot(h))...)
	}
	if err = errors.Join(err, h.Remove(context.WithoutCancel(ctx), tmp)); err != nil {
		return fmt.Errorf("initialise a %s %s data directory: %w", in.Engine, in.Version, err)
	}
	return nil
}

func runOn(ctx context.Context, h host.Host, argv ...string) error {
	_, err := host.Must(ctx, h, host.Command{Argv: argv})
	return err
}

func (in Install) initCommand(dir, tmp string) ([]string, error) {
	switch {
	case in.Engine == MySQL:
		return append(in.in(tmp), "--no-defaults", "--initialize-insecure", "--innodb-redo-log-capacity=8M",
			"--secure-file-priv=NULL", "--mysqlx=0"), nil
	case in.scripts != "":
		return in.bootstrapCommand(dir + ".sql")
	case in.initdb != "":
		// --force: it would refuse where neither the machine's name nor localhost can be looked up, which no instance needs.
		return []string{"env", "MYSQLD_BOOTSTRAP=" + in.in(tmp)[0], in.initdb, "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db",
			"--skip-name-resolve", "--force", "--innodb-log-file-size=8M"}, nil
	}
	return nil, fmt.Errorf("%w: mariadb-install-db, which belongs to %s", ErrNotFound, in.path)
}

// bootstrapCommand does what mariadb-install-db does, which is a script for a whole system and of no use in a tree: the
// server reads SQL that makes its system tables. file is where that SQL is put together.
func (in Install) bootstrapCommand(file string) ([]string, error) {
	text := "CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n"
	for _, name := range []string{"mysql_system_tables", "mysql_performance_tables", "mysql_system_tables_data",
		"maria_add_gis_sp_bootstrap", "mysql_sys_schema"} {
		sql, err := os.ReadFile(filepath.Join(in.scripts, name+".sql"))
		if err != nil {
			return nil, fmt.Errorf("initialise a %s %s data directory: %w", in.Engine, in.Version, err)
		}
		for line := range strings.Lines(string(sql)) {
			if !strings.Contains(line, "@current_hostname") { // accounts for the name of the machine
				text += line
			}
		}
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("initialise a %s %s data directory: %w", in.Engine, in.Version, err)
	}
	argv := append([]string{"/bin/sh", "-c", `exec "$@" <"$0"`, file}, in.program...)
	return append(argv, "--no-defaults", "--bootstrap", "--log-warnings=0", "--enforce-storage-engine=", "--max-allowed-packet=8M",
		"--innodb-log-file-size=8M"), nil
}

// asRoot are the options for root: both servers refuse to run as root without them. The instance belongs to the user who starts it, so it
// needs no account of its own and can be in any directory.
func asRoot(h host.Host) []string {
	if h.About().Root {
		return []string{"--user=root"}
	}
	return nil
}

var unsafeRE = regexp.MustCompile(`[^A-Za-z0-9.+-]+`)

func safeName(s string) string { return unsafeRE.ReplaceAllString(s, "_") }

func port(n int) string { return strconv.Itoa(n) }
