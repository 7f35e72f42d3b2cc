package subject

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"isukit/infra/engine/mysql"
	"isukit/infra/engine/nginx"
	"isukit/infra/host"
	"isukit/infra/project"
)

// OfProject are the hosts of a project that can be reached, by the names of named, and the services that its file names: the units and
// configurations under services, and the databases. What is not known of a service is asked from its host; what could not be found out
// is in the error, the rest is there all the same.
func OfProject(ctx context.Context, p *project.Project, named map[string]host.Host, stateDir string, consent bool) (*Subject, error) {
	f := &finder{Subject: &Subject{}, project: p, running: map[host.Host][]Process{}}
	for _, h := range p.Hosts {
		if at, ok := named[h.Name]; ok {
			f.Hosts = append(f.Hosts, HostHere(h.Name, at, stateDir, false, consent))
			f.Hosts[len(f.Hosts)-1].App = slices.ContainsFunc(h.Roles, func(role string) bool { return slices.Contains([]string{"web", "api", "app"}, role) })
		}
	}
	for _, role := range p.Roles {
		f.Units = append(f.Units, role.Units...)
	}
	var errs []error
	for _, m := range f.Machines() {
		if !f.names(m) {
			continue
		}
		var err error
		if f.running[m.At], err = Processes(ctx, m.At); err != nil {
			errs = append(errs, err)
		}
	}
	for _, on := range slices.Concat(p.Services, p.Final.Services) {
		h, ok := f.Host(on.Host)
		if !ok {
			continue
		}
		for _, unit := range on.Units {
			errs = append(errs, f.unit(ctx, h, unitName(unit)))
		}
		if on.Conf != "" {
			errs = append(errs, f.conf(ctx, h, on.Conf, kindOfFile(on.Conf)))
		}
	}
	for _, d := range p.Databases {
		if h, ok := f.Host(d.Host); ok {
			errs = append(errs, f.database(ctx, h, d))
		}
	}
	for i := range f.Hosts {
		m := Machine{Names: []string{f.Hosts[i].Name}, At: f.Hosts[i].At}
		f.Hosts[i].Sizes.Shared = len(f.On(m)) > 1
	}
	return f.Subject, errors.Join(errs...)
}

// finder puts a project's subject together.
type finder struct {
	*Subject
	project *project.Project
	running map[host.Host][]Process
}

// names tells whether the project names services on a machine.
func (f *finder) names(m Machine) bool {
	return slices.ContainsFunc(f.project.Databases, func(d project.Database) bool { return m.Is(d.Host) }) ||
		slices.ContainsFunc(slices.Concat(f.project.Services, f.project.Final.Services), func(s project.ServicesOn) bool { return m.Is(s.Host) })
}

func (f *finder) process(at host.Host, is func(Process) bool) (Process, bool) {
	n := slices.IndexFunc(f.running[at], is)
	if n < 0 {
		return Process{}, false
	}
	return f.running[at][n], true
}

// add gives a service a name of its own.
func (f *finder) add(v Service, name string) {
	v.Name = v.Host + "-" + name
	for n := 2; slices.ContainsFunc(f.Services, func(o Service) bool { return o.Name == v.Name }); n++ {
		v.Name = v.Host + "-" + name + "-" + strconv.Itoa(n)
	}
	f.Services = append(f.Services, v)
}

// unit adds a unit of systemd. A database's is added with its entry under databases, which tells how it is asked.
func (f *finder) unit(ctx context.Context, h Host, unit string) error {
	if slices.ContainsFunc(f.Services, func(o Service) bool { return o.Host == h.Name && o.Unit == unit }) {
		return nil
	}
	v := Service{Kind: App, Host: h.Name, Unit: unit, PIDs: unitPIDs(h.At, unit), Restart: restartUnit(h.At, unit)}
	name := strings.TrimSuffix(unit, ".service")
	p, runs := f.process(h.At, func(p Process) bool { return p.Unit == unit })
	switch {
	case runs:
		v.Kind, v.Argv = p.Kind, p.Argv
	case name == "nginx":
		program, err := programOf(ctx, h.At, name)
		if err != nil {
			return err
		}
		v.Kind, v.Argv, p = Nginx, []string{program}, Process{Kind: Nginx, Argv: []string{program}}
	}
	var err error
	if v.Kind == Nginx || v.Kind == Envoy {
		v.Conf, err = p.conf(ctx, h.At)
	}
	f.add(v, name)
	return err
}

// kindOfFile is what a proxy's configuration file is written for.
func kindOfFile(file string) Kind {
	if slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(file)) {
		return Envoy
	}
	return Nginx
}

// conf adds the proxy that has a configuration file, and that no unit is named for.
func (f *finder) conf(ctx context.Context, h Host, file string, kind Kind) error {
	uses := func(ctx context.Context, running []Process) (Process, bool) {
		for _, p := range running {
			if p.Kind != kind {
				continue
			}
			if conf, err := p.conf(ctx, h.At); err == nil && path.Clean(conf) == path.Clean(file) {
				return p, true
			}
		}
		return Process{}, false
	}
	v := Service{Kind: kind, Host: h.Name, Conf: file}
	if p, ok := uses(ctx, f.running[h.At]); ok {
		v.Argv = p.Argv
	} else {
		program, err := programOf(ctx, h.At, string(kind))
		if err != nil {
			return err
		}
		v.Argv = []string{program, "-c", file}
	}
	v.PIDs = func(ctx context.Context) ([]int, error) {
		running, err := Processes(ctx, h.At)
		if err != nil {
			return nil, err
		}
		if p, ok := uses(ctx, running); ok {
			return []int{p.PID}, nil
		}
		return nil, nil
	}
	f.add(v, string(v.Kind))
	return nil
}

// database adds a server of MySQL or MariaDB.
func (f *finder) database(ctx context.Context, h Host, d project.Database) error {
	client := ClientOf(d, h.At)
	v := Service{Kind: Database, Host: h.Name, Conf: d.Cnf, Unit: d.Unit, Schema: d.Schema, Open: func() (mysql.Querier, func() error, error) { return client, func() error { return nil }, nil }}
	p, err := f.serverOf(ctx, h.At, client)
	if err != nil {
		err = fmt.Errorf("the database of %s: %w", h.Name, err)
	}
	if p.PID != 0 {
		v.Argv = p.Argv
		if v.Unit == "" {
			v.Unit = p.Unit
		}
		if v.Conf == "" {
			var confErr error
			v.Conf, confErr = mysql.OptionFileFor(ctx, h.At, p.Argv)
			err = errors.Join(err, confErr)
		}
	}
	if v.Unit != "" {
		v.Unit = unitName(v.Unit)
		v.PIDs, v.Restart = unitPIDs(h.At, v.Unit), restartDatabase(h.At, v.Unit, client)
		f.Services = slices.DeleteFunc(f.Services, func(o Service) bool { return o.Host == h.Name && o.Unit == v.Unit })
	} else if p.PID != 0 {
		v.PIDs = func(ctx context.Context) ([]int, error) {
			p, err := f.serverOf(ctx, h.At, client)
			if err != nil || p.PID == 0 {
				return nil, err
			}
			return []int{p.PID}, nil
		}
	}
	f.add(v, "mysql")
	return err
}

// serverOf finds the process of a database that answers: the one of its pid file, or the only one there is.
func (f *finder) serverOf(ctx context.Context, at host.Host, client mysql.Client) (Process, error) {
	file, err := mysql.One(ctx, client, "SELECT @@GLOBAL.pid_file")
	if err != nil {
		return Process{}, err
	}
	if text, err := at.Get(ctx, file); err == nil {
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text))) // 0 is no process's
		if p, ok := f.process(at, func(p Process) bool { return p.PID == pid }); ok {
			return p, nil
		}
	}
	only := slices.DeleteFunc(slices.Clone(f.running[at]), func(p Process) bool { return p.Kind != Database })
	if len(only) == 1 {
		return only[0], nil
	}
	return Process{}, nil
}

// ClientOf asks a database through the client that the project names.
func ClientOf(d project.Database, at host.Host) mysql.Client {
	return mysql.Client{Host: at, Argv: []string{"sh", "-c", d.Client + ` "$@"`, "sh"}}
}

// Process is a server that runs on a host.
type Process struct {
	PID  int
	Kind Kind
	Exe  string // path of its program
	Unit string // that it belongs to; "" for none
	Argv []string
}

// processesScript prints the servers that run in this network namespace, a line each: process id, program, unit and arguments.
const processesScript = `own=$(readlink /proc/self/ns/net)
for p in /proc/[0-9]*; do
	read -r name 2>/dev/null <"$p/comm" || continue
	case $name in nginx | openresty | envoy | mysqld | mariadbd) ;; *) continue ;; esac
	[ "$(readlink "$p/ns/net" 2>/dev/null)" = "$own" ] || continue
	unit=$(sed -n 's,.*/\([^/]*\.service\)$,\1,p; s,.*/\([^/]*\.service\)/.*,\1,p' "$p/cgroup" 2>/dev/null | head -n 1)
	printf '%s\t%s\t%s\t%s\n' "${p#/proc/}" "$(readlink "$p/exe" 2>/dev/null)" "$unit" "$(tr '\0\n' '\037 ' <"$p/cmdline")"
done`

// Processes are the nginx, Envoy and database servers that run on a host, of nginx the master processes.
func Processes(ctx context.Context, at host.Host) ([]Process, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := host.Output(ctx, at, "sh", "-c", host.AsRoot, processesScript)
	if err != nil {
		return nil, fmt.Errorf("find servers on %s: %w", at.About().Name, err)
	}
	return parseProcesses(out), nil
}

func parseProcesses(text string) (list []Process) {
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimRight(line, "\n"), "\t", 4)
		pid, err := strconv.Atoi(f[0])
		if err != nil || len(f) != 4 {
			continue
		}
		p := Process{PID: pid, Exe: strings.TrimSuffix(f[1], " (deleted)"), Unit: f[2], Argv: strings.Split(strings.TrimRight(f[3], "\x1f"), "\x1f")}
		switch path.Base(p.Exe) {
		case "envoy":
			p.Kind = Envoy
		case "mysqld", "mariadbd":
			p.Kind = Database
		default:
			p.Kind = Nginx
			if p.Argv = nginx.Master(strings.Join(p.Argv, " ")); p.Argv == nil {
				continue
			}
		}
		if p.Exe != "" && len(p.Argv) > 0 {
			p.Argv[0] = p.Exe
		}
		list = append(list, p)
	}
	return list
}

// conf is the configuration file of a proxy.
func (p Process) conf(ctx context.Context, at host.Host) (string, error) {
	if p.Kind == Nginx {
		return nginx.MainFile(ctx, at, p.Argv)
	}
	for i, arg := range p.Argv {
		file, ok := strings.CutPrefix(arg, "--config-path=")
		if (arg == "-c" || arg == "--config-path") && i+1 < len(p.Argv) {
			file, ok = p.Argv[i+1], true
		}
		if ok && path.IsAbs(file) {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s (pid %d) has no configuration file with an absolute path among its arguments", p.Kind, p.PID)
}

// unitName is a unit's full name.
func unitName(unit string) string {
	if strings.Contains(unit, ".") && slices.Contains([]string{".service", ".socket", ".target"}, path.Ext(unit)) {
		return unit
	}
	return unit + ".service"
}

// unitPIDs are the processes of a unit, its main one first.
func unitPIDs(at host.Host, unit string) func(context.Context) ([]int, error) {
	return func(ctx context.Context) ([]int, error) {
		out, err := host.Output(ctx, at, "sh", "-c", `main=$(systemctl show -p MainPID --value "$1") || exit
[ "$main" = 0 ] || echo "$main"
grep -lsE "/$2(/|\$)" /proc/[0-9]*/cgroup | sed 's,/proc/\([0-9]*\)/.*,\1,' | grep -vx "$main"; true`, "sh", unit, strings.ReplaceAll(unit, ".", `\.`))
		if err != nil {
			return nil, fmt.Errorf("the processes of %s: %w", unit, err)
		}
		var pids []int
		for word := range strings.FieldsSeq(out) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
		return pids, nil
	}
}

// restartUnit restarts a unit of systemd and returns when systemd says that it runs.
func restartUnit(at host.Host, unit string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := host.Output(ctx, at, "systemctl", "restart", unit)
		return err
	}
}

// restartLimit is how long a database may take to answer after its unit was restarted.
const restartLimit = time.Minute

// restartDatabase restarts a unit and returns when its server answers.
func restartDatabase(at host.Host, unit string, q mysql.Querier) func(context.Context) error {
	restart := restartUnit(at, unit)
	return func(ctx context.Context) error {
		if err := restart(ctx); err != nil {
			return err
		}
		if err := host.Until(ctx, restartLimit, 200*time.Millisecond, func(ctx context.Context) error {
			_, err := mysql.One(ctx, q, "SELECT 1")
			return err
		}); err != nil {
			return fmt.Errorf("%s does not answer after its restart: %w", unit, err)
		}
		return nil
	}
}

func trimLine(text string) string { return strings.TrimSuffix(text, "\n") }
