package infra

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"isukit/infra/dbserver"
	"isukit/infra/host"
	"isukit/infra/topology"
)

// tools are what a host that is not this machine has.
type tools struct {
	install  dbserver.Install // of a database's host
	programs map[string]bool
	stream   string // the module's path; "built in" or ""
	maxFiles int    // that a program may open; 0 where the host does not say
}

// farMaxFiles is how many files a unit of systemd may let a program open where the host does not say: fs.nr_open, as it comes.
const farMaxFiles = 1 << 20

// filesOf is the least of what the hosts let a program open.
func (l *layout) filesOf() int {
	files := farMaxFiles
	for _, t := range l.far {
		if t.maxFiles > 0 {
			files = min(files, t.maxFiles)
		}
	}
	return files
}

// toolsOp tells which proxies there are, and where nginx has its module stream.
var toolsOp = host.Script(`for name in nginx envoy; do command -v "$name" >/dev/null && echo "$name"; done
case " $(nginx -V 2>&1) " in
*" --with-stream "*) echo 'stream=built in' ;;
*) for file in ` + streamModules + `; do [ -e "$file" ] && echo "stream=$file"; done ;;
esac
# What systemd itself may open, it may let others open.
sed -n 's/^Max open files  *[0-9a-z]*  *\([0-9][0-9]*\) .*/files=\1/p' /proc/1/limits
true
`)

// findServers finds the database servers that a topology asks for, and what else hosts have that are not this machine.
func (l *layout) findServers(ctx context.Context) (err error) {
	t := l.goal.Topology
	engine := dbserver.Engine(t.Of(topology.DB)[0].Kind)
	if l.driver != "ssh" {
		if l.install, err = findServer(ctx, t, l.spec.LocalDir); err != nil {
			return err
		}
		l.goal.Topology, err = t.WithKind(topology.DB, topology.Kind(l.install.Engine))
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
		in := l.far[name].install
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
		goal := *l.goal // what is only supposed must not stay
		goal.Ports = maps.Clone(goal.Ports)
		l.goal = &goal
	}
	l.goal.Topology, err = t.WithKind(topology.DB, topology.Kind(l.install.Engine))
	return err
}

// askTools asks hosts what they have, all at once.
func (l *layout) askTools(ctx context.Context, engine dbserver.Engine, names ...string) error {
	all := make([]tools, len(names))
	group, ctx := errgroup.WithContext(ctx)
	for n, name := range names {
		group.Go(func() (err error) {
			all[n].programs, all[n].stream, all[n].maxFiles, err = askPrograms(ctx, l.hosts[name])
			return err
		})
		group.Go(func() (err error) {
			all[n].install, err = askServer(ctx, l.hosts[name], l.goal.Topology, engine)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for n, name := range names {
		l.far[name] = all[n]
	}
	return nil
}

func askPrograms(ctx context.Context, h host.Host) (programs map[string]bool, stream string, maxFiles int, err error) {
	res, err := h.Run(ctx, *toolsOp.Run)
	if err != nil {
		return nil, "", 0, err
	}
	programs = map[string]bool{}
	for line := range strings.Lines(string(res.Stdout)) {
		line = strings.TrimSuffix(line, "\n")
		switch key, value, _ := strings.Cut(line, "="); key {
		case "stream":
			stream = value
		case "files":
			maxFiles, _ = strconv.Atoi(value)
		default:
			programs[line] = true
		}
	}
	return programs, stream, maxFiles, nil
}

// askServer looks for a database server on a host that is to have one.
func askServer(ctx context.Context, h host.Host, t *topology.Topology, engine dbserver.Engine) (dbserver.Install, error) {
	if !slices.ContainsFunc(t.On(h.About().Name), func(i topology.Instance) bool { return i.Role == topology.DB }) {
		return dbserver.Install{}, nil
	}
	in, err := dbserver.FindOn(ctx, h, engine)
	if errors.Is(err, dbserver.ErrNotFound) {
		return in, &HintError{err, "install it there: isukit hosts init --tool mariadb-server " + hostTarget(t, h)}
	}
	return in, err
}

func hostTarget(t *topology.Topology, h host.Host) string {
	if d, ok := t.Host(h.About().Name); ok && d.Address != "" {
		return d.Address
	}
	return h.About().Name
}

func (t tools) streamModule(hostName string) (string, error) {
	switch t.stream {
	case "built in":
		return "", nil
	case "":
		return "", &HintError{fmt.Errorf("nginx on host %s has no module stream", hostName), "apt-get install libnginx-mod-stream there"}
	}
	return t.stream, nil
}

// installOn is the database server of a host.
func (l *layout) installOn(hostName string) dbserver.Install {
	if t, ok := l.far[hostName]; ok && t.install.Engine != "" {
		return t.install
	}
	return l.install
}

// program finds the program of a kind of proxy: on another host by its name.
func (l *layout) program(hostName string, kind topology.Kind) (string, error) {
	if l.driver != "ssh" {
		return l.spec.proxyProgram(kind)
	}
	name := string(kind)
	if t, ok := l.far[hostName]; ok && !t.programs[name] {
		return "", &HintError{fmt.Errorf("%s is not installed on host %s", name, hostName), "install it there: isukit hosts init --tool " + name + " " + hostTarget(l.goal.Topology, l.hosts[hostName])}
	}
	return name, nil
}
