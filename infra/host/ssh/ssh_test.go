package ssh_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isukit/infra/host"
	"isukit/infra/host/ssh"
	"isukit/infra/infratest/hosttest"
	"isukit/infra/infratest/wait"
)

// TestInside is run by TestSSH, inside the lab.
func TestInside(t *testing.T) {
	dir := os.Getenv(insideEnv)
	if dir == "" {
		t.Skip("is run by TestSSH, inside a lab")
	}
	t.Run("Suite", func(t *testing.T) {
		hosttest.Run(t, hosttest.Shell(hosttest.Subject{
			Open: func(t *testing.T) host.Driver { return open(t, dir, "suite") }, Keeps: true,
			Wants: [2]host.Want{{Name: "a"}, {Name: "b"}}, Listen: []string{testProgram, hosttest.ListenArg},
		}))
	})
	t.Run("Faults", func(t *testing.T) { faults(t, dir) })
	t.Run("Zealous", func(t *testing.T) { zealous(t, dir) })
	t.Run("Addresses", func(t *testing.T) { addresses(t, dir) })
	t.Run("Agent", func(t *testing.T) { agent(t, dir) })
	t.Run("Service", func(t *testing.T) { service(t, dir) })
	t.Run("DiskFull", func(t *testing.T) { diskFull(t, dir) })
	t.Run("Secrets", func(t *testing.T) { secrets(t, dir) })
	t.Run("Lock", func(t *testing.T) { lock(t, dir) })
	t.Run("Beside", func(t *testing.T) { beside(t, dir) })
	t.Run("Team", func(t *testing.T) { teamInit(t, dir) })
}

// TestInsideSite is run by TestSSHSite, inside a lab of its own.
func TestInsideSite(t *testing.T) {
	dir := os.Getenv(insideEnv)
	if dir == "" {
		t.Skip("is run by TestSSHSite, inside a lab")
	}
	site(t, dir)
}

// TestInsideCommands is run by TestSSHCommands, inside a lab of its own.
func TestInsideCommands(t *testing.T) {
	dir := os.Getenv(insideEnv)
	if dir == "" {
		t.Skip("is run by TestSSHCommands, inside a lab")
	}
	commands(t, dir)
	t.Run("Cut", func(t *testing.T) { cut(t, dir) })
}

func open(t *testing.T, dir, state string) *ssh.Driver {
	t.Helper()
	d, err := ssh.Open(ssh.Options{StateDir: filepath.Join(dir, state), ConfigFile: filepath.Join(dir, "config")})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// up is a driver with one host, taken down after the test.
func up(t *testing.T, dir, name string) (*ssh.Driver, host.Host) {
	t.Helper()
	d := open(t, dir, t.Name())
	t.Cleanup(func() {
		if err := errors.Join(d.Down(context.Background()), d.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
	if err := d.Ensure(t.Context(), []host.Want{{Name: name}}); err != nil {
		t.Fatal(err)
	}
	h, err := d.Host(name)
	if err != nil {
		t.Fatal(err)
	}
	return d, h
}

func faults(t *testing.T, dir string) {
	tests := []struct {
		dest string
		want error
		hint string // a part of it
	}{
		{"wrong-key", host.ErrLogin, "IdentityFile"},
		{"unknown", host.ErrHostKey, "compare the fingerprint"},
		{"changed", host.ErrHostKey, "ssh-keygen -R"},
		{"nosudo", host.ErrSudo, "NOPASSWD"},
		{"gone", host.ErrUnreachable, "ssh gone true"},
		{"refused", host.ErrUnreachable, "ssh refused true"},
		{"behind-gone", host.ErrUnreachable, "ssh behind-gone true"},
		{"no-such-name.invalid", host.ErrUnreachable, "ssh -G no-such-name.invalid"},
	}
	d := open(t, dir, "faults")
	defer d.Close(context.Background())
	for _, tt := range tests {
		err := d.Ensure(t.Context(), []host.Want{{Name: "x", Address: tt.dest}})
		var fault *host.Fault
		if !errors.Is(err, tt.want) || !errors.As(err, &fault) || !strings.Contains(fault.Hint, tt.hint) {
			t.Errorf("Ensure of %s: got %v; want %v with a hint that says %q", tt.dest, err, tt.want, tt.hint)
		}
		t.Logf("%s: %v", tt.dest, err)
	}
	if list, err := d.Hosts(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("hosts after what failed: got %+v, %v; want none", list, err)
	}
}

// zealous: an ssh_config that has ssh do something else, and start-up files of a shell that greet, change no answer.
func zealous(t *testing.T, dir string) {
	d, h := up(t, dir, "zealous")
	res, err := h.Run(t.Context(), host.Command{Argv: []string{"sh", "-c", "cat; echo err >&2; exit 3"}, Stdin: []byte("in")})
	if err != nil || string(res.Stdout) != "in" || string(res.Stderr) != "err\n" || res.Code != 3 {
		t.Errorf("a command: got %+v, %v; want in, err, 3", res, err)
	}
	var out strings.Builder
	if err := h.Pipe(t.Context(), host.Command{Argv: []string{"cat"}}, strings.NewReader("through"), &out); err != nil || out.String() != "through" {
		t.Errorf("Pipe: got %q, %v; want what went in", out.String(), err)
	}
	if err := h.Put(t.Context(), h.About().Dir+"/file", []byte("text"), 0o600); err != nil {
		t.Error(err)
	}
	if text, err := h.Get(t.Context(), h.About().Dir+"/file"); err != nil || string(text) != "text" {
		t.Errorf("Get: got %q, %v; want what was put", text, err)
	}
	release, err := d.Lock(t.Context(), "zealous")
	if err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}

// addresses: ports and URLs are addresses, too; one machine has one name; a driver that stands apart is not seen, and leaves nothing.
func addresses(t *testing.T, dir string) {
	_, b := up(t, dir, "b")
	address := b.About().Address
	for _, way := range []string{"root@" + address + ":22", "ssh://root@" + address + ":22/", "ssh://" + address, address} {
		d, err := ssh.Open(ssh.Options{StateDir: filepath.Join(dir, "addresses"), ConfigFile: filepath.Join(dir, "config"), Apart: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Ensure(t.Context(), []host.Want{{Name: "x", Address: way}}); err != nil {
			t.Errorf("%s: %v", way, err)
		}
		if err := d.Ensure(t.Context(), []host.Want{{Name: "y", Address: "b"}}); !errors.Is(err, host.ErrUnsupported) || !strings.Contains(err.Error(), "the same machine as host x") {
			t.Errorf("the machine by another name: got %v, want ErrUnsupported", err)
		}
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	d := open(t, dir, "addresses")
	defer d.Close(context.Background())
	if list, err := d.Hosts(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("hosts on record after drivers that stood apart: %v, %v; want none", list, err)
	}
	file := filepath.Join(dir, "addresses", "hosts", "ssh", "state.json")
	if err := os.WriteFile(file, []byte(`[{"want": {"na`), 0o600); err != nil {
		t.Fatal(err)
	}
	var fault *host.Fault
	if _, err := d.Hosts(t.Context()); !errors.As(err, &fault) || !strings.Contains(fault.Hint, "rm "+file) {
		t.Errorf("a record that was cut short: got %v, want a way out", err)
	}
}

func agent(t *testing.T, dir string) {
	socket := filepath.Join(dir, "agent.sock")
	agent := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { agent.Process.Kill(); agent.Wait() }()
	t.Setenv("SSH_AUTH_SOCK", socket)
	wait.ForNil(t, "ssh-add", func() error {
		if out, err := exec.Command("ssh-add", filepath.Join(dir, "agent")).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	_, h := up(t, dir, "agent")
	if res, err := h.Run(t.Context(), host.Command{Argv: []string{"id", "-u"}}); err != nil || string(res.Stdout) != "0\n" {
		t.Errorf("id -u: got %q, %v; want 0", res.Stdout, err)
	}
}

// service: what a unit says is what its process has.
func service(t *testing.T, dir string) {
	_, h := up(t, dir, "a")
	script := `ulimit -n; ulimit -Hn; id -un; pwd; printf '%s|' "$@" "$SECRET"; echo; exec sleep 1000`
	args := []string{`a b`, `%n $HOME "q" 'r' \n`, "two\nlines", "ü"}
	s := host.Service{
		Name: "all-of-it", Argv: append([]string{"sh", "-c", script, "sh"}, args...), Env: []string{"SECRET=it's \"$x\" `y` \\z"},
		Dir: "/etc", LogFile: h.About().Dir + "/log 100%.txt", User: "isucon", NoFile: 4321,
	}
	if err := h.Start(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	want := "4321\n4321\nisucon\n/etc\n" + strings.Join(append(args, strings.TrimPrefix(s.Env[0], "SECRET=")), "|") + "|\n"
	wait.ForNil(t, fmt.Sprintf("a service to say %q", want), func() error {
		if text, err := h.Get(t.Context(), s.LogFile); err != nil || string(text) != want {
			return fmt.Errorf("it says %q, %w", text, err)
		}
		return nil
	})
	unit, err := h.Get(t.Context(), "/etc/systemd/system/isukit-all-of-it.service")
	if err != nil || strings.Contains(string(unit), "it's") {
		t.Errorf("the unit, which all can read: got %q, %v; want it without the environment", unit, err)
	}
	drop, err := h.Get(t.Context(), "/etc/systemd/system/isukit-all-of-it.service.d/limits.conf")
	if err != nil || !strings.Contains(string(drop), "\nLimitNOFILE=4321\n") {
		t.Errorf("the drop-in: got %q, %v; want LimitNOFILE=4321", drop, err)
	}
}

func diskFull(t *testing.T, dir string) {
	_, h := up(t, dir, "b")
	full := h.About().Dir + "/full"
	script := `mkdir -p "$0" && mount -t tmpfs -o size=64k tmpfs "$0" && echo before >"$0/file"`
	if res, err := h.Run(t.Context(), host.Command{Argv: []string{"sh", "-c", script, full}}); err != nil || res.Code != 0 {
		t.Fatalf("make a small disk: %v: %s", err, res.Stderr)
	}
	defer h.Run(context.Background(), host.Command{Argv: []string{"umount", full}})
	err := h.Put(t.Context(), full+"/file", make([]byte, 1<<20), 0o600)
	var fault *host.Fault
	if !errors.Is(err, host.ErrDiskFull) || !errors.As(err, &fault) || !strings.Contains(fault.Hint, "df -h") {
		t.Errorf("Put on a full disk: got %v, want ErrDiskFull with a hint", err)
	}
	if text, err := h.Get(t.Context(), full+"/file"); err != nil || string(text) != "before\n" {
		t.Errorf("the file of before: got %q, %v; want it as it was", text, err)
	}
	if res, err := h.Run(t.Context(), host.Command{Argv: []string{"ls", full}}); err != nil || string(res.Stdout) != "file\n" {
		t.Errorf("files on the full disk: got %q, %v; want no other", res.Stdout, err)
	}
}

// secrets: neither environment nor input of a command can be seen in an argument list, here or there.
func secrets(t *testing.T, dir string) {
	_, h := up(t, dir, "a")
	const secret = "eeYoo4ohx8"
	done := make(chan error, 1)
	go func() {
		_, err := h.Run(t.Context(), host.Command{Argv: []string{"sleep", "1"}, Env: []string{"S=" + secret}, Stdin: []byte(secret)})
		done <- err
	}()
	seen := 0
	for running := true; running; time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			running = false
		default:
		}
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range files {
			text, _ := os.ReadFile(file)
			if strings.Contains(string(text), secret) {
				t.Fatalf("%s: %q", file, text)
			}
			if strings.HasPrefix(string(text), "sleep\x001\x00") {
				seen++
			}
		}
	}
	if seen == 0 {
		t.Error("the command was never seen: this test can't fail")
	}
}

// lock: two people with state directories of their own are kept apart by the host.
func lock(t *testing.T, dir string) {
	alice, h := up(t, dir, "a")
	bob := open(t, dir, "bob")
	defer bob.Close(context.Background())
	before := time.Now().Truncate(time.Second)
	release, err := alice.Lock(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	unlockBob, err := bob.Lock(t.Context(), "bob") // he has no hosts yet
	if err != nil {
		t.Fatal(err)
	}
	var locked *host.LockedError
	err = bob.Ensure(t.Context(), []host.Want{{Name: "a"}})
	if !errors.As(err, &locked) || locked.Holder.Name != "alice" || locked.Host != "a" || locked.Holder.Where == "" || locked.Holder.Since.Before(before) || locked.Holder.Since.After(time.Now()) ||
		!strings.Contains(locked.End, " a sudo kill -9 ") {
		t.Errorf("Ensure of a host that alice has: got %v, want a LockedError with her name, host, machine, time and what ends it (%q)", err, locked.End)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if err := bob.Ensure(t.Context(), []host.Want{{Name: "a"}}); err != nil {
		t.Errorf("Ensure after alice has gone: %v", err)
	}
	if _, err := alice.Lock(t.Context(), "alice"); !errors.As(err, &locked) || locked.Holder.Name != "bob" {
		t.Errorf("Lock while bob has it: got %v, want a LockedError with his name", err)
	}
	if err := unlockBob(); err != nil {
		t.Fatal(err)
	}
	if release, err = alice.Lock(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := h.Run(t.Context(), host.Command{Argv: []string{"sh", "-c", `echo >begun; sleep 1017; echo went on`}})
		ended <- err
	}()
	wait.ForNil(t, "alice's command", func() error { _, err := h.Get(t.Context(), h.About().Dir+"/begun"); return err })
	if err := release(); err != nil { // as if she had been killed
		t.Fatal(err)
	}
	if unlockBob, err = bob.Lock(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	if left, err := h.Run(t.Context(), host.Command{Argv: []string{"sh", "-c", "ls -d /run/isukit/held-*; pgrep -f 'sleep 101[7]'"}}); err != nil || len(left.Stdout) > 0 {
		t.Errorf("left of alice's command once bob has the host: %q, %v; want nothing", left.Stdout, err)
	}
	if err := <-ended; err == nil {
		t.Error("alice's command ended by itself; want it killed")
	}
	if err := unlockBob(); err != nil {
		t.Fatal(err)
	}
}

// A second driver of the same user opens and closes while the first one's command runs: it ends only its own connection.
func beside(t *testing.T, dir string) {
	_, a := up(t, dir, "a")
	ended, goOn := make(chan error, 1), a.About().Dir+"/go-on"
	go func() {
		res, err := a.Run(t.Context(), host.Command{Argv: []string{"sh", "-c", `until [ -e "$0" ]; do sleep 0.1; done; echo whole`, goOn}})
		if err == nil && string(res.Stdout) != "whole\n" {
			err = fmt.Errorf("exit status %d, %q", res.Code, res.Stdout)
		}
		ended <- err
	}()
	second := open(t, dir, t.Name())
	other, err := second.Host("a")
	if err == nil {
		_, err = other.Run(t.Context(), host.Command{Argv: []string{"true"}})
	}
	if err := errors.Join(err, second.Close(t.Context())); err != nil {
		t.Error(err)
	}
	if err := a.Put(t.Context(), goOn, nil, 0o600); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil { // it would have ended with the second driver
		t.Errorf("the first driver's command: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, t.Name(), "hosts", "ssh", "control", "*")); err != nil || len(left) > 1 {
		t.Errorf("directories of sockets: %q, %v; want the first driver's alone, or none where the path is too long", left, err)
	}
}
