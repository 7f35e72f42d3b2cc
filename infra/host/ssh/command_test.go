package ssh_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// commands runs isukit itself against hosts over ssh: the doctor is silent on healthy ones and names problems with a command that fixes
// them, and tunings are applied, verified and reverted.
func commands(t *testing.T, dir string) {
	top := filepath.Join(dir, "commands.yaml")
	if err := os.WriteFile(top, []byte("{name: commands, hosts: [{name: a, address: a}, {name: b, address: b}], roles: {proxy: [{host: a}], web: [{host: b}], api: [{host: b}], db: [{host: b}]}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "ISUKIT_STATE_DIR="+filepath.Join(dir, "commands"), "ISUKIT_SSH_CONFIG="+filepath.Join(dir, "config"), "ISUKIT_SCALE=small")
	// asked is how many scripts a command runs on hosts: each is a round trip. Connections that are forwarded are not counted.
	asked := func(args ...string) int {
		t.Helper()
		count := filepath.Join(dir, "asked")
		wrapper := filepath.Join(dir, "wrapped", "ssh")
		real, err := exec.LookPath("ssh")
		if err == nil {
			err = errors.Join(os.MkdirAll(filepath.Dir(wrapper), 0o700),
				os.WriteFile(wrapper, []byte("#!/bin/sh\ncase \" $* \" in *' -W '* | *' -O '* | *' -G '*) ;; *) echo . >>'"+count+"' ;; esac\nexec "+real+" \"$@\"\n"), 0o700))
		}
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "isukit"), append(args, "--driver", "ssh")...)
		cmd.Env = append(slices.Clone(env), "PATH="+filepath.Dir(wrapper)+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("isukit %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		text, err := os.ReadFile(count)
		if err := errors.Join(err, os.Remove(count)); err != nil {
			t.Fatal(err)
		}
		t.Logf("isukit %s: %d scripts", strings.Join(args, " "), strings.Count(string(text), "."))
		return strings.Count(string(text), ".")
	}
	isukit := func(fails bool, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, filepath.Join(dir, "isukit"), append(args, "--driver", "ssh")...)
		cmd.Env = env
		began := time.Now()
		out, err := cmd.CombinedOutput()
		t.Logf("%.1f s: isukit %s", time.Since(began).Seconds(), strings.Join(args, " "))
		if (err != nil) != fails {
			t.Fatalf("isukit %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	isukit(false, "topology", "apply", top, "-q")
	if n := asked("topology", "status"); n > 2*2 {
		t.Errorf("topology status ran %d scripts on two hosts, want two on each", n)
	}
	asked("topology", "apply", top)
	defer func() { isukit(false, "topology", "down") }()
	// on runs a script as root, as another program would.
	on := func(name, script string) string {
		t.Helper()
		cmd := exec.Command("ssh", "-F", filepath.Join(dir, "config"), name, "sudo -n sh -s")
		cmd.Stdin = strings.NewReader(script)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s on %s: %v: %s", script, name, err, out)
		}
		return strings.Join(strings.Fields(string(out)), " ")
	}

	// What else this machine does, and how full its disk is, is not the hosts' fault.
	healthy := isukit(false, "doctor", "--skip", "cpu-others,disk-full,swap")
	if !strings.Contains(healthy, "nothing found") || strings.Contains(healthy, "warning") {
		t.Errorf("healthy hosts:\n%s", healthy)
	}
	on("a", "ip link set eth0 mtu 1400")
	const ports = "net.ipv4.ip_local_port_range"
	before := on("b", "sysctl -n "+ports)
	out := isukit(false, "tune", "apply", "mysql/flush-never", "sysctl/ports", "nginx/logs-off", "--accept-risk", "mysql/flush-never")
	for _, want := range []string{ports + " file", ports + " runtime", "innodb_flush_log_at_trx_commit runtime", "http > access_log file", "reloaded"} {
		if !strings.Contains(out, want) {
			t.Errorf("tune apply: no %q in\n%s", want, out)
		}
	}
	found := isukit(true, "doctor", "--only", "mtu-differs,durability")
	for _, want := range []string{"warn  mtu-differs", "fix: ip link set", "innodb_flush_log_at_trx_commit is 0", "fix: SET GLOBAL"} {
		if !strings.Contains(found, want) {
			t.Errorf("two traps: no %q in\n%s", want, found)
		}
	}
	on("a", "ip link set eth0 mtu 1500")

	now := on("b", "sysctl -n "+ports)
	if now == before {
		t.Errorf("%s of b is still %s", ports, now)
	}
	on("b", "sysctl -w "+ports+"='20000 60000'")
	if out := isukit(true, "tune", "verify"); !strings.Contains(out, "it is 20000 60000") {
		t.Errorf("tune verify after somebody else's change:\n%s", out)
	}
	on("b", "sysctl -w "+ports+"='"+now+"'")

	eater := on("b", "setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $!")
	defer on("b", "kill -9 "+eater)
	state := func() string { return on("b", `sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' /proc/`+eater+"/status") }
	cmd := exec.Command(filepath.Join(dir, "isukit"), "doctor", "stop", eater, "--host", "b")
	cmd.Env, cmd.Dir = env, dir
	if out, err := cmd.CombinedOutput(); err != nil || state() != "T" {
		t.Errorf("a process of b is %q after doctor stop, want T: %v\n%s", state(), err, out)
	}
	if out := isukit(false, "tune", "revert", "--all"); !strings.Contains(out, "started") || state() != "S" {
		t.Errorf("a process of b is %q after tune revert --all, want S\n%s", state(), out)
	}
	if now := on("b", "sysctl -n "+ports); now != before {
		t.Errorf("%s of b after revert: %s, was %s", ports, now, before)
	}
	isukit(false, "topology", "verify")
}
