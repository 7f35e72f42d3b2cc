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

// probeScript prints, in sections that begin with "@", what there is on a host. What it has not is left out.
const probeScript = `PATH=$PATH:/usr/sbin:/sbin
have() { command -v "$1" >/dev/null 2>&1; }
echo @nginx
if have nginx; then nginx -T 2>/dev/null || sudo -n nginx -T 2>/dev/null; fi
echo @units
have systemctl && systemctl list-units --type=service --state=running --no-legend --plain 2>/dev/null | cut -d ' ' -f 1
echo @ports
if have ss; then ss -ltnpH 2>/dev/null; else netstat -ltnp 2>/dev/null; fi
echo @tools
for t in mysql mariadb psql redis-cli go ruby node python3 php perl cargo java perf git; do have "$t" && echo "$t"; done
echo @processes
ps -e -o comm= 2>/dev/null | sort -u
echo @logs
for f in /var/log/nginx/access.log /var/log/envoy/access.log /var/log/mysql/slow.log /var/log/mysql/mysql-slow.log /var/log/mysql/mariadb-slow.log /var/lib/mysql/*-slow.log; do [ -e "$f" ] && echo "$f"; done
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
}

// FoundLog is an access log and its format.
type FoundLog struct{ File, Format string }

// Probe looks at a host.
func Probe(ctx context.Context, at host.Host) (*Found, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	res, err := at.Run(ctx, host.Command{Argv: []string{"sh", "-c", probeScript}})
	if err != nil {
		return nil, fmt.Errorf("look at the host: %w", err)
	}
	return parseProbe(string(res.Stdout)), nil
}

var (
	accessLogExpr = regexp.MustCompile(`(?m)^\s*access_log\s+([^\s;]+)(?:\s+([A-Za-z_][A-Za-z0-9_]*))?[^;]*;`)
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
		sections[name] = body
	}
	for _, m := range accessLogExpr.FindAllStringSubmatch(sections["nginx"], -1) {
		l := FoundLog{m[1], m[2]}
		if path.IsAbs(l.File) && l.File != "/dev/null" && !slices.ContainsFunc(f.AccessLogs, func(o FoundLog) bool { return o.File == l.File }) {
			f.AccessLogs = append(f.AccessLogs, l)
		}
	}
	for _, file := range strings.Fields(sections["logs"]) {
		switch {
		case strings.Contains(file, "slow"):
			f.SlowLogs = append(f.SlowLogs, file)
		case len(f.AccessLogs) == 0:
			f.AccessLogs = append(f.AccessLogs, FoundLog{File: file})
		}
	}
	f.Units = strings.Fields(sections["units"])
	f.Tools = strings.Fields(sections["tools"])
	for _, name := range strings.Fields(sections["processes"]) {
		if db := databaseProcesses[name]; db != "" && !slices.Contains(f.Databases, db) {
			f.Databases = append(f.Databases, db)
		}
	}
	for line := range strings.Lines(sections["ports"]) {
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
	return f
}

// ownUnits are those that a system runs by itself; all others may be the app's.
var ownUnits = regexp.MustCompile(`^(systemd-|dbus|getty|user@|ssh|cron|polkit|snap|unattended|serial-getty|rsyslog|accounts-daemon|networkd|multipathd|udisks|ModemManager|packagekit|chrony|apport|irqbalance|amazon|cloud-|containerd|docker)`)

// Draft is a project file for what was found, with remarks where a person has to decide. What stands in it without a remark
// was seen.
func (f *Found) Draft(name string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Written by isukit init from what it saw on this host. docs/project.md describes every key.")
	line("name: %s", name)
	line("# hosts:                      # without this: this machine, called local")
	line("#   - {name: s1}")
	line("#   - {name: s2, address: isucon@10.0.0.2}   # over ssh")
	f.draftServices(line)
	f.draftLogs(line)
	line("# routes: [\"/posts/:id\"]      # how paths belong together; without this they are found")
	f.draftDatabases(line)
	line("# profiles:")
	line("#   pprof: [{url: \"http://localhost:6060\"}]   # a Go app that imports net/http/pprof")
	if slices.Contains(f.Tools, "perf") {
		line("#   perf: [{seconds: 20, sudo: true}]")
	}
	line("benchmark:")
	line("  # command: ./bench --target http://127.0.0.1   # what it prints is searched for the score:")
	line("  # score: {json: .score}     # or {regexp: 'score: (\\d+)'}")
	line("  # pass: {json: .pass}       # must be true; some benchmarks exit with 0 when they fail")
	line("  external: true              # in place of a command: isukit observe waits for it")
	line("  initialize: POST /initialize")
	return b.String()
}

func (f *Found) draftServices(line func(string, ...any)) {
	if len(f.Ports) > 0 {
		line("# listening: %s", strings.Join(f.Ports, ", "))
	}
	if len(f.Tools) > 0 {
		line("# installed: %s", strings.Join(f.Tools, ", "))
	}
	var units []string
	for _, u := range f.Units {
		if !ownUnits.MatchString(u) {
			units = append(units, u)
		}
	}
	if len(units) > 0 {
		line("restart:                      # in this order, before every benchmark")
		line("  - run: sudo systemctl restart %s", strings.Join(units, " "))
	}
}

func (f *Found) draftLogs(line func(string, ...any)) {
	if len(f.AccessLogs)+len(f.SlowLogs) == 0 {
		line("# logs:                       # none was found")
		line("#   access: [{file: /var/log/nginx/access.log, reopen: sudo nginx -s reopen}]")
		return
	}
	line("logs:")
	if len(f.AccessLogs) > 0 {
		line("  access:")
	}
	for _, l := range f.AccessLogs {
		format := ""
		if l.Format != "" && l.Format != "main" {
			format = fmt.Sprintf("   # log_format %s", l.Format)
		}
		line("    - {file: %s, reopen: sudo nginx -s reopen}%s", l.File, format)
	}
	if len(f.SlowLogs) > 0 {
		line("  slow:")
	}
	for _, file := range f.SlowLogs {
		line("    - {file: %s}", file)
	}
}

func (f *Found) draftDatabases(line func(string, ...any)) {
	for _, db := range f.Databases {
		client := map[string]string{"mysql": "mysql", "mariadb": "mariadb"}[db]
		if client == "" {
			line("# %s runs here; isukit reads MySQL and MariaDB", db)
			continue
		}
		line("databases:")
		line("  - {client: sudo %s}", client)
		return
	}
}
