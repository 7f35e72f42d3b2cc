package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
	"isukit/infra/infratest/realhosts"
)

// countingSSH is an ssh that is as far away as $ISUKIT_TEST_DELAY says, in seconds, and writes down what it takes to a host: a script,
// which is a round trip, or a connection that it forwards.
const countingSSH = `#!/bin/sh
case " $* " in *" -O "* | *" -G "*) ;; *) sleep "$ISUKIT_TEST_DELAY"; echo " $*" >>"$ISUKIT_TEST_TRIPS" ;; esac
exec /usr/bin/ssh "$@"
`

// countTrips is the environment for an isukit whose ssh writes down in file what it does; see trips.
func countTrips(t *testing.T, dir, delay string) (env []string, file string) {
	t.Helper()
	infratest.Program(t, filepath.Join(dir, "ssh"), countingSSH)
	file = filepath.Join(dir, "trips")
	return []string{"ISUKIT_TEST_DELAY=" + delay, "ISUKIT_TEST_TRIPS=" + file, "PATH=" + dir + ":" + os.Getenv("PATH")}, file
}

// trips are how often a host was asked, by what it is called for ssh; connections that are forwarded are under that name with "-W" before
// it.
func trips(t *testing.T, file string) map[string]int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for line := range strings.Lines(string(text)) {
		_, to, ours := strings.Cut(line, " -- ")
		if !ours { // of ProxyJump
			continue
		}
		name := strings.Fields(to)[0]
		if strings.HasPrefix(line, " -W ") {
			name = "-W " + name
		}
		n[name]++
	}
	return n
}

// TestSSHRoundTrips counts how often commands go to each of three hosts behind a jump host: that is what they take time for, on any network.
func TestSSHRoundTrips(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	program, env, _ := topologyEnv(t)
	s := &sshSite{lab: realhosts.Start(t, realhosts.Named("a", "b", "c", "jump")...), program: program}
	logins := []realhosts.Login{{Name: "jump", Address: s.lab.Address(t, "jump"), User: "isucon", Key: "id", Known: "known_hosts"}}
	for _, name := range []string{"a", "b", "c"} {
		logins = append(logins, realhosts.Login{Name: name, Address: s.lab.Address(t, name), User: "isucon", Key: "id", Known: "known_hosts", More: "ProxyJump jump"})
	}
	counting, file := countTrips(t, s.lab.Dir, "0.05")
	for _, assignment := range env {
		if strings.HasPrefix(assignment, "ISUKIT_") {
			s.env = append(s.env, assignment)
		}
	}
	s.env = append(append(s.env, "ISUKIT_SSH_CONFIG="+s.lab.WriteConfig(t, logins...), "HOME="+t.TempDir()), counting...)
	write(t, s.file("three"), "{name: three, hosts: [{name: a, address: a}, {name: b, address: b}, {name: c, address: c}], "+
		"roles: {proxy: [{host: a}], web: [{host: b}], api: [{host: b}], db: [{host: c}]}}")
	write(t, s.file("swapped"), "{name: swapped, hosts: [{name: a, address: a}, {name: b, address: b}, {name: c, address: c}], "+
		"roles: {proxy: [{host: b}], web: [{host: a}], api: [{host: b}], db: [{host: c}]}}")
	for _, tt := range []struct {
		most int
		args []string
	}{
		{100, []string{"topology", "apply", s.file("three"), "-q"}}, // those that wait until a server answers are among them: the slower the machine, the more
		{6, []string{"topology", "apply", s.file("three"), "-q"}},
		{3, []string{"topology", "status"}},
		{4, []string{"topology", "verify"}},
		{4, []string{"topology", "apply", s.file("swapped"), "--dry-run"}},
		{4, []string{"tune", "diff", "final"}},
		{4, []string{"tune", "apply", "sysctl/ports"}},
		{4, []string{"tune", "apply", "sysctl/backlog", "sysctl/fin-timeout", "sysctl/idle-links", "sysctl/mtu-probing", "sysctl/timewait", "sysctl/hugepages", "limits/nofile"}},
		{20, []string{"tune", "apply", "final"}}, // as above: a database is restarted
		{4, []string{"tune", "verify"}},
		{24, []string{"tune", "revert", "--all"}},                     // as above
		{100, []string{"topology", "apply", s.file("swapped"), "-q"}}, // as above
		{12, []string{"topology", "down", "-q"}},
	} {
		os.Remove(file)
		began := time.Now()
		res := s.on(t, "generator", append(append([]string{program}, tt.args...), "--driver", "ssh")...)
		took := time.Since(began)
		n := trips(t, file)
		t.Logf("scripts %v, %.1f s: isukit %s", n, took.Seconds(), strings.Join(tt.args, " "))
		if res.Code != ui.ExitOK {
			t.Fatalf("exit status %d: %s%s", res.Code, res.Stdout, res.Stderr)
		}
		for _, name := range []string{"a", "b", "c"} {
			if n[name] > tt.most {
				t.Errorf("isukit %s: got %d round trips to %s, want at most %d", strings.Join(tt.args, " "), n[name], name, tt.most)
			}
		}
	}
}
