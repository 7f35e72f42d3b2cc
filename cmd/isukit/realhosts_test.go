package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/host"
	"isukit/infra/infratest"
	"isukit/infra/infratest/realhosts"
	"isukit/infra/infratest/wait"
)

// serverState is what isukit must leave unchanged on a server: files with their contents, without those that systemd, logs and logins write
// and the copies of useradd (/etc/passwd-), accounts, units, mounts, listening ports, processes, rules and settings.
const serverState = `find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /dev -o -path /var/log -o -path /var/tmp -o -path /var/cache \
	-o -path /var/lib/systemd -o -path /var/lib/dbus -o -path /etc/machine-id -o -path '/etc/*-' \) -prune -o -newer /etc/isukit-test-began ! -type d -print -exec sha256sum {} + 2>/dev/null | sort
ls -A / /etc /etc/systemd/system /etc/systemd/system/* /etc/sysctl.d /etc/tmpfiles.d /var/lib /home /run/systemd/system 2>/dev/null | grep -v '[a-z]-$'
cat /etc/passwd /etc/group /etc/shadow
systemctl list-unit-files --no-legend --plain | awk '$2 != "transient" { print $1, $2 }'
awk '$2 !~ "^/run/user/" { print $1, $2, $3 }' /proc/self/mounts | sort
ss -Hltnx | awk '$5 !~ "^/run/user/" { print $1, $5 }' | sed 's/@.*//' | sort
ps -eo user:20=,args= | grep -v 'sshd: \|systemd --user\|(sd-pam)\|ps -eo\|sed \|sort\|sh -c\|grep ' | sort
sysctl -a 2>/dev/null | grep '^net\.\(core\|ipv4\)' | grep -v 'random\|_mem\|metrics\|neigh'
true`

// realSite is isukit on the user's laptop, over servers.
type realSite struct {
	lab     *realhosts.Lab
	program string
	env     []string
	dir     string
	trips   string // what ssh was asked for
}

// newRealSite boots the hosts of a shipped topology; the laptop knows them by the addresses in it.
func newRealSite(t *testing.T, name string) *realSite {
	t.Helper()
	program, env, _ := topologyEnv(t)
	top, err := infra.Shipped(name)
	if err != nil {
		t.Fatal(err)
	}
	var wants []host.Want
	for _, h := range top.Hosts {
		wants = append(wants, infra.WantOf(h))
	}
	wants[len(wants)-1].CPUs = 0.5 // what it has counts, and not what is declared
	s := &realSite{lab: realhosts.Start(t, wants...), program: program, dir: t.TempDir()}
	var logins []realhosts.Login
	for _, w := range wants {
		logins = append(logins, realhosts.Login{Name: w.Address, Address: w.Address, User: "isucon", Key: "id", Known: "known_hosts"})
	}
	for _, assignment := range env {
		if strings.HasPrefix(assignment, "ISUKIT_") {
			s.env = append(s.env, assignment)
		}
	}
	counting, file := countTrips(t, s.lab.Dir, "0")
	s.trips = file
	s.env = append(append(s.env, "ISUKIT_SSH_CONFIG="+s.lab.WriteConfig(t, logins...), "HOME="+t.TempDir(), "ISUKIT_RESULTS_DIR="+filepath.Join(s.dir, "rounds")), counting...)
	return s
}

const anyCode = -1

// isukit runs it on the laptop, and wants an exit code.
func (s *realSite) isukit(t *testing.T, want int, args ...string) string {
	t.Helper()
	code, out := s.run(t, args...)
	if code != want && want != anyCode {
		t.Fatalf("isukit %s: exit code %d, want %d\n%s", strings.Join(args, " "), code, want, out)
	}
	return out
}

// run runs isukit on the laptop; it may be called from any goroutine.
func (s *realSite) run(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	h, err := s.lab.Host("generator")
	if err != nil {
		return anyCode, err.Error()
	}
	began := time.Now()
	res, err := h.Run(t.Context(), host.Command{Argv: append([]string{s.program}, args...), Env: s.env, Dir: s.dir})
	if err != nil {
		return anyCode, err.Error()
	}
	t.Logf("%.1f s: isukit %s", time.Since(began).Seconds(), strings.Join(args, " "))
	return res.Code, string(res.Stdout) + string(res.Stderr)
}

func (s *realSite) names(t *testing.T) []string {
	t.Helper()
	wants, err := s.lab.Hosts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, w := range wants {
		names = append(names, w.Name)
	}
	return names
}

// healthy waits until the proxy serves the portal, with nothing that runs but what the servers have started.
func (s *realSite) healthy(t *testing.T, url string) {
	t.Helper()
	wait.ForNil(t, url+" to answer after a boot", func() error {
		status := strings.TrimSpace(s.lab.Must(t, "generator", "curl -s -m 3 -o /dev/null -w '%{http_code}' "+url+"/ 2>&1 || true"))
		if status < "200" || status >= "500" {
			return fmt.Errorf("its status is %q", status)
		}
		return nil
	})
}

// realHosts takes servers through a contest's day: a topology comes on virgin ones, survives a reboot and the loss of power
// without isukit, is not disturbed by what looks at it, and goes without a trace.
func realHosts(t *testing.T) {
	s := newRealSite(t, "final-1")
	s.states(t, "touch -d '1 minute ago' /etc/isukit-test-began; systemctl is-system-running --wait >/dev/null; true")
	before := s.states(t, serverState)
	plan := s.isukit(t, ui.ExitOK, "topology", "apply", "final-1", "--driver", "ssh", "--dry-run")
	if !strings.Contains(plan, "isukit-app") {
		t.Errorf("the plan for virgin hosts:\n%s", plan)
	}
	s.isukit(t, ui.ExitOK, "topology", "apply", "final-1", "--driver", "ssh", "-q")
	const url = "http://10.77.0.11:8080"
	s.healthy(t, url)
	s.isukit(t, ui.ExitOK, "tune", "apply", "sysctl/ports", "limits/nofile", "--driver", "ssh", "-q")
	if err := s.lab.Reboot(t.Context(), "s2"); err != nil {
		t.Fatal(err)
	}
	if err := s.lab.Awake(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.healthy(t, url)
	s.isukit(t, ui.ExitOK, "topology", "verify", "--driver", "ssh")
	if err := s.lab.PowerCut(t.Context(), s.names(t)...); err != nil {
		t.Fatal(err)
	}
	if err := s.lab.Awake(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.healthy(t, url)
	if status := s.isukit(t, ui.ExitOK, "topology", "status", "--driver", "ssh", "--json"); !strings.Contains(status, `"cpus": 0.5`) {
		t.Errorf("s3 has 0.5 CPUs; the status says:\n%s", status)
	}
	s.isukit(t, ui.ExitOK, "topology", "verify", "--driver", "ssh")
	s.isukit(t, ui.ExitOK, "tune", "verify", "--driver", "ssh")
	s.isukit(t, ui.ExitUsage, "topology", "verify", "--driver", "ssh", "--reboot", "all") // there is nobody to ask
	if out := s.isukit(t, ui.ExitOK, "topology", "verify", "--driver", "ssh", "--reboot", "all", "--no-ask", "--duration", "2s"); !strings.Contains(out, "everything matches the applied topology") ||
		strings.Contains(out, "dataset") { // the data is not made again
		t.Errorf("verify --reboot all:\n%s", out)
	}
	s.away(t)
	s.rebootInRound(t)
	s.finalUnits(t)
	s.project(t)
	s.team(t)
	s.downPartly(t)
	s.wantAsBefore(t, before)
}

// downPartly removes what is up while a server is away, which is asked once, and what that one has when it is back.
func (s *realSite) downPartly(t *testing.T) {
	t.Helper()
	if err := s.lab.Cable(t.Context(), "s2", false); err != nil {
		t.Fatal(err)
	}
	os.Remove(s.trips)
	out := s.isukit(t, ui.ExitFailed, "topology", "down", "--driver", "ssh")
	if n := trips(t, s.trips); n["10.77.0.12"] != 1 || !strings.Contains(out, "host s2: host unreachable") || !strings.Contains(out, "once it answers") {
		t.Errorf("down while s2 is away, which was asked %d times:\n%s", n["10.77.0.12"], out)
	}
	if left := s.lab.Must(t, "s1", "ls -d /var/lib/isukit /etc/systemd/system/isukit-* 2>/dev/null; true"); left != "" {
		t.Errorf("left on s1 by a down while s2 is away:\n%s", left)
	}
	if err := s.lab.Cable(t.Context(), "s2", true); err != nil {
		t.Fatal(err)
	}
	if err := s.lab.Awake(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.isukit(t, ui.ExitOK, "topology", "down", "--driver", "ssh", "-q")
}

// finalUnits has isukit final look at units on s3: only those count that a boot starts.
func (s *realSite) finalUnits(t *testing.T) {
	t.Helper()
	s.lab.Must(t, "s3", `cd /etc/systemd/system
for unit in on still wanted runtime; do printf '[Service]\nExecStart=/bin/sleep 1000\n' >fu-$unit.service; done
printf '[Unit]\nWants=fu-wanted.service\n[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n' >fu-on.service
printf '[Install]\nWantedBy=multi-user.target\n' >>fu-runtime.service
systemctl daemon-reload && systemctl enable -q fu-on && systemctl enable -q --runtime fu-runtime`)
	defer s.lab.Must(t, "s3", "systemctl disable -q fu-on; systemctl disable -q --runtime fu-runtime; rm /etc/systemd/system/fu-*; systemctl daemon-reload")
	var all sync.WaitGroup
	defer all.Wait()
	for units, want := range map[string]int{"fu-on, fu-wanted.service, ssh": ui.ExitOK, "fu-on, fu-still, fu-runtime, nginx, fu-none": ui.ExitFailed} {
		file := filepath.Join(t.TempDir(), "isukit.yaml")
		write(t, file, "name: p\nhosts: [{name: s3, address: 10.77.0.13}]\nbenchmark: {command: \"echo '{\\\"pass\\\":true,\\\"score\\\":5}'\", score: {json: .score}, pass: {json: .pass}}\n"+
			"final: {rounds: 1, services: [{host: s3, units: ["+units+"]}]}\n")
		all.Go(func() {
			code, out := s.run(t, "final", "-q", "--project", file)
			if code != want {
				t.Errorf("final with units %s: exit code %d, want %d\n%s", units, code, want, out)
			}
			for _, off := range []string{"fu-still (static)", "fu-runtime (enabled-runtime)", "nginx (disabled)", "fu-none (not-found)"} {
				if want != ui.ExitOK && !strings.Contains(out, off) {
					t.Errorf("final with units %s: no %q in\n%s", units, off, out)
				}
			}
		})
	}
}

// away lets a server lose its network: the others' output is printed, and the silent one is named.
func (s *realSite) away(t *testing.T) {
	t.Helper()
	if err := s.lab.Cable(t.Context(), "s2", false); err != nil {
		t.Fatal(err)
	}
	os.Remove(s.trips)
	commands := [][]string{{"topology", "status"}, {"topology", "verify"}, {"doctor", "-t", "final-1", "--only", "disk-full"}}
	codes, outs := make([]int, len(commands)), make([]string, len(commands))
	var all sync.WaitGroup
	for n, args := range commands { // in parallel: each waits for the silent one
		all.Go(func() { codes[n], outs[n] = s.run(t, append(args, "--driver", "ssh")...) })
	}
	all.Wait()
	// A connection takes 10 s until it is given up: each command tries once.
	if n := trips(t, s.trips); n["10.77.0.12"]+n["-W 10.77.0.12"] != len(commands) || n["10.77.0.11"] < len(commands) {
		t.Errorf("%d commands have asked hosts so often: %v; want %[1]d times the one that is silent", len(commands), n)
	}
	status := outs[0]
	for _, line := range strings.Split(status, "\n") {
		if f := strings.Fields(line); len(f) > 7 && (f[0] == "s1" || f[0] == "s3") && strings.HasPrefix(f[4], "proxy") && f[7] != "healthy" {
			t.Errorf("status beside a server that is away: %s", line)
		}
	}
	for _, want := range []string{"s2 is unreachable", "unknown", "host s2: host unreachable"} {
		if !strings.Contains(status, want) || codes[0] != ui.ExitFailed {
			t.Errorf("status beside a server that is away: exit code %d, no %q in\n%s", codes[0], want, status)
		}
	}
	if !strings.Contains(outs[1], "s2: cannot be asked") || codes[1] != ui.ExitRound {
		t.Errorf("verify beside a server that is away: exit code %d\n%s", codes[1], outs[1])
	}
	if !strings.Contains(outs[2], "host s2: host unreachable") || !strings.Contains(outs[2], "(1 checks)") {
		t.Errorf("doctor beside a server that is away:\n%s", outs[2])
	}
	if err := s.lab.Cable(t.Context(), "s2", true); err != nil {
		t.Fatal(err)
	}
	wait.ForNil(t, "s2 to be back", func() error {
		if out := s.isukit(t, anyCode, "topology", "status", "--driver", "ssh"); strings.Contains(out, "unknown") {
			return fmt.Errorf("status: %s", out)
		}
		return nil
	})
}

// rebootInRound has a server reboot while a round loads: the round fails as a round does, and is on record with the reason.
func (s *realSite) rebootInRound(t *testing.T) {
	t.Helper()
	h, err := s.lab.Host("generator")
	if err != nil {
		t.Fatal(err)
	}
	said, done := filepath.Join(s.dir, "said"), make(chan host.Result, 1)
	go func() {
		res, err := h.Run(t.Context(), host.Command{Argv: []string{"sh", "-c", `exec "$0" round -t final-1 --driver ssh --duration 10s >said 2>&1`, s.program}, Env: s.env, Dir: s.dir})
		if err != nil {
			t.Error(err)
		}
		done <- res
	}()
	wait.For(t, "the load", func() bool { text, _ := os.ReadFile(said); return strings.Contains(string(text), "load: adding users") })
	if err := s.lab.Reboot(t.Context(), "s2"); err != nil {
		t.Fatal(err)
	}
	res := <-done
	text, err := os.ReadFile(said)
	if out := string(text); err != nil || res.Code != ui.ExitRound || !strings.Contains(out, "a server stopped during the round: ") || !strings.Contains(out, "\nrecord ") {
		t.Errorf("a round in which s2 boots: exit code %d, %v; want %d, the reason and a record\n%s", res.Code, err, ui.ExitRound, out)
	}
	if err := s.lab.Awake(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// project looks at the servers from a project that calls them by names of its own: what is up stays on record as it was.
func (s *realSite) project(t *testing.T) {
	t.Helper()
	file := filepath.Join(s.dir, "isukit.yaml")
	write(t, file, "name: p\nhosts: [{name: front, address: 10.77.0.11}, {name: s2, address: 10.77.0.12}]\nbenchmark: {command: \"true\", score: {json: .score}}\n")
	s.isukit(t, anyCode, "doctor") // it may find something: the machine is busy
	os.Remove(file)
	s.isukit(t, ui.ExitOK, "topology", "verify", "--driver", "ssh")
}

// team logs a person in and out whose account is reverted immediately, while systemd still keeps their manager.
func (s *realSite) team(t *testing.T) {
	t.Helper()
	s.isukit(t, ui.ExitOK, "hosts", "init", "--user", "alice="+filepath.Join(s.lab.Dir, "other.pub"), "s1=10.77.0.11", "s2=10.77.0.12")
	s.lab.Must(t, "generator", "ssh -T -F "+filepath.Join(s.lab.Dir, "config")+" -o BatchMode=yes -o User=alice -o IdentitiesOnly=yes -i "+filepath.Join(s.lab.Dir, "other")+" 10.77.0.11 sudo -n true")
	s.isukit(t, ui.ExitOK, "hosts", "revert", "s1=10.77.0.11", "s2=10.77.0.12")
}

// states runs a script on all servers, in parallel, and returns what each of them printed.
func (s *realSite) states(t *testing.T, script string) map[string]string {
	t.Helper()
	names := s.names(t)
	outs, errs := make([]string, len(names)), make([]error, len(names))
	var all sync.WaitGroup
	for n, name := range names {
		all.Go(func() {
			h, err := s.lab.Host(name)
			if err == nil {
				outs[n], err = host.Must(t.Context(), h, host.Command{Argv: []string{"env", "-u", "TMPDIR", "sh", "-c", script}})
			}
			errs[n] = err
		})
	}
	all.Wait()
	infratest.NoError(t, errors.Join(errs...))
	states := map[string]string{}
	for n, name := range names {
		states[name] = outs[n]
	}
	return states
}

// wantAsBefore waits until servers are as they were: systemd keeps the manager of somebody who has logged out for some seconds.
func (s *realSite) wantAsBefore(t *testing.T, before map[string]string) {
	t.Helper()
	var now map[string]string
	wait.Within(func() bool { now = s.states(t, serverState); return maps.Equal(now, before) })
	for name, was := range before {
		if diff := gocmp.Diff(strings.Split(was, "\n"), strings.Split(now[name], "\n")); diff != "" {
			t.Errorf("server %s is not as it was (-was +is):\n%s", name, diff)
		}
	}
}
