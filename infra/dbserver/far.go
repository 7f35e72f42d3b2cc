package dbserver

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"isukit/infra/host"
)

// FindOp tells about servers, each after a line with its name.
var FindOp = host.Script(`for name; do
echo "$name:"
path=$(command -v "$name") || continue
echo "path=$path"
echo "version=$("$path" --no-defaults --version 2>&1 | tail -n 1)"
echo "real=$(readlink -f "$path")"
echo "initdb=$(command -v mariadb-install-db)"
profile=$(echo "${path#/}" | tr / .)
if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] && [ -e "/etc/apparmor.d/$profile" ] && [ ! -e "/etc/apparmor.d/disable/$profile" ]; then
	echo held=1
fi
done
`, "mariadbd", "mysqld")

// FindOn looks for a server of the engine on a host that is not this machine: on its PATH and in the system's directories.
func FindOn(ctx context.Context, h host.Host, engine Engine) (Install, error) {
	engines := []Engine{engine}
	if engine == Auto || engine == "" {
		engines = []Engine{MariaDB, MySQL}
	}
	res, err := h.Run(ctx, *FindOp.Run)
	if err != nil {
		return Install{}, err
	}
	for _, e := range engines {
		name := map[Engine]string{MariaDB: "mariadbd", MySQL: "mysqld"}[e]
		f := map[string]string{}
		_, about, _ := strings.Cut(string(res.Stdout), name+":\n")
		for line := range strings.Lines(about) {
			if line == "mysqld:\n" {
				break
			}
			k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			f[k] = v
		}
		m := versionRE.FindStringSubmatch(f["version"])
		if f["path"] == "" || m == nil {
			continue
		}
		in := Install{
			Engine: e, Version: m[1], path: f["path"], program: []string{f["path"]}, initdb: f["initdb"], held: f["held"] != "",
			base: []string{"--basedir=" + path.Dir(path.Dir(f["real"]))},
		}
		if in.isMariaDB() == (e == MariaDB) {
			return in, nil
		}
	}
	return Install{}, fmt.Errorf("%w: no %s on PATH of host %s", ErrNotFound, engine, h.About().Name)
}

// Fill lays the data directory of an instance down, on its host; it is not there yet.
type Fill func(ctx context.Context, dir string) error

// CreateOn is Create for a host that is not this machine, where it runs as root. fill makes the data directory; nil is for one
// that is just initialised. Connections to the instance come from its own host.
func CreateOn(ctx context.Context, h host.Host, cfg Config, fill Fill) (*Instance, error) {
	inst := newInstance(cfg)
	inst.at, inst.password = h, rand.Text()
	fail := func(err error) (*Instance, error) {
		return nil, fmt.Errorf("lay down %s on %s: %w", cfg.Dir, h.About().Name, err)
	}
	// The files of an instance have names without meaning to a shell.
	script := `umask 077; mkdir -p "$1" && chmod 700 "$1" && rm -rf "$1/data" "$1/tmp" && mkdir "$1/tmp"`
	if cfg.Install.held {
		script += ` && cp "$2" "$1/"` // out of its AppArmor profile, which does not attach to that path
	}
	if err := runOn(ctx, h, "sh", "-c", script, "sh", cfg.Dir, cfg.Install.path); err != nil {
		return fail(err)
	}
	if fill == nil {
		fill = func(ctx context.Context, dir string) error { return cfg.Install.initializeOn(ctx, h, dir) }
	}
	if err := fill(ctx, inst.DataDir()); err != nil {
		return fail(err)
	}
	if err := h.Remove(ctx, filepath.Join(inst.DataDir(), "auto.cnf")); err != nil {
		return fail(err)
	}
	if err := h.Put(ctx, inst.PasswordFile(), []byte(inst.password+"\n"), 0o600); err != nil {
		return fail(err)
	}
	sql := initSQL(inst.Engine, inst.password, cfg.InitSQL, "localhost", "127.0.0.1", cfg.bind())
	if err := h.Put(ctx, inst.initFile(), []byte(sql), 0o600); err != nil {
		return fail(err)
	}
	inst.settleOn(cfg)
	return inst, nil
}

// AttachOn is Attach for any host.
func AttachOn(ctx context.Context, h host.Host, cfg Config) (*Instance, error) {
	if h.About().Here {
		return Attach(cfg)
	}
	inst := newInstance(cfg)
	inst.at = h
	password, err := h.Get(ctx, inst.PasswordFile())
	if err != nil {
		return nil, fmt.Errorf("read password file: %w", err)
	}
	inst.password = strings.TrimSpace(string(password))
	inst.settleOn(cfg)
	return inst, nil
}

func (i *Instance) settleOn(cfg Config) {
	in := cfg.Install
	if in.held {
		in.program = []string{path.Join(cfg.Dir, path.Base(in.path))}
	}
	i.argv = i.command(in, cfg)
	if d, ok := i.at.(host.Dialer); ok {
		mysql.RegisterDialContext(farNetwork(i.at), func(ctx context.Context, address string) (net.Conn, error) {
			return d.Dial(ctx, "tcp", address)
		})
	}
}

// Far tells whether the instance is on a host that is not this machine.
func (i *Instance) Far() bool { return i.at != nil }

// patience is the time between two tries to connect.
func (i *Instance) patience() time.Duration {
	if i.Far() {
		return 200 * time.Millisecond
	}
	return 20 * time.Millisecond
}

// farNetwork is the name by which go-sql-driver knows the way through a host.
func farNetwork(h host.Host) string { return "isukit-" + h.About().Name }

// initializeOn makes a fresh data directory.
func (in Install) initializeOn(ctx context.Context, h host.Host, dir string) error {
	argv, err := in.initCommand(dir)
	if err != nil {
		return err
	}
	argv = append(append(argv, in.base...), "--datadir="+dir, "--tmpdir="+path.Join(path.Dir(dir), "tmp"), "--user=root")
	if in.held {
		argv[0] = path.Join(path.Dir(dir), path.Base(in.path))
	}
	if err := runOn(ctx, h, "mkdir", "-m", "700", dir); err != nil {
		return err
	}
	return runOn(ctx, h, argv...)
}

func runOn(ctx context.Context, h host.Host, argv ...string) error {
	res, err := h.Run(ctx, host.Command{Argv: argv})
	if err == nil && res.Code != 0 {
		err = fmt.Errorf("%s: exit status %d: %s", path.Base(argv[0]), res.Code, tail(append(res.Stdout, res.Stderr...), 15))
	}
	return err
}

func (i *Instance) farLogTail(lines int) string {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	res, err := i.at.Run(ctx, host.Command{Argv: []string{"tail", "-n", strconv.Itoa(lines), i.LogFile()}})
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	return strings.TrimRight(string(res.Stdout), "\n")
}
