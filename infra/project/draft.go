package project

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ownUnits are those of the system; all others may be the app's.
var ownUnits = regexp.MustCompile(`^(systemd-|dbus|getty|user@|ssh|cron|polkit|snap|unattended|serial-getty|rsyslog|accounts-daemon|networkd|multipathd|udisks|ModemManager|packagekit|chrony|apport|irqbalance|amazon|cloud-|containerd|docker)`)

// Draft is a project file for what was found, with comments where a person has to decide. Lines without a comment were observed.
func (f *Found) Draft(name string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Written by isukit init for the services of this host. docs/project.md describes every key.")
	line("name: %s", name)
	line("hosts:")
	line("  - {name: local}             # this machine: isukit tune needs root; with an address, such as isucon@10.0.0.1, isukit uses ssh and sudo")
	line("  # - {name: s2, address: isucon@10.0.0.2}   # over ssh")
	f.draftServices(line)
	known := f.draftRoles(line)
	f.draftLogs(line)
	line("# routes: [\"/posts/:id\"]      # patterns of paths; by default isukit finds them")
	if !known {
		f.draftDatabases(line)
	}
	f.draftProfiles(line)
	line("benchmark:")
	line("  # command: ./bench --target http://127.0.0.1   # isukit finds the score in its output:")
	line("  # score: {json: .score}     # or {regexp: 'score: (\\d+)'}")
	line("  # pass: {json: .pass}       # must be true; some benchmarks exit with 0 when they fail")
	line("  external: true              # instead of a command: isukit observe waits for it")
	line("  initialize: /initialize     # the request that it begins with")
	return b.String()
}

func (f *Found) draftServices(line func(string, ...any)) {
	if len(f.Ports) > 0 {
		line("# listening: %s", strings.Join(f.Ports, ", "))
	}
	if len(f.Tools) > 0 {
		line("# installed: %s", strings.Join(f.Tools, ", "))
	}
	units := slices.DeleteFunc(slices.Clone(f.Units), ownUnits.MatchString)
	if len(units) > 0 {
		line("restart:                      # in this order, before every benchmark")
		line("  - {hosts: [local], run: %ssystemctl try-restart %s}   # those that run", f.sudo(), strings.Join(units, " "))
	}
	if len(units) > 0 && len(f.apps()) == 0 {
		line("services:                     # what isukit tune may change, and isukit doctor leaves running")
		line("  - {host: local, units: [%s]}", strings.Join(units, ", "))
	}
}

func (f *Found) draftLogs(line func(string, ...any)) {
	if slices.Contains(f.Units, "envoy.service") && !slices.Contains(f.Units, "nginx.service") {
		f.AccessLogs = nil // of an nginx that is installed and does not run
		for _, site := range f.sites {
			for _, m := range envoyExpr.FindAllStringSubmatch(site[1], -1) {
				f.AccessLogs = append(f.AccessLogs, FoundLog{File: m[1], Format: "of Envoy"})
			}
		}
	}
	if len(f.AccessLogs)+len(f.SlowLogs)+len(f.Servers) == 0 {
		line("# logs:                       # none was found")
		line("#   access: [{file: /var/log/nginx/access.log, reopen: sudo nginx -s reopen}]")
		return
	}
	line("logs:")
	if len(f.AccessLogs) > 0 {
		line("  access:")
	}
	for _, l := range f.AccessLogs {
		remark := "   # log_format " + l.Format
		if slices.Contains([]string{"", "combined", "main"}, l.Format) {
			remark = "   # no times in it: isukit tune apply nginx/measure adds them"
		}
		reopen := strings.TrimSpace("nginx "+l.Options) + " -s reopen"
		if l.Format == "of Envoy" {
			reopen, remark = "systemctl kill -s USR1 envoy", ""
		}
		line("    - {host: local, file: %s, reopen: %s}%s", l.File, quoted(f.sudo()+reopen), remark)
	}
	if len(f.SlowLogs)+len(f.Servers) > 0 {
		line("  slow:")
	}
	for _, s := range f.Servers {
		remark := ""
		if longer, err := strconv.ParseFloat(s.Longer, 64); !s.On || err != nil || longer > 0 {
			remark = "   # switch it on: SET GLOBAL slow_query_log = ON, long_query_time = 0"
		}
		line("    - {host: local, file: %s}%s", quoted(s.SlowLog), remark)
	}
	for _, file := range f.SlowLogs {
		line("    - {host: local, file: %s}", file)
	}
}

// sudo is what comes before commands that need root.
func (f *Found) sudo() string {
	if f.Root {
		return ""
	}
	return "sudo "
}

func quoted(text string) string {
	if plainExpr.MatchString(text) {
		return text
	}
	return strconv.Quote(text)
}

var plainExpr = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9/._ +=-]*$`)

func (f *Found) draftProfiles(line func(string, ...any)) {
	if len(f.Pprof) == 0 {
		line("# profiles:")
		line("#   pprof: [{url: \"http://localhost:6060\"}]   # a Go app that imports net/http/pprof")
	} else {
		line("profiles:")
		line("  pprof:")
		for _, url := range f.Pprof {
			line("    - {host: local, url: %q}", url)
		}
	}
	if slices.Contains(f.Tools, "perf") {
		line("#   perf: [{seconds: 20%s}]", map[bool]string{false: ", sudo: true"}[f.Root])
	}
}

func (f *Found) draftDatabases(line func(string, ...any)) {
	if len(f.Servers) > 0 {
		line("databases:")
		for _, s := range f.Servers {
			line("  - {host: local, client: %s}   # schema: the app's, to have examples explained", quoted(s.Client))
		}
		return
	}
	for _, db := range f.Databases {
		if db != "mysql" && db != "mariadb" {
			line("# %s runs here; isukit reads MySQL and MariaDB", db)
			continue
		}
		line("databases:")
		line("  - {host: local, client: %s%s}   # it did not answer without a password: -u, -p, -S", f.sudo(), db)
		return
	}
}
