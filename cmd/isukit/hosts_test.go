package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
)

// TestHostsFaults: errors of the command line come before a host is contacted, and a host that is gone is reported with a hint.
func TestHostsFaults(t *testing.T) {
	infratest.Real(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	write(t, config, "Host *\n  HostName 127.0.0.1\n  Port 1\n")
	t.Setenv("ISUKIT_SSH_CONFIG", config)
	write(t, filepath.Join(dir, "key.pub"), "ssh-ed25519 AAAA alice\n")
	write(t, filepath.Join(dir, "top.yaml"), "{name: top, hosts: [{name: s1, address: s1}], roles: {proxy: [{host: s1}], web: [{host: s1}], api: [{host: s1}], db: [{host: s1}]}}")
	tests := []struct {
		args   []string
		code   int
		errOut []string // parts of it
	}{
		{[]string{"hosts", "init"}, ui.ExitUsage, nil},
		{[]string{"hosts", "init", "--user", "alice", "--tool", "-x", "s1"}, ui.ExitUsage, []string{`--user "alice" is not NAME=FILE`, `"-x" cannot be the name of a tool`}},
		{[]string{"hosts", "init", "--user", "al ice=" + dir + "/key.pub", "s1"}, ui.ExitUsage, []string{`"al ice" cannot be the name of a user`}},
		{[]string{"hosts", "init", "--user", "alice=" + dir + "/none.pub", "s1"}, ui.ExitUsage, []string{"no such file"}},
		{[]string{"hosts", "init", "s1=192.0.2.1", "s1=192.0.2.2"}, ui.ExitUsage, []string{"host s1 is there twice", "hint: call it by a short name"}},
		{[]string{"hosts", "init", "--user", "alice=" + dir + "/key.pub", "s1"}, ui.ExitFailed, []string{"host s1: host unreachable", "hint: check that it runs"}},
		{[]string{"hosts", "revert", "s1"}, ui.ExitFailed, []string{"host s1: host unreachable", "hint: check that it runs"}},
		{[]string{"topology", "apply", dir + "/top.yaml", "--driver", "ssh", "-q", "--app", os.Args[0]}, ui.ExitFailed, []string{"host s1: host unreachable", "hint: check that it runs"}},
	}
	for _, tt := range tests {
		code, _, errOut := isukitState(t, dir, tt.args...)
		if code != tt.code {
			t.Errorf("%q: got code %d, %s; want %d", tt.args, code, errOut, tt.code)
		}
		for _, want := range tt.errOut {
			if !strings.Contains(errOut, want) {
				t.Errorf("%q: got %q, want %q in it", tt.args, errOut, want)
			}
		}
	}
}
