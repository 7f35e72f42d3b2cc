package dbserver

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"isukit/infra/host"
)

// Engine names a kind of database server.
type Engine string

// The engines. Auto is the first of MariaDB and MySQL that is installed.
const (
	Auto    Engine = "auto"
	MariaDB Engine = "mariadb"
	MySQL   Engine = "mysql"
)

// ErrNotFound means that no server of the engine is installed; errors that wrap it list the places searched.
var ErrNotFound = errors.New("database server not found")

// Install is a server program on a host, ready to be run.
type Install struct {
	Engine  Engine
	Version string // as the program says it, e.g. "10.11.14-MariaDB" or "9.7.1"

	program []string // what goes before the server's options
	initdb  string   // mariadb-install-db, of an installed MariaDB
	scripts string   // directory with the SQL that makes the system tables, of a MariaDB in a tree
	base    []string // options with the paths of the program's own files
	path    string   // the server binary
	held    bool     // by AppArmor
}

// Path is the server's binary.
func (in Install) Path() string { return in.path }

// FindOp lists servers, each after a line with its name: of the tree of its engine in localDir ("" for none), or otherwise of the host. A
// tree's programs need its own libraries, so they are started through its own loader, which needs no chroot and hence no root. Debian keeps
// servers in sbin, which is not on users' PATH. AppArmor's profiles attach to a path: Ubuntu's for /usr/sbin/mysqld allows no data
// directory, socket or log outside the system's own. root is a prefix of these paths, for tests.
func FindOp(localDir, root string) host.Op {
	return host.Script(`PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/usr/libexec
look() {
	path=$1/usr/sbin/$2
	if [ -n "$localDir" ] && [ -e "$path" ]; then
		for loader in "$1"/usr/lib*/ld-linux-*.so.*; do break; done
		for libs in "$1"/usr/lib/*-linux-gnu; do break; done
		if [ -e "$loader" ] && [ -e "$libs" ]; then
			printf '%s\n' "path=$path" "loader=$loader" "libs=$libs" "tree=$1/usr" "version=$("$loader" --library-path "$libs" "$path" --no-defaults --version 2>&1 | tail -n 1)"
			return
		fi
	fi
	path=$(command -v "$2") || return
	printf '%s\n' "path=$path" "version=$("$path" --no-defaults --version 2>&1 | tail -n 1)" "real=$(readlink -f "$path")" "initdb=$(command -v mariadb-install-db)"
	profile=$(echo "${path#/}" | tr / .)
	if [ "$(cat "$root/sys/module/apparmor/parameters/enabled" 2>/dev/null)" = Y ] && [ -e "$root/etc/apparmor.d/$profile" ] && [ ! -e "$root/etc/apparmor.d/disable/$profile" ]; then
		echo held=1
	fi
}
localDir=$1 root=$2
echo mariadb:; look "$1/mariadb" mariadbd
echo mysql:; look "$1/mysql" mysqld
true
`, localDir, root)
}

// Find looks for a server of the engine on a host: first in localDir, which holds unpacked trees named after their engine
// (localDir/mysql/usr/sbin/mysqld), then on PATH and in the usual system directories. localDir may be "".
func Find(ctx context.Context, h host.Host, engine Engine, localDir string) (Install, error) {
	return find(ctx, h, engine, FindOp(localDir, ""))
}

func find(ctx context.Context, h host.Host, engine Engine, op host.Op) (in Install, err error) {
	engines := []Engine{engine}
	switch engine {
	case Auto, "":
		engines = []Engine{MariaDB, MySQL}
	case MariaDB, MySQL:
	default:
		return Install{}, fmt.Errorf("unknown database engine %q (have %s, %s, %s)", engine, Auto, MariaDB, MySQL)
	}
	res, err := h.Run(ctx, *op.Run)
	if err != nil {
		return Install{}, err
	}
	for _, e := range engines {
		if in, err = installOf(e, string(res.Stdout)); err != nil || in.path != "" {
			return in, err
		}
	}
	return in, fmt.Errorf("%w: no %v on host %s, on PATH or in the system's directories", ErrNotFound, engines, h.About().Name)
}

// installOf reads FindOp's output for an engine; the path is "" without one.
func installOf(engine Engine, told string) (Install, error) {
	f := map[string]string{}
	_, told, _ = strings.Cut(told, string(engine)+":\n")
	for line := range strings.Lines(told) {
		k, v, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok { // another engine's
			break
		}
		f[k] = v
	}
	if f["path"] == "" {
		return Install{}, nil
	}
	m := versionRE.FindStringSubmatch(f["version"])
	if m == nil {
		return Install{}, fmt.Errorf("query the version of %s: no version in %q", f["path"], f["version"])
	}
	in := Install{Engine: engine, Version: m[1], path: f["path"], program: []string{f["path"]}, initdb: f["initdb"], held: f["held"] != ""}
	in.base = []string{"--basedir=" + path.Dir(path.Dir(f["real"]))}
	if usr := f["tree"]; usr != "" {
		in.program = []string{f["loader"], "--library-path", f["libs"], in.path}
		in.base = []string{"--basedir=" + usr, "--plugin-dir=" + path.Join(usr, "lib/mysql/plugin")}
		if engine == MariaDB {
			in.scripts = path.Join(usr, "share/mysql")
		}
	}
	if strings.Contains(in.Version, "MariaDB") != (engine == MariaDB) { // on many systems mysqld is a link to MariaDB's server
		return Install{}, nil
	}
	return in, nil
}

// in is the program that is started from a directory: a copy there where AppArmor's profile holds the original, since it does not
// attach to that path. The system's profile stays as it is, and the copy finds its files through --basedir.
func (in Install) in(dir string) []string {
	if in.held {
		return []string{path.Join(dir, path.Base(in.path))}
	}
	return slices.Clone(in.program)
}

var versionRE = regexp.MustCompile(`Ver ([0-9]+\.[0-9]+\.[0-9]+\S*)`)
