package dbserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Engine names a kind of database server.
type Engine string

// The engines. Auto stands for the first of MariaDB and MySQL that is found.
const (
	Auto    Engine = "auto"
	MariaDB Engine = "mariadb"
	MySQL   Engine = "mysql"
)

// ErrNotFound says that no server of the engine is installed; errors that wrap it say where it was looked for.
var ErrNotFound = errors.New("database server not found")

// Install is a server program on this machine, ready to be run.
type Install struct {
	Engine  Engine
	Version string // as the program says it, e.g. "10.11.14-MariaDB" or "9.7.1"

	program []string // what goes before the server's options
	initdb  string   // mariadb-install-db, of an installed MariaDB
	scripts string   // directory with the SQL that makes the system tables, of a MariaDB in a tree
	base    []string // options that tell where the program's own files are
	path    string   // the server binary
	held    bool     // by AppArmor, on a host that is not this machine
}

// Path is the server's binary.
func (in Install) Path() string { return in.path }

// systemDirs are searched after PATH: Debian keeps servers in sbin, which users do not have on theirs.
var systemDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/usr/libexec"}

// Find looks for a server of the engine: first in localDir, which holds unpacked trees named after their engine
// (localDir/mysql/usr/sbin/mysqld), then on PATH and in the usual system directories. localDir may be "".
func Find(ctx context.Context, engine Engine, localDir string) (Install, error) {
	switch engine {
	case MariaDB, MySQL:
		return find(ctx, engine, localDir)
	case Auto, "":
		in, err := find(ctx, MariaDB, localDir)
		if err == nil || !errors.Is(err, ErrNotFound) {
			return in, err
		}
		if in, errMySQL := find(ctx, MySQL, localDir); !errors.Is(errMySQL, ErrNotFound) {
			return in, errMySQL
		}
		return Install{}, fmt.Errorf("%w: neither MariaDB nor MySQL", ErrNotFound)
	}
	return Install{}, fmt.Errorf("unknown database engine %q (have %s, %s, %s)", engine, Auto, MariaDB, MySQL)
}

func find(ctx context.Context, engine Engine, localDir string) (Install, error) {
	var tried []string
	if localDir != "" {
		tree := filepath.Join(localDir, string(engine))
		if in, ok := inTree(engine, tree); ok {
			return in.withVersion(ctx)
		}
		tried = append(tried, tree)
	}
	names := map[Engine][]string{MariaDB: {"mariadbd"}, MySQL: {"mysqld"}}[engine]
	for _, name := range names {
		path, ok := lookup(name)
		if !ok {
			continue
		}
		in, err := installed(engine, path).withVersion(ctx)
		if err != nil {
			return Install{}, err
		}
		if in.isMariaDB() == (engine == MariaDB) {
			return in, nil
		}
	}
	tried = append(tried, strings.Join(names, " and ")+" on PATH and in "+strings.Join(systemDirs, ", "))
	return Install{}, fmt.Errorf("%w: no %s in %s", ErrNotFound, engine, strings.Join(tried, "; "))
}

// isMariaDB: on many systems mysqld is a link to MariaDB's server.
func (in Install) isMariaDB() bool { return strings.Contains(in.Version, "MariaDB") }

func lookup(name string) (string, bool) {
	if p, err := exec.LookPath(name); err == nil {
		return p, true
	}
	for _, dir := range systemDirs {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return p, true
		}
	}
	return "", false
}

func installed(engine Engine, path string) Install {
	in := Install{Engine: engine, path: path, program: []string{path}}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		in.base = []string{"--basedir=" + filepath.Dir(filepath.Dir(real))}
	}
	if engine == MariaDB {
		if p, ok := lookup("mariadb-install-db"); ok {
			in.initdb = p
		}
	}
	return in
}

// inTree finds the server in an unpacked system tree. Its programs need its own libraries, so they are started
// through its own loader; no chroot, hence no root, is needed for that.
func inTree(engine Engine, tree string) (Install, bool) {
	server := filepath.Join(tree, "usr/sbin", map[Engine]string{MariaDB: "mariadbd", MySQL: "mysqld"}[engine])
	if _, err := os.Stat(server); err != nil {
		return Install{}, false
	}
	loaders, _ := filepath.Glob(filepath.Join(tree, "usr/lib*/ld-linux-*.so.*"))
	libs, _ := filepath.Glob(filepath.Join(tree, "usr/lib/*-linux-gnu"))
	if len(loaders) == 0 || len(libs) == 0 {
		return Install{}, false
	}
	usr := filepath.Join(tree, "usr")
	in := Install{
		Engine:  engine,
		path:    server,
		program: []string{loaders[0], "--library-path", libs[0], server},
		base:    []string{"--basedir=" + usr, "--plugin-dir=" + filepath.Join(usr, "lib/mysql/plugin")},
	}
	if engine == MariaDB {
		in.scripts = filepath.Join(usr, "share/mysql")
	}
	return in, true
}

var versionRE = regexp.MustCompile(`Ver ([0-9]+\.[0-9]+\.[0-9]+\S*)`)

func (in Install) withVersion(ctx context.Context) (Install, error) {
	argv := append(append([]string{}, in.program...), "--no-defaults", "--version")
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return Install{}, fmt.Errorf("ask %s for its version: %w: %s", in.path, err, lastLine(out))
	}
	m := versionRE.FindSubmatch(out)
	if m == nil {
		return Install{}, fmt.Errorf("ask %s for its version: no version in %q", in.path, lastLine(out))
	}
	in.Version = string(m[1])
	return in, nil
}

func lastLine(out []byte) string {
	s := strings.TrimSpace(string(out))
	return s[strings.LastIndexByte(s, '\n')+1:]
}
