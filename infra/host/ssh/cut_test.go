package ssh_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"isukit/infra/host"
)

// cut: the next command ends the lock of a process of this laptop that died. The laptop loses its network for longer than ssh bears: a holder
// of a lock takes it again when the network is back, and the host ends the lock of a process that cannot be looked for.
func cut(t *testing.T, dir string) {
	next := func(name, want string) {
		t.Helper()
		var said []string
		ctx := host.Announced(t.Context(), func(text string) { said = append(said, text) })
		d := open(t, dir, "next-"+name)
		defer d.Close(context.Background())
		release, err := d.Lock(ctx, "next")
		if err == nil {
			err = d.Ensure(ctx, []host.Want{{Name: name}})
		}
		waited := len(said) == 1 && strings.Contains(said[0], "host "+name+" is taken by dead") && strings.Contains(said[0], want)
		if late := name == "b" && len(said) == 0; err != nil || !waited && !late { // late: the host has ended it before a slow machine asks
			t.Errorf("the lock of host %s, whose holder has died: got %v, with the messages %q; want it, with one that says %q", name, err, said, want)
			return
		}
		if err := errors.Join(d.Remove(ctx, name), release()); err != nil {
			t.Error(err)
		}
	}
	network := func(state string) {
		t.Helper()
		if out, err := exec.Command("ip", "link", "set", "eth0", state).CombinedOutput(); err != nil {
			t.Fatalf("network %s: %v: %s", state, err, out)
		}
	}

	gone := holder(t, "a")
	gone("STOP") // its ssh as well, which would tell the host
	gone("KILL", os.Args[0])
	next("a", "that process has ended")

	alive, h := up(t, dir, "jump")
	release, err := alive.Lock(t.Context(), "alive")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := holder(t, "b", "unshare", "--pid", "--fork", "--kill-child")
	network("down")
	elsewhere("KILL")
	time.Sleep(37 * time.Second)
	network("up")
	next("b", "its connection has been silent for")
	res, err := h.Run(t.Context(), host.Command{Argv: []string{"sh", "-c", "flock -n /run/isukit.lock true || cat /run/isukit.holder"}})
	if err != nil || !strings.Contains(string(res.Stdout), `"alive"`) {
		t.Errorf("a command under a lock whose connection was lost: got %+v, %v; want the lock to be held", res, err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}

const holderEnv = "ISUKIT_SSH_TEST_HOLDER"

// holder has a process of its own take the lock of a host, started through a program with arguments, and returns what sends a signal to all
// of its processes, or to those of a program.
func holder(t *testing.T, name string, through ...string) (send func(signal string, program ...string)) {
	t.Helper()
	argv := append(through, os.Args[0], "-test.run", "^TestHolder$", "-test.timeout", "10m")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), holderEnv+"="+name)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	send = func(signal string, program ...string) {
		t.Helper()
		script := `for p in $(grep -lzx "$1" /proc/[0-9]*/environ 2>/dev/null | cut -d / -f 3); do
	[ "$p" = $$ ] || [ -n "$3" ] && [ "$(readlink "/proc/$p/exe")" != "$3" ] || kill -s "$2" "$p"
done; true`
		argv := append([]string{"-c", script, "sh", holderEnv + "=" + name, signal}, program...)
		if out, err := exec.Command("sh", argv...).CombinedOutput(); err != nil {
			t.Errorf("send %s: %v: %s", signal, err, out)
		}
	}
	t.Cleanup(func() {
		send("KILL")
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("a process that takes the lock of host %s says %q, %v", name, line, err)
	}
	return send
}

// TestHolder is run by holder.
func TestHolder(t *testing.T) {
	name := os.Getenv(holderEnv)
	if name == "" {
		t.Skip("is run by TestSSHCommands, inside a lab")
	}
	d := open(t, os.Getenv(insideEnv), "dead-"+name)
	if _, err := d.Lock(t.Context(), "dead"); err != nil {
		t.Fatal(err)
	}
	if err := d.Ensure(t.Context(), []host.Want{{Name: name}}); err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("locked\n")
	select {} // until it is killed
}
