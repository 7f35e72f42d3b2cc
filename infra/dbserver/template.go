package dbserver

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// templateFormat changes when what initialize does changes, so that older templates are not used any more.
const templateFormat = 1

// Runner runs a program to its end and returns what it printed; an error says how it failed. It is how the caller keeps
// the programs that are started here on record.
type Runner func(ctx context.Context, argv []string) (output []byte, err error)

// Exec is the plain Runner.
func Exec(ctx context.Context, argv []string) ([]byte, error) {
	return exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
}

// Template returns a data directory that was just initialised and cleanly shut down, for Config.Template. Making one
// takes seconds, copying it takes a fraction of one; so it is kept in cacheDir, one for each engine and version.
// It may be called by several processes at once. The directory must not be changed.
func Template(ctx context.Context, in Install, cacheDir string, run Runner) (string, error) {
	dir := filepath.Join(cacheDir, in.Key())
	return dir, Cached(ctx, dir, func(tmp string) error { return in.initialize(ctx, tmp, run) })
}

// Key names the engine, its version and the way in which data directories are initialised here; it is a file name.
func (in Install) Key() string {
	return fmt.Sprintf("%s-%s-%d", in.Engine, safeName(in.Version), templateFormat)
}

// Cached makes dir by calling build with the path of a new, empty directory beside it (mode 0700), which is renamed to
// dir when build succeeds and removed when it fails. Where dir exists, nothing is done. Processes that want the same
// directory at the same time wait for one another.
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

// initialize fills the empty directory dir with a fresh data directory. The redo log is made as small as the server
// allows: a server that is configured for a larger one enlarges it at its start.
func (in Install) initialize(ctx context.Context, dir string, run Runner) error {
	argv, err := in.initCommand(dir)
	if err != nil {
		return err
	}
	// As for an instance: in a shared tmpdir the server would remove other servers' temporary tables.
	tmp := dir + ".tmp"
	if err := os.Mkdir(tmp, 0o700); err != nil && !os.IsExist(err) {
		return fmt.Errorf("make %s: %w", tmp, err)
	}
	defer os.RemoveAll(tmp)
	argv = append(argv, in.base...)
	argv = append(argv, "--datadir="+dir, "--tmpdir="+tmp)
	argv = append(argv, asRoot()...)
	if out, err := run(ctx, argv); err != nil {
		return fmt.Errorf("initialise a %s %s data directory: %w\n%s", in.Engine, in.Version, err, tail(out, 15))
	}
	return nil
}

func (in Install) initCommand(dir string) ([]string, error) {
	switch {
	case in.Engine == MySQL:
		return append(slices.Clone(in.program), "--no-defaults", "--initialize-insecure", "--innodb-redo-log-capacity=8M",
			"--secure-file-priv=NULL", "--mysqlx=0"), nil
	case in.scripts != "":
		return in.bootstrapCommand(dir + ".sql")
	case in.initdb != "":
		// --force: it would refuse where neither the machine's name nor localhost can be looked up, which no instance needs.
		return []string{in.initdb, "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db",
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

// asRoot are the server options that a root user needs: both servers refuse to run as root unless told to by name.
// The instance belongs to whoever starts it, so that it needs no user of its own and can live in any directory.
func asRoot() []string {
	if os.Geteuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}

var unsafeRE = regexp.MustCompile(`[^A-Za-z0-9.+-]+`)

func safeName(s string) string { return unsafeRE.ReplaceAllString(s, "_") }

// CopyDir copies a data directory: directories and regular files with their modes. dst must not exist.
func CopyDir(dst, src string) error {
	return filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		to := filepath.Join(dst, rel)
		switch {
		case d.IsDir():
			return os.Mkdir(to, info.Mode().Perm()|0o700)
		case info.Mode().IsRegular():
			return copyFile(to, path, info.Mode().Perm())
		}
		return nil // sockets and links of a running server are not data
	})
}

func copyFile(dst, src string, perm os.FileMode) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

func tail(text []byte, lines int) string {
	end := len(text)
	for end > 0 && text[end-1] == '\n' {
		end--
	}
	start := end
	for n := 0; start > 0; start-- {
		if text[start-1] == '\n' {
			if n++; n == lines {
				break
			}
		}
	}
	return string(text[start:end])
}

func port(n int) string { return strconv.Itoa(n) }
