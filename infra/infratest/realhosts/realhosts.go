// Package realhosts boots servers for tests: hosts of a lab with systemd, journald, dbus, sshd, sudo, nginx, a database server and
// Envoy from packages, each in namespaces of its own and held to CPUs and memory. They are what the driver ssh is for: they reboot,
// lose their power and their network. Tests of them run in the lab's generator, which is the user's laptop.
//
// Everything is gone when the test ends, and also when its process is killed.
package realhosts

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/infratest"
)

// Lab is a lab whose hosts are servers.
type Lab struct {
	*machine.Driver
	// Dir holds the keys id, other and agent, of which the hosts know id and agent, and known_hosts.
	Dir string
}

// Main makes the test binary what cleans up after a test that was killed, where it was started as that. TestMain calls it first.
func Main() {
	if len(os.Args) != 3 || os.Args[1] != cleanerArg {
		return
	}
	dir := os.Args[2]
	fmt.Println(cleanerArg)
	_, _ = io.Copy(io.Discard, os.Stdin) // ends with the test
	if _, err := os.Stat(dir); err == nil {
		if _, err := machine.CleanDead(context.Background(), dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.RemoveAll(dir)
	}
	os.Exit(0)
}

const cleanerArg = "realhosts-cleaner"

// Named are hosts that share what the machine has.
func Named(names ...string) []host.Want {
	var wants []host.Want
	for _, name := range names {
		wants = append(wants, host.Want{Name: name})
	}
	return wants
}

// Start boots hosts and returns when their sshds answer. isucon has sudo there, nosudo has not; root may log in.
func Start(tb testing.TB, wants ...host.Want) *Lab {
	tb.Helper()
	infratest.Real(tb)
	tree := filepath.Join(infratest.Root(tb), ".local", "hosts")
	if _, err := os.Stat(filepath.Join(tree, "etc", "isukit-tree")); err != nil {
		tb.Fatalf("no files of a server: %v (make hosts)", err)
	}
	dir, err := os.MkdirTemp("", "isukit-ssh-")
	infratest.NoError(tb, err)
	startCleaner(tb, dir)
	var keys strings.Builder
	for _, key := range []string{"id", "other", "agent"} {
		keygen(tb, filepath.Join(dir, key))
		if key != "other" {
			text, err := os.ReadFile(filepath.Join(dir, key+".pub"))
			infratest.NoError(tb, err)
			keys.Write(text)
		}
	}
	driver, err := machine.OpenLab(machine.Options{StateDir: dir, CPUScale: 1, System: &machine.System{Tree: tree, Keys: keys.String()}})
	infratest.NoError(tb, err)
	tb.Cleanup(func() {
		if err := driver.Close(context.Background()); err != nil {
			tb.Error(err)
		}
		os.RemoveAll(dir)
	})
	infratest.NoError(tb, driver.Ensure(tb.Context(), wants))
	l := &Lab{driver, dir}
	var known strings.Builder
	for _, w := range wants {
		l.Must(tb, w.Name, "useradd -m -s /bin/sh -p '*' nosudo && cp -r /home/isucon/.ssh /home/nosudo/ && chown -R nosudo: /home/nosudo")
		fmt.Fprintf(&known, "%s %s", l.Address(tb, w.Name), l.Must(tb, w.Name, "cat /etc/ssh/ssh_host_ed25519_key.pub"))
	}
	infratest.NoError(tb, os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(known.String()), 0o600))
	return l
}

// startCleaner starts what takes the lab down when this process is killed. It ends with the test, after all else.
func startCleaner(tb testing.TB, dir string) {
	tb.Helper()
	cleaner := exec.Command(os.Args[0], cleanerArg, dir)
	cleaner.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for the test
	cleaner.Stderr = os.Stderr
	stdin, err := cleaner.StdinPipe()
	infratest.NoError(tb, err)
	stdout, err := cleaner.StdoutPipe()
	infratest.NoError(tb, err)
	infratest.NoError(tb, cleaner.Start())
	tb.Cleanup(func() {
		stdin.Close()
		cleaner.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != cleanerArg+"\n" {
		tb.Fatalf("the test binary says %q, %v when it is to clean up: TestMain must call realhosts.Main", line, err)
	}
}

// Address is the one of a host.
func (l *Lab) Address(tb testing.TB, name string) string {
	tb.Helper()
	return l.host(tb, name).About().Address
}

func (l *Lab) host(tb testing.TB, name string) host.Host {
	tb.Helper()
	h, err := l.Host(name)
	infratest.NoError(tb, err)
	return h
}

// Must runs a shell's command as root on a host, or where the generator stands, as at its console; it must succeed.
func (l *Lab) Must(tb testing.TB, name, script string) string {
	tb.Helper()
	res, err := l.host(tb, name).Run(tb.Context(), host.Command{Argv: []string{"env", "-u", "TMPDIR", "sh", "-c", script}})
	if err != nil || res.Code != 0 {
		tb.Fatalf("%s on %s: exit status %d, %v: %s%s", script, name, res.Code, err, res.Stdout, res.Stderr)
	}
	return string(res.Stdout)
}

// Login is a section of an ssh_config.
type Login struct {
	Name, Address, User string
	Key                 string // a file in Dir; "none" for none
	Known               string // a file in Dir
	More                string // a line
}

// WriteConfig writes an ssh_config into Dir and returns its path.
func (l *Lab) WriteConfig(tb testing.TB, logins ...Login) string {
	tb.Helper()
	var b strings.Builder
	for _, h := range logins {
		identity := filepath.Join(l.Dir, h.Key)
		if h.Key == "none" {
			identity = "none"
		}
		fmt.Fprintf(&b, "Host %s\n  HostName %s\n  User %s\n  IdentityFile %s\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile none\n  %s\n",
			h.Name, h.Address, h.User, identity, filepath.Join(l.Dir, h.Known), h.More)
	}
	file := filepath.Join(l.Dir, "config")
	infratest.NoError(tb, os.WriteFile(file, []byte(b.String()), 0o600))
	return file
}

func keygen(tb testing.TB, file string) {
	tb.Helper()
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
		tb.Fatalf("ssh-keygen: %v: %s", err, out)
	}
}
