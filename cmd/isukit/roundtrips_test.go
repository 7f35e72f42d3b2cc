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

// countingSSH is an ssh that writes down each time it is run to go to a host: a round trip, through the jump host where there is one.
// Only the first to a host logs in.
const countingSSH = `#!/bin/sh
case $1 in -O | -G) ;; *) echo "$*" >>"$ISUKIT_TEST_TRIPS" ;; esac
exec /usr/bin/ssh "$@"
`

// TestSSHRoundTrips counts how often commands go to three hosts behind a jump host: that is what they take time for, on any network.
// Most go to all hosts at once, which a count does not show.
func TestSSHRoundTrips(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	program, env, _ := topologyEnv(t)
	s := &sshSite{lab: realhosts.Start(t, realhosts.Named("a", "b", "c", "jump")...), program: program}
	logins := []realhosts.Login{{Name: "jump", Address: s.lab.Address(t, "jump"), User: "isucon", Key: "id", Known: "known_hosts"}}
	for _, name := range []string{"a", "b", "c"} {
		logins = append(logins, realhosts.Login{Name: name, Address: s.lab.Address(t, name), User: "isucon", Key: "id", Known: "known_hosts", More: "ProxyJump jump"})
	}
	trips := filepath.Join(s.lab.Dir, "trips")
	for _, assignment := range env {
		if strings.HasPrefix(assignment, "ISUKIT_") {
			s.env = append(s.env, assignment)
		}
	}
	s.env = append(s.env, "ISUKIT_SSH_CONFIG="+s.lab.WriteConfig(t, logins...), "HOME="+t.TempDir(),
		"ISUKIT_TEST_TRIPS="+trips, "PATH="+s.lab.Dir+":"+os.Getenv("PATH"))
	write(t, filepath.Join(s.lab.Dir, "ssh"), countingSSH)
	if err := os.Chmod(filepath.Join(s.lab.Dir, "ssh"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, s.file("three"), "{name: three, hosts: [{name: a, address: a}, {name: b, address: b}, {name: c, address: c}], "+
		"roles: {proxy: [{host: a}], web: [{host: b}], api: [{host: b}], db: [{host: c}]}}")
	write(t, s.file("swapped"), "{name: swapped, hosts: [{name: a, address: a}, {name: b, address: b}, {name: c, address: c}], "+
		"roles: {proxy: [{host: b}], web: [{host: a}], api: [{host: b}], db: [{host: c}]}}")
	for _, tt := range []struct {
		most int
		args []string
	}{
		{150, []string{"topology", "apply", s.file("three"), "-q"}}, // those that wait until a server answers are among them: the slower the machine, the more
		{25, []string{"topology", "apply", s.file("three"), "-q"}},
		{16, []string{"topology", "status"}},
		{23, []string{"topology", "verify"}},
		{17, []string{"topology", "apply", s.file("swapped"), "--dry-run"}},
		{27, []string{"tune", "diff", "final"}},
		{72, []string{"tune", "apply", "sysctl/ports"}},
		{95, []string{"tune", "apply", "final"}},
		{56, []string{"tune", "verify"}},
		{130, []string{"tune", "revert", "--all"}},
		{130, []string{"topology", "apply", s.file("swapped"), "-q"}}, // as above
		{22, []string{"topology", "down", "-q"}},
	} {
		os.Remove(trips)
		began := time.Now()
		res := s.on(t, "generator", append(append([]string{program}, tt.args...), "--driver", "ssh")...)
		took := time.Since(began)
		text, err := os.ReadFile(trips)
		if err != nil {
			t.Fatal(err)
		}
		n := strings.Count(string(text), "\n")
		t.Logf("%3d round trips, %.1f s: isukit %s", n, took.Seconds(), strings.Join(tt.args, " "))
		if res.Code != ui.ExitOK {
			t.Fatalf("exit status %d: %s%s", res.Code, res.Stdout, res.Stderr)
		}
		if n > tt.most {
			t.Errorf("isukit %s: got %d round trips, want at most %d", strings.Join(tt.args, " "), n, tt.most)
		}
	}
}
