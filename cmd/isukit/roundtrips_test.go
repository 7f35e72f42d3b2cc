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

// countingSSH is an ssh 50 ms farther away that writes down each script that it takes to a host: a round trip. Connections that it
// forwards are not scripts.
const countingSSH = `#!/bin/sh
case " $* " in *" -O "* | *" -G "*) ;; *) sleep 0.05 ;; esac
case " $* " in *" -O "* | *" -G "* | *" -W "*) ;; *) echo "$*" >>"$ISUKIT_TEST_TRIPS" ;; esac
exec /usr/bin/ssh "$@"
`

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
		os.Remove(trips)
		began := time.Now()
		res := s.on(t, "generator", append(append([]string{program}, tt.args...), "--driver", "ssh")...)
		took := time.Since(began)
		text, err := os.ReadFile(trips)
		if err != nil {
			t.Fatal(err)
		}
		n := map[string]int{}
		for line := range strings.Lines(string(text)) {
			_, to, _ := strings.Cut(line, " -- ")
			n[strings.Fields(to)[0]]++
		}
		t.Logf("scripts %v, %.1f s: isukit %s", n, took.Seconds(), strings.Join(tt.args, " "))
		if res.Code != ui.ExitOK {
			t.Fatalf("exit status %d: %s%s", res.Code, res.Stdout, res.Stderr)
		}
		for name, n := range n {
			if n > tt.most {
				t.Errorf("isukit %s: got %d round trips to %s, want at most %d", strings.Join(tt.args, " "), n, name, tt.most)
			}
		}
	}
}
