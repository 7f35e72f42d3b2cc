package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"isukit/cmd/internal/ui"
	"isukit/infra/host"
	"isukit/infra/infratest"
	"isukit/infra/infratest/realhosts"
	"isukit/infra/infratest/wait"
)

// farHost lists what is on a host: units, isukit's directories, commands in progress, mounts where it writes, listening ports, and the
// processes of its network namespace. sshd's own for each connection and the listing command come and go; other mounts are the machine's,
// whose other tests make and remove some.
const farHost = `ls -d /etc/systemd/system/isukit-* /var/lib/isukit* 2>/dev/null
find /run/isukit /run/isukit.holder -type f 2>/dev/null
awk '$2 ~ "^/(etc|home|opt|var)(/|$)" { print $1, $2, $3 }' /proc/self/mounts | sort
ss -Hltn | awk '{ print $4 }' | sort
for p in /proc/[0-9]*; do
	[ "$(readlink $p/ns/net)" = "$(readlink /proc/self/ns/net)" ] && tr '\0' ' ' <$p/cmdline && echo
done 2>/dev/null | grep -v '^sshd: \|^nginx: cache loader\|systemd\|(sd-pam)\|^sh -c\|^sh -s\|^sh $\|^tr\|^grep\|^sort\|^$' | sort
true`

// sshSite is isukit where the generator stands, over hosts a and b with sshd.
type sshSite struct {
	lab     *realhosts.Lab
	program string
	env     []string
}

func newSSHSite(t *testing.T) *sshSite {
	t.Helper()
	program, env, _ := topologyEnv(t)
	s := &sshSite{lab: realhosts.Start(t, realhosts.Named("a", "b")...), program: program}
	for _, assignment := range env {
		if strings.HasPrefix(assignment, "ISUKIT_") {
			s.env = append(s.env, assignment)
		}
	}
	s.env = append(s.env, "ISUKIT_SSH_CONFIG="+s.login(t, "id"), "ISUKIT_YES=1", "HOME="+t.TempDir(), "ISUKIT_RESULTS_DIR="+filepath.Join(s.lab.Dir, "rounds"))
	write(t, s.file("single"), "{name: single, hosts: [{name: b, address: b}], roles: {proxy: [{host: b}], web: [{host: b}], api: [{host: b}], db: [{host: b}]}}")
	write(t, s.file("two"), "{name: two, hosts: [{name: a, address: a}, {name: b, address: b}], "+
		"roles: {proxy: [{host: b}], web: [{host: a}], api: [{host: b}], db: [{host: b}, {host: a}]}, data: {write: ordered}}")
	return s
}

func (s *sshSite) file(name string) string { return filepath.Join(s.lab.Dir, name+".yaml") }

// login writes the ssh_config, with a key for host a.
func (s *sshSite) login(t *testing.T, key string) string {
	t.Helper()
	return s.lab.WriteConfig(t,
		realhosts.Login{Name: "a", Address: s.lab.Address(t, "a"), User: "isucon", Key: key, Known: "known_hosts", More: "IdentitiesOnly yes"},
		realhosts.Login{Name: "b", Address: s.lab.Address(t, "b"), User: "root", Key: "id", Known: "known_hosts"})
}

// on runs a command on a host of the lab.
func (s *sshSite) on(t *testing.T, name string, argv ...string) host.Result {
	t.Helper()
	h, err := s.lab.Host(name)
	if err != nil {
		t.Fatal(err)
	}
	res, err := h.Run(t.Context(), host.Command{Argv: argv, Env: s.env})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// must runs a shell's command on a host of the lab.
func (s *sshSite) must(t *testing.T, name, script string) string {
	t.Helper()
	res := s.on(t, name, "sh", "-c", script)
	if res.Code != 0 {
		t.Fatalf("%s on %s: exit status %d: %s", script, name, res.Code, res.Stderr)
	}
	return string(res.Stdout)
}

func (s *sshSite) isukit(t *testing.T, args ...string) (code int, errOut string) {
	t.Helper()
	res := s.on(t, "generator", append([]string{s.program, "topology"}, args...)...)
	return res.Code, string(res.Stdout) + string(res.Stderr)
}

// wantFailure wants an apply to fail with one error and one hint, and what ran to run as before.
func (s *sshSite) wantFailure(t *testing.T, what string, parts ...string) {
	t.Helper()
	code, errOut := s.isukit(t, "apply", s.file("two"), "--driver", "ssh", "-q")
	if code != ui.ExitFailed || strings.Count(errOut, "isukit: error: ") != 1 || strings.Count(errOut, "isukit: hint: ") != 1 {
		t.Errorf("%s: got exit code %d, want %d, with one error and one hint:\n%s", what, code, ui.ExitFailed, errOut)
	}
	for _, part := range parts {
		if !strings.Contains(errOut, part) {
			t.Errorf("%s: got %s\nwant %q in it", what, errOut, part)
		}
	}
	if code, out := s.isukit(t, "verify", "--driver", "ssh"); code != ui.ExitOK {
		t.Errorf("%s: what ran before does not run as before: exit code %d, %s", what, code, out)
	}
}

// cutOff kills isukit in the middle of a command, or lets it go on while a host boots, or loses its network for longer than a connection
// bears; it may fail.
func (s *sshSite) cutOff(t *testing.T, nth int, after time.Duration, args ...string) {
	t.Helper()
	if nth%3 == 0 {
		s.on(t, "generator", append([]string{"timeout", "--foreground", "-s", "KILL", fmt.Sprintf("%.3f", after.Seconds()), s.program}, args...)...)
		return
	}
	done := make(chan host.Result, 1)
	go func() { done <- s.on(t, "generator", append([]string{s.program}, args...)...) }()
	time.Sleep(after)
	if nth%3 == 1 {
		t.Log("host b boots")
		if err := s.lab.Reboot(t.Context(), "b"); err != nil {
			t.Error(err)
		}
	} else {
		name := []string{"a", "b"}[nth/3%2]
		t.Logf("host %s loses its network", name)
		if err := s.lab.Cable(t.Context(), name, false); err != nil {
			t.Error(err)
		}
		time.Sleep(35 * time.Second) // longer than ssh waits for an answer
		if err := s.lab.Cable(t.Context(), name, true); err != nil {
			t.Error(err)
		}
	}
	if err := s.lab.Awake(t.Context()); err != nil {
		t.Error(err)
	}
	res := <-done
	t.Logf("isukit %s: exit code %d %s%s", args[0], res.Code, res.Stdout, res.Stderr)
}

// settings is farHost, and what tunings and hosts init change.
const settings = farHost + `
cat /etc/passwd; sha256sum /var/lib/isukit/*/nginx.conf /var/lib/isukit/*/my.cnf 2>/dev/null
sysctl net.core.somaxconn net.ipv4.ip_local_port_range net.ipv4.tcp_max_syn_backlog
ls /etc/sysctl.d /etc/systemd/system/*.d /etc/ssh/ssh_config.d /etc/sudoers.d /var/lib | grep -v isukit-test`

// finalUndone removes the file that the project's own final leaves.
const finalUndone = "rm -f /etc/sysctl.d/measuring-off.conf"

// final writes a project whose final restarts the app on both hosts, verifies the topology and runs a round with tunings.
func (s *sshSite) final(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(s.lab.Dir, "final")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "isukit.yaml")
	write(t, file, fmt.Sprintf(`name: p
hosts: [{name: a, address: a}, {name: b, address: b}]
restart:
  - {host: b, run: systemctl restart isukit-api-1}
  - {host: a, run: sudo systemctl restart isukit-web-1}
  - {host: b, run: systemctl restart isukit-proxy-1}
benchmark:
  command: %[1]s round -t %[2]s --driver ssh --tune final --duration 1s --json -q
  score: {json: .score.total}
  pass: {json: .passed}
final:
  rounds: 1
  off: [{host: b, run: touch /etc/sysctl.d/measuring-off.conf}]
  services: [{host: a, units: [isukit-db-2, isukit-web-1]}, {host: b, units: [isukit-db-1, isukit-api-1, isukit-proxy-1]}]
  check: [{run: "for i in $(seq 60); do %[1]s topology verify --driver ssh && exit; sleep 1; done; exit 1"}]
`, s.program, s.file("two")))
	return file
}

// TestCommandsCutOffOverSSH interrupts commands over hosts at random moments: the command that reverts or repeats them leaves the hosts as
// they were. It does one random command once; make stress-topology does each 20 times.
func TestCommandsCutOffOverSSH(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	s := newSSHSite(t)
	must := func(t *testing.T, args ...string) {
		t.Helper()
		if res := s.on(t, "generator", append([]string{s.program}, args...)...); res.Code != ui.ExitOK {
			t.Fatalf("isukit %s: exit code %d: %s%s", strings.Join(args, " "), res.Code, res.Stdout, res.Stderr)
		}
	}
	apply := []string{"topology", "apply", s.file("two"), "--driver", "ssh", "-q"}
	must(t, apply...)
	random := drawn(t)
	final := []string{"final", "-q", "--project", s.final(t)}
	cases := []struct{ args, next []string }{
		{[]string{"tune", "apply", "sysctl/ports", "sysctl/backlog", "limits/nofile", "nginx/keepalive", "mysql/measure", "--driver", "ssh"}, []string{"tune", "revert", "--all", "--driver", "ssh"}},
		{[]string{"hosts", "init", "--user", "alice=" + filepath.Join(s.lab.Dir, "other.pub"), "a=a", "b=b"}, []string{"hosts", "revert", "a=a", "b=b"}},
		{[]string{"topology", "down", "--driver", "ssh", "-q"}, apply},
		{final, final},
	}
	if os.Getenv("ISUKIT_KILLS") == "" { // each takes a minute, and the last one plays rounds
		n := random.IntN(len(cases) - 1)
		cases = cases[n : n+1]
	}
	one := func(t *testing.T, args, next []string) {
		before := map[string]string{"a": s.must(t, "a", settings), "b": s.must(t, "b", settings)}
		began := time.Now()
		must(t, args...)
		took := time.Since(began)
		if s.must(t, "b", settings) == before["b"] {
			t.Errorf("isukit %s: host b looks as it did before: this test cannot fail", strings.Join(args, " "))
		}
		must(t, next...)
		s.must(t, "b", finalUndone)
		for n := range kills(1) {
			after := time.Duration(random.Int64N(int64(took)))
			s.cutOff(t, n, after, args...)
			what := fmt.Sprintf("isukit %s, cut off after %v (%d)", strings.Join(args[:2], " "), after.Round(time.Millisecond), n)
			t.Log(what)
			must(t, next...)
			s.must(t, "b", finalUndone)
			for name, was := range before {
				var now string
				wait.Within(func() bool { now = s.must(t, name, settings); return now == was })
				if diff := gocmp.Diff(strings.Split(was, "\n"), strings.Split(now, "\n")); diff != "" {
					t.Errorf("%s: host %s is not as it was (-was +is):\n%s", what, name, diff)
				}
			}
		}
	}
	for _, tt := range cases {
		t.Run(tt.args[0]+"-"+tt.args[1], func(t *testing.T) { one(t, tt.args, tt.next) })
	}
	must(t, "topology", "down", "--driver", "ssh", "-q")
}

// topologyOverSSH places topologies on hosts with sshd: errors have a hint and leave the running services alone, an isukit after a
// killed one ends in the declared state, and down leaves nothing.
func topologyOverSSH(t *testing.T) {
	infratest.Real(t)
	s := newSSHSite(t)
	s.must(t, "a", "mount -t tmpfs tmpfs /var/lib") // a disk of its own, to be filled
	before := map[string]string{"a": s.must(t, "a", farHost), "b": s.must(t, "b", farHost)}
	topology := func(args ...string) (string, error) {
		if len(args) > 1 && args[0] == "apply" {
			args[1] = s.file(args[1])
		}
		code, out := s.isukit(t, append(args, "--driver", "ssh")...)
		if code != ui.ExitOK {
			return out, fmt.Errorf("exit status %d", code)
		}
		return out, nil
	}
	if out, err := topology("apply", "single", "-q"); err != nil {
		t.Fatalf("apply: %v\n%s", err, out)
	}
	s.login(t, "other")
	s.wantFailure(t, "a wrong key", "host a: login refused", "IdentityFile")
	s.login(t, "id")
	s.must(t, "a", "mount -o remount,size=24m /var/lib")
	s.wantFailure(t, "a disk that fills up", "disk full", "ssh a df -h", "topology single was restored and is running")
	s.must(t, "a", "cat /dev/zero >/var/lib/filler 2>/dev/null; mkdir /var/lib/isukit") // as if it had been there before
	s.wantFailure(t, "a disk that is full", "disk full", "ssh a df -h", "nothing was touched: topology single runs on")
	if left := s.must(t, "a", "rm /var/lib/filler; ls /var/lib | grep -v systemd || true"); left != "" {
		t.Errorf("left on a by applies that failed: %q", left)
	}
	s.must(t, "a", "mount -o remount,size=50% /var/lib")
	nth := -1
	killApplies(t, kills(1), killing{
		goals: []string{"two", "single"}, run: topology,
		kill: func(goal string, after time.Duration) {
			nth++
			s.cutOff(t, nth, after, "topology", "apply", s.file(goal), "--driver", "ssh", "-q")
		},
		up: func() {
			if s.must(t, "b", farHost) == before["b"] {
				t.Error("host b looks as it did before the apply: this test cannot fail")
			}
		},
		down: func(do func()) {
			do()
			for name, was := range before {
				var now string
				wait.Within(func() bool { now = s.must(t, name, farHost); return now == was }) // a killed command's connection ends a little later
				if diff := gocmp.Diff(strings.Split(was, "\n"), strings.Split(now, "\n")); diff != "" {
					t.Errorf("host %s is not as it was (-was +is):\n%s", name, diff)
				}
			}
		},
	})
}
