package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isukit/infra/infratest"
)

// labRun runs a command line on a state directory, and returns its exit code and what it printed.
func labRun(t *testing.T, dir string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(context.WithoutCancel(t.Context()), append([]string{"--state-dir", dir}, args...), streams{strings.NewReader(""), &o, &e})
	return code, o.String(), e.String()
}

func TestLabCommands(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	dir := t.TempDir()
	slow := filepath.Join(dir, "slow.yaml")
	write(t, slow, `{name: slow, hosts: [{name: s1, address: 127.0.0.1, cpus: 2, memory: 2GiB, link: {rate: 100Mbit, delay: 0.2ms}}], roles: {proxy: [{host: s1}], web: [{host: s1}], api: [{host: s1}], db: [{host: s1}]}}`)
	defer labRun(t, dir, "lab", "down")
	tests := []struct {
		args        []string
		code        int
		out, errOut string // a part of each
	}{
		{[]string{"lab", "ls"}, 0, "no host is running", ""},
		{[]string{"lab", "run", "s1", "--", "true"}, 2, "", "hint: no host is running"},
		{[]string{"lab", "up", "-t", "nothing"}, 2, "", `topology "nothing" does not exist`},
		{[]string{"lab", "up", "--cpu-scale", "-1"}, 2, "", "below 0"},
		{[]string{"lab", "up", "-t", "fanout-2"}, 0, "10.77.0.11", "up in"},
		{[]string{"lab", "up", "-t", "fanout-2", "--cpu-scale", "0.25"}, 0, "0.50", "up in"},
		{[]string{"lab", "up", "-t", slow, "--cpu-scale", "0.25"}, 0, "100 Mbit/s; delay: 200µs", "up in"},
		{[]string{"lab", "run", "s1", "--", "uname", "-n"}, 0, "s1\n", ""},
		{[]string{"lab", "run", "s1", "--", "sh", "-c", "exit 3"}, 1, "", "sh on s1 ended with exit status 3"},
		{[]string{"lab", "run", "s9", "--", "true"}, 2, "", "hint: have s1, switch, generator"},
		{[]string{"lab", "run", "s1", "--", "no-such-program"}, 1, "", "no-such-program"},
		{[]string{"lab", "fault", "s1"}, 2, "", "no fault"},
		{[]string{"lab", "fault", "s1", "--loss", "5"}, 2, "", `loss "5": want a percentage`},
		{[]string{"lab", "fault", "s1", "--jitter", "1s", "--oneway", "up"}, 2, "", "want \"in\""},
		{[]string{"lab", "fault", "s1", "--stall"}, 2, "", "--for"},
		{[]string{"lab", "fault", "s1", "--cut", "--for=-1s"}, 2, "", "before its end"},
		{[]string{"lab", "fault", "s1", "--clear", "--cut"}, 2, "", "--clear"},
		{[]string{"lab", "fault", "s9", "--cut"}, 2, "", "hint: have s1, switch, generator"},
		{[]string{"lab", "fault", "s1", "--cut", "--peer", "s9"}, 2, "", "hint: have s1, switch, generator"},
		{[]string{"lab", "fault", "s1", "--loss", "2%", "--oneway", "out", "--peer", "generator"}, 0, "", "link of s1: loss: 2%, peer: generator, way: out"},
		{[]string{"lab", "ls"}, 0, "fault: loss: 2%, peer: generator, way: out", ""},
		{[]string{"lab", "fault", "s1", "--clear"}, 0, "", "no fault"},
		{[]string{"lab", "run", "switch", "--", "ip", "-brief", "link", "show", "master", "br0"}, 0, "w-s1", ""},
		{[]string{"lab", "down"}, 0, "", "the lab was removed"},
		{[]string{"lab", "down"}, 0, "", "no host was running"},
		{[]string{"lab", "ls", "--json"}, 0, "", ""},
	}
	for _, tt := range tests {
		code, out, errOut := labRun(t, dir, tt.args...)
		if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(errOut, tt.errOut) {
			t.Errorf("%q: got code %d, stdout %q, stderr %q; want %d, %q, %q", tt.args, code, out, errOut, tt.code, tt.out, tt.errOut)
		}
	}
}

// TestLabSystemd boots a server of the lab as a user does, and logs in from the place of the load generator.
func TestLabSystemd(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	dir := t.TempDir()
	top := filepath.Join(dir, "top.yaml")
	write(t, top, `{name: top, hosts: [{name: s1, address: 10.77.0.11, cpus: 1, memory: 1GiB}], roles: {proxy: [{host: s1}], web: [{host: s1}], api: [{host: s1}], db: [{host: s1}]}}`)
	defer labRun(t, dir, "lab", "down")
	local := filepath.Join(infratest.Root(t), ".local")
	if code, _, errOut := labRun(t, dir, "lab", "up", "-t", top, "--local-dir", local); code != 2 {
		t.Errorf("--local-dir without --systemd: code %d, want 2: %s", code, errOut)
	}
	code, _, errOut := labRun(t, dir, "lab", "up", "-t", top, "--systemd", "--local-dir", local)
	config := filepath.Join(dir, "lab-ssh", "config")
	if code != 0 || !strings.Contains(errOut, "env ISUKIT_SSH_CONFIG="+config+" isukit topology apply "+top+" --driver ssh") {
		t.Fatalf("lab up --systemd: code %d, %s; want what comes next", code, errOut)
	}
	code, out, errOut := labRun(t, dir, "lab", "run", "generator", "--", "ssh", "-F", config, "-o", "BatchMode=yes", "s1", "sudo -n systemctl is-system-running --wait; hostname")
	if code != 0 || !strings.HasSuffix(out, "running\ns1\n") {
		t.Errorf("a login to s1: code %d, %q, %s; want a host that runs", code, out, errOut)
	}
	if code, _, errOut := labRun(t, dir, "lab", "down"); code != 0 {
		t.Error(errOut)
	}
	if _, err := os.Stat(filepath.Dir(config)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("keys after lab down: %v, want none", err)
	}
}

func TestLabLsJSON(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	dir := t.TempDir()
	defer labRun(t, dir, "lab", "down")
	if code, _, errOut := labRun(t, dir, "lab", "up", "-t", "fanout-2", "--cpu-scale", "0.25"); code != 0 {
		t.Fatal(errOut)
	}
	_, out, _ := labRun(t, dir, "lab", "ls", "--json")
	hosts, err := parseLines[labHost](out)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(hosts) != 1 || hosts[0].Name != "s1" || hosts[0].CPUs <= 0 || hosts[0].MemoryBytes <= 0 || len(hosts[0].Services) != 0 {
		t.Errorf("isukit lab ls --json: got %+v, want s1 with CPUs and memory", hosts)
	}
}
