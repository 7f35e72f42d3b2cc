package subject

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"isukit/infra/engine/mysql"
	"isukit/infra/engine/nginx"
	"isukit/infra/host"
)

// Process is a server that runs on a host.
type Process struct {
	PID  int
	Kind Kind
	Exe  string // path of its program
	Unit string // that it belongs to; "" for none
	Argv []string
}

// processesScript prints the servers that run in this network namespace, a line each: process id, program, unit and arguments.
const processesScript = `for p in /proc/[0-9]*; do
	read -r name 2>/dev/null <"$p/comm" || continue
	case $name in nginx | openresty | envoy | mysqld | mariadbd) ;; *) continue ;; esac
	[ "$p/ns/net" -ef /proc/self/ns/net ] || continue
	unit=
	while read -r group && [ -z "$unit" ]; do
		case $group in *.service) unit=${group##*/} ;; *.service/*) unit=${group%.service/*}.service unit=${unit##*/} ;; esac
	done 2>/dev/null <"$p/cgroup"
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
