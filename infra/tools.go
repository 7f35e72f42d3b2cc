package infra

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"isukit/infra/dbserver"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/topology"
)

type tools struct {
	install  dbserver.Install         // where it is to have a database
	programs map[string]string        // paths of proxies, by name
	stream   string                   // the path of nginx's module; "built in" or ""
	maxFiles int                      // that a program may open; 0 where the host does not say
	hint     func(tool string) string // how to get what it lacks
}

// farMaxFiles is how many files a unit of systemd may let a program open where the host does not say: fs.nr_open, as it comes.
const farMaxFiles = 1 << 20

// filesOf is the least of what the hosts let a program open.
func (l *layout) filesOf() int {
	files := farMaxFiles
	for _, t := range l.tools {
		if t.maxFiles > 0 {
			files = min(files, t.maxFiles)
		}
	}
	return files
}

// toolsOp lists the installed proxies, also outside users' PATH and in localDir, and the place of nginx's module stream.
func toolsOp(localDir string) host.Op {
	return host.Script(`PATH=$PATH:/usr/local/sbin:/usr/sbin:$1/envoy/bin
for name in nginx envoy; do path=$(command -v "$name") && echo "$name=$path"; done
nginx -h 2>&1 | grep -q '^ *-e ' && echo nginx-e=yes # since 1.19.5
case " $(nginx -V 2>&1) " in
*" --with-stream "*) echo 'stream=built in' ;;
*) for file in /usr/lib*/nginx/modules/ngx_stream_module.so; do [ -e "$file" ] && echo "stream=$file"; done ;;
esac
# What systemd itself may open, it may let others open.
sed -n 's/^Max open files  *[0-9a-z]*  *\([0-9][0-9]*\) .*/files=\1/p' /proc/1/limits
true
`, localDir)
}

// findTools finds the database servers that a topology asks for, and what else hosts have.
func (l *layout) findTools(ctx context.Context) (err error) {
	t := l.Topology
	engine := dbserver.Engine(t.Of(topology.DB)[0].Kind)
	if l.driver != "ssh" {
		here, err := machine.OpenHere(l.spec.StateDir) // the hosts have its files
		if err != nil {
			return err
		}
		defer func() { _ = here.Close(context.WithoutCancel(ctx)) }() // what it cannot remove is on record
		of, err := l.ask(ctx, here, engine, true)
		if err != nil {
			return err
		}
		for name := range l.hosts {
			l.tools[name] = of
		}
		l.install = of.install
		l.Topology, err = t.WithKind(topology.DB, topology.Kind(l.install.Engine))
		return err
	}
	var known []string
	for _, name := range sortedKeys(l.hosts) {
		if p, ok := l.hosts[name].(planned); !ok || p.Host != nil {
			known = append(known, name)
		}
	}
	unknown := len(known) < len(l.hosts) // they were not asked yet: they are taken to have everything
	if err := l.askTools(ctx, engine, known...); err != nil {
		return err
	}
	for _, name := range known {
		in := l.tools[name].install
		if l.install.Engine == "" {
			l.install = in
		}
		if in.Engine != l.install.Engine && in.Engine != "" { // one engine on all hosts
			if err := l.askTools(ctx, l.install.Engine, name); err != nil {
				return err
			}
		}
	}
	if l.install.Engine == "" {
		l.install.Engine = engine
		if engine == dbserver.Auto || engine == "" {
			l.install.Engine = dbserver.MariaDB
		}
	}
	if unknown {
		supposed := *l.deployment // what is only supposed must not stay
		supposed.Ports = maps.Clone(supposed.Ports)
		l.deployment = &supposed
	}
	l.Topology, err = t.WithKind(topology.DB, topology.Kind(l.install.Engine))
	return err
}

// askTools reads what hosts have installed, in parallel.
func (l *layout) askTools(ctx context.Context, engine dbserver.Engine, names ...string) error {
	all := make([]tools, len(names))
	group, ctx := errgroup.WithContext(ctx)
	for n, name := range names {
		hasDB := slices.ContainsFunc(l.Topology.On(name), func(i topology.Instance) bool { return i.Role == topology.DB })
		group.Go(func() (err error) {
			all[n], err = l.ask(ctx, l.hosts[name], engine, hasDB)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for n, name := range names {
		l.tools[name] = all[n]
	}
	return nil
}

// ask reads what a host has installed, with a database server if it should have one.
func (l *layout) ask(ctx context.Context, h host.Host, engine dbserver.Engine, hasDB bool) (t tools, err error) {
	localDir := ""
	hints := map[string]string{"envoy": "make envoy, or --proxy nginx in its place", "mysql-server": "make mysql"}
	t.hint = func(tool string) string { return cmp.Or(hints[tool], "make setup") }
	if h.About().Here {
		localDir = l.spec.LocalDir
	} else {
		address := h.About().Name
		if d, ok := l.Topology.Host(address); ok && d.Address != "" {
			address = d.Address
		}
		t.hint = func(tool string) string { return "install it there: isukit hosts init --tool " + tool + " " + address }
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		res, err := h.Run(ctx, *toolsOp(localDir).Run)
		t.programs = map[string]string{}
		for line := range strings.Lines(string(res.Stdout)) {
			switch key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "="); key {
			case "stream":
				t.stream = value
			case "files":
				t.maxFiles, _ = strconv.Atoi(value)
			default:
				t.programs[key] = value
			}
		}
		return err
	})
	if hasDB {
		group.Go(func() (err error) {
			t.install, err = dbserver.Find(ctx, h, engine, localDir)
			if errors.Is(err, dbserver.ErrNotFound) {
				tool := "mariadb-server"
				if engine == dbserver.MySQL && h.About().Here {
					tool = "mysql-server"
				}
				return host.Hinted(err, t.hint(tool))
			}
			return err
		})
	}
	return t, group.Wait()
}

// streamModule is the path of nginx's module stream on a host, or "" where nginx has it built in.
func (t tools) streamModule(hostName string) (string, error) {
	switch t.stream {
	case "built in":
		return "", nil
	case "":
		return "", host.Hinted(fmt.Errorf("nginx on host %s has no module stream", hostName), "apt-get install libnginx-mod-stream there")
	}
	return t.stream, nil
}

// installOn is the database server of a host.
func (l *layout) installOn(hostName string) dbserver.Install {
	if t, ok := l.tools[hostName]; ok && t.install.Engine != "" {
		return t.install
	}
	return l.install
}

// program finds the program of a kind of proxy: on another machine by its name.
func (l *layout) program(hostName string, kind topology.Kind) (string, error) {
	name := string(kind)
	t, ok := l.tools[hostName]
	if ok && t.programs[name] == "" {
		return "", host.Hinted(fmt.Errorf("%s is not installed on host %s", name, hostName), t.hint(name))
	}
	if l.driver == "ssh" {
		return name, nil
	}
	return t.programs[name], nil
}

// HasEnvoy tells that this machine has an Envoy, or LocalDir.
func (s Spec) HasEnvoy() bool {
	_, err := exec.LookPath("envoy")
	if err != nil && s.LocalDir != "" {
		_, err = os.Stat(filepath.Join(s.LocalDir, "envoy/bin/envoy"))
	}
	return err == nil
}
