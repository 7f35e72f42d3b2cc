package project

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"isukit/infra/host"
)

// probeScript prints, in sections that begin with "@", what there is on a host. What it has not is left out. Nothing is changed;
// ports of programs that may be an app's are asked for net/http/pprof.
const probeScript = `PATH=$PATH:/usr/sbin:/sbin
have() { command -v "$1" >/dev/null 2>&1; }
` + RunningNginx + `
nginx_configs
echo @user
id -un
echo @units
have systemctl && systemctl list-units --type=service --state=running --no-legend --plain 2>/dev/null | cut -d ' ' -f 1
echo @ports
as_root() { sudo -n "$@" 2>/dev/null || "$@" 2>/dev/null; } # only root sees what others listen with
listening() { if have ss; then as_root ss -ltnpH; else as_root netstat -ltnp; fi; }
listening
echo @pprof
have curl && listening | grep -vE '"(sshd|mysqld|mariadbd|postgres|redis-server|memcached|nginx|envoy|systemd[^"]*|chronyd|dockerd)"' | grep '"' |
	sed -n 's/.*:\([0-9][0-9]*\) .*/\1/p' | sort -un | head -n 40 | while read -r port; do
	url=http://127.0.0.1:$port
	case "$(curl -s -m 1 -o /dev/null -w '%{http_code} %{content_type}' "$url/debug/pprof/")" in "200 text/html"*) echo "$url";; esac
done
echo @tools
for t in mysql mariadb psql redis-cli go ruby node python3 php perl cargo java perf git; do have "$t" && echo "$t"; done
echo @processes
ps -e -o comm= 2>/dev/null | sort -u
echo @databases
have timeout && ps -eo pid=,comm=,args= 2>/dev/null | while read -r pid comm args; do
	case "$comm" in mysqld|mariadbd) ;; *) continue;; esac
	[ "/proc/$pid/ns/net" -ef /proc/self/ns/net ] || [ "$(id -u)" != 0 ] || continue
	client=mysql; have mysql || client=mariadb
	socket=$(echo " $args " | sed -n 's/.* --socket=\([^ ]*\) .*/\1/p')
	[ -n "$socket" ] && client="$client -S $socket"
	for c in "$client" "sudo -n $client" "$client -uroot" "sudo -n $client -uroot"; do
		if told=$(echo 'SELECT @@slow_query_log, @@long_query_time, @@performance_schema, @@datadir, @@slow_query_log_file' | timeout 5 $c --batch --skip-column-names 2>/dev/null); then
			echo "$c	$told"
			timeout 5 $c --batch --skip-column-names -e "SELECT 'schema', MIN(schema_name) FROM information_schema.schemata WHERE schema_name NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') HAVING COUNT(*) = 1;
				SELECT 'user', MIN(User) FROM mysql.user WHERE User NOT LIKE 'mysql.%' AND User NOT IN ('', 'root', 'mysql', 'mariadb.sys', 'debian-sys-maint', 'PUBLIC') HAVING COUNT(DISTINCT User) = 1" 2>/dev/null
			break
		fi
	done
done
echo @logs
for f in /var/log/nginx/access.log /var/log/envoy/access.log /var/log/mysql/slow.log /var/log/mysql/mysql-slow.log /var/log/mysql/mariadb-slow.log /var/lib/mysql/*-slow.log; do [ -e "$f" ] && echo "$f"; done
` + rolesScript + `
true`

// Found is what Probe saw on a host.
type Found struct {
	// AccessLogs are those that nginx writes, with the name of their log_format.
	AccessLogs []FoundLog
	SlowLogs   []string
	Units      []string
	// Ports are "PORT PROGRAM", as far as programs can be seen.
	Ports []string
	// Languages and tools that are installed, and databases that run.
	Tools, Databases []string
	// Servers are databases that answered without a password.
	Servers []FoundDatabase
	// Pprof are the addresses of apps that serve net/http/pprof.
	Pprof []string
	// Root says that it was root who looked.
	Root bool
	// The only schema and the only account of a database that are not its own; "" for others.
	schema, user string
	// What roles are drafted from: ports of units, what they answer to GET /, what is known of units, and texts of files.
	listens, statuses, showed, envs, sites [][2]string
}

// FoundLog is an access log, its format, and the options of the nginx that writes it.
type FoundLog struct{ File, Format, Options string }

// FoundDatabase is a server of MySQL or MariaDB and the command that reached it.
type FoundDatabase struct {
	Client string
	// SlowLog is the file; On: it is written, Longer: from this many seconds on.
	SlowLog, Longer string
	On, Schema      bool
}

// Probe looks at a host.
func Probe(ctx context.Context, at host.Host) (*Found, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	res, err := at.Run(ctx, host.Command{Argv: []string{"sh", "-c", probeScript}})
	if err != nil {
		return nil, fmt.Errorf("inspect the host: %w", err)
	}
	return parseProbe(string(res.Stdout)), nil
}

var (
	accessLogExpr = regexp.MustCompile(`(?m)(?:^|[;{])\s*access_log\s+([^\s;]+)(?:\s+([A-Za-z_][A-Za-z0-9_]*))?[^;]*;`)
	localPortExpr = regexp.MustCompile(`:(\d+)\s`)
	programExpr   = regexp.MustCompile(`\(\("([^"]+)"|\d+/(\S+)`)
)

// databaseProcesses are how databases call their processes.
var databaseProcesses = map[string]string{"mysqld": "mysql", "mariadbd": "mariadb", "postgres": "postgres", "redis-server": "redis"}

func parseProbe(text string) *Found {
	f := &Found{}
	sections := map[string]string{}
	for _, section := range strings.Split("\n"+text, "\n@")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		if name, options, _ := strings.Cut(name, " "); name == "nginx" {
			f.addAccessLogs(options, body)
			continue
		}
		f.addRoles(name, body)
		sections[name] = body
	}
	f.addServers(sections["databases"])
	for _, file := range strings.Fields(sections["logs"]) {
		switch {
		case strings.Contains(file, "slow"):
			if len(f.Servers) == 0 {
				f.SlowLogs = append(f.SlowLogs, file)
			}
		case len(f.AccessLogs) == 0:
			f.AccessLogs = append(f.AccessLogs, FoundLog{File: file})
		}
	}
	f.Root = strings.TrimSpace(sections["user"]) == "root"
	f.Units = strings.Fields(sections["units"])
	f.Tools = strings.Fields(sections["tools"])
	f.Pprof = strings.Fields(sections["pprof"])
	for _, name := range strings.Fields(sections["processes"]) {
		if db := databaseProcesses[name]; db != "" && !slices.Contains(f.Databases, db) {
			f.Databases = append(f.Databases, db)
		}
	}
	f.addPorts(sections["ports"])
	return f
}

func (f *Found) addAccessLogs(options, config string) {
	for _, m := range accessLogExpr.FindAllStringSubmatch(config, -1) {
		l := FoundLog{m[1], m[2], strings.TrimSpace(options)}
		if path.IsAbs(l.File) && l.File != "/dev/null" && !slices.ContainsFunc(f.AccessLogs, func(o FoundLog) bool { return o.File == l.File }) {
			f.AccessLogs = append(f.AccessLogs, l)
		}
	}
}

// addServers reads one line for each database: the client, whether it logs slow statements, from how many seconds on, whether
// performance_schema is on, the data directory and the log, which may be relative to it.
func (f *Found) addServers(text string) {
	for line := range strings.Lines(text) {
		w := strings.Split(strings.TrimSpace(line), "\t")
		switch {
		case len(w) == 2 && w[0] == "schema":
			f.schema = w[1]
		case len(w) == 2 && w[0] == "user":
			f.user = w[1]
		}
		if len(w) != 6 {
			continue
		}
		file := w[5]
		if file != "" && !path.IsAbs(file) {
			file = path.Join(w[4], file)
		}
		s := FoundDatabase{Client: strings.Replace(w[0], "sudo -n ", "sudo ", 1), SlowLog: file, Longer: w[2], On: w[1] == "1", Schema: w[3] == "1"}
		if !slices.Contains(f.Servers, s) {
			f.Servers = append(f.Servers, s)
		}
	}
}

func (f *Found) addPorts(text string) {
	for line := range strings.Lines(text) {
		port, program := localPortExpr.FindStringSubmatch(line), programExpr.FindStringSubmatch(line)
		if port == nil {
			continue
		}
		text := port[1]
		if program != nil {
			text += " " + program[1] + program[2]
		}
		if !slices.Contains(f.Ports, text) {
			f.Ports = append(f.Ports, text)
		}
	}
}

// RunningNginx is a shell function for scripts that read what nginx has been told: nginx_configs prints what "nginx -T" does
// for every nginx that runs in this network namespace, by the options -c and -p that it was started with, each after a line
// "@nginx OPTIONS"; where none runs, that of the configuration that one would take. Only processes of root and of the user
// are asked.
const RunningNginx = `
nginx_options() {
	ps -eo pid=,user=,args= 2>/dev/null | while read -r pid user a b c program line; do
		case "$a $b $c" in "nginx: master process") ;; *) continue;; esac
		case "$user" in root|"$(id -un)") ;; *) continue;; esac
		[ "/proc/$pid/ns/net" -ef /proc/self/ns/net ] || continue
		case "${program##*/}" in nginx|openresty) ;; *) program=nginx;; esac
		options=
		set -- $line
		while [ $# -gt 1 ]; do
			case "$1" in -c|-p) options="$options $1 $2"; shift;; esac
			shift
		done
		echo "$program$options"
	done | sort -u | head -n 8
}
nginx_configs() {
	all=$(nginx_options)
	if [ -z "$all" ]; then command -v nginx >/dev/null 2>&1 || return 0; all=nginx; fi
	echo "$all" | while read -r program options; do
		echo "@nginx $options"
		"$program" -T $options 2>/dev/null || sudo -n "$program" -T $options 2>/dev/null
	done
}
`
