package ssh_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isukit/infra/host"
	"isukit/infra/host/hosttest"
	"isukit/infra/host/machine"
	"isukit/infra/infratest"
)

// insideEnv names the directory with keys and ssh_config for the tests that run inside the lab, where the load generator
// stands: they log in to sshd on the lab's hosts.
const insideEnv = "ISUKIT_SSH_TEST_DIR"

func TestMain(m *testing.M) {
	hosttest.Program()
	if filepath.Base(os.Args[0]) == "systemctl" {
		if err := systemctl(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestSSH makes three hosts with sshd, and runs TestInside where the load generator stands.
func TestSSH(t *testing.T) {
	infratest.Real(t)
	dir, err := os.MkdirTemp("", "isukit-ssh-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	lab, err := machine.OpenLab(machine.Options{StateDir: filepath.Join(dir, "lab")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := lab.Ensure(t.Context(), []host.Want{{Name: "a"}, {Name: "b"}, {Name: "jump"}}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"id", "other", "agent"} {
		keygen(t, filepath.Join(dir, key))
	}
	var known strings.Builder
	for _, name := range []string{"a", "b", "jump"} {
		known.WriteString(startSSHD(t, lab, dir, name))
	}
	writeFile(t, filepath.Join(dir, "known_hosts"), known.String())
	writeFile(t, filepath.Join(dir, "config"), sshConfig(t, lab, dir))
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "isukit-app"), "isukit/cmd/isukit-app")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the app: %v: %s", err, out)
	}

	var out strings.Builder
	code, err := lab.Attach(t.Context(), "generator", host.Command{
		Argv: []string{os.Args[0], "-test.run", "^TestInside$", "-test.v", "-test.timeout", "15m"},
		Env:  []string{insideEnv + "=" + dir, infratest.RealEnv + "=1"}, Dir: dir,
	}, strings.NewReader(""), &out, &out)
	if err != nil || code != 0 || !strings.Contains(out.String(), "--- PASS: TestInside ") {
		t.Errorf("the tests inside the lab: exit status %d, %v\n%s", code, err, out.String())
	}
	t.Log(out.String())
}

func keygen(t *testing.T, file string) {
	t.Helper()
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// bareScript makes a host of the lab look like a machine of its own: directories, accounts, sudo, and the stand-in for
// systemctl. isucon may become root, nosudo may not.
const bareScript = `set -e
bin=$1 keys=$2
for dir in /run /home /var/lib; do mount -t tmpfs tmpfs $dir; done
mkdir -p /run/sshd /home/isucon /home/nosudo /etc/isukit-test
printf 'isucon:x:1777:1777::/home/isucon:/bin/sh\nnosudo:x:1778:1778::/home/nosudo:/bin/sh\n' >>/etc/passwd
printf 'isucon:x:1777:\nnosudo:x:1778:\n' >>/etc/group
printf 'isucon:*:19000:0:99999:7:::\nnosudo:*:19000:0:99999:7:::\n' >>/etc/shadow
sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow
mkdir -p /etc/sudoers.d
echo 'isucon ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/isucon
echo 'Set disable_coredump false' >>/etc/sudo.conf
chown isucon /home/isucon
cat "$keys"/id.pub "$keys"/agent.pub >/etc/isukit-test/keys
ssh-keygen -q -t ed25519 -N '' -f /etc/isukit-test/host
cat >/etc/isukit-test/sshd <<END
ListenAddress 0.0.0.0
HostKey /etc/isukit-test/host
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AuthorizedKeysFile /etc/isukit-test/keys .ssh/authorized_keys
StrictModes no
LogLevel ERROR
END
mount --bind "$bin" /usr/bin/systemctl
`

// startSSHD returns the host's line for known_hosts.
func startSSHD(t *testing.T, lab *machine.Driver, dir, name string) string {
	t.Helper()
	h, err := lab.Host(name)
	if err != nil {
		t.Fatal(err)
	}
	res, err := h.Run(t.Context(), host.Command{Argv: []string{"sh", "-c", bareScript, "sh", os.Args[0], dir}})
	if err != nil || res.Code != 0 {
		t.Fatalf("ready host %s: %v: %s", name, err, res.Stderr)
	}
	err = h.Start(t.Context(), host.Service{
		Name: "sshd", Argv: []string{"/usr/sbin/sshd", "-D", "-e", "-f", "/etc/isukit-test/sshd"}, LogFile: filepath.Join(h.About().Dir, "sshd.log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := h.Get(t.Context(), "/etc/isukit-test/host.pub")
	if err != nil {
		t.Fatal(err)
	}
	return h.About().Address + " " + string(key)
}

// sshConfig: a is behind a jump host and needs sudo, b lets root in. The others are faults.
func sshConfig(t *testing.T, lab *machine.Driver, dir string) string {
	address := func(name string) string {
		h, err := lab.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		return h.About().Address
	}
	key, err := os.ReadFile(filepath.Join(dir, "other.pub"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "changed_hosts"), address("b")+" "+string(key))
	writeFile(t, filepath.Join(dir, "no_hosts"), "")
	var b strings.Builder
	for _, h := range []struct{ name, address, user, key, known, more string }{
		{"jump", address("jump"), "isucon", "id", "known_hosts", ""},
		{"a", address("a"), "isucon", "id", "known_hosts", "ProxyJump jump"},
		{"b", address("b"), "root", "id", "known_hosts", ""},
		{"agent", address("b"), "root", "none", "known_hosts", ""},
		{"wrong-key", address("b"), "root", "other", "known_hosts", "IdentitiesOnly yes"},
		{"unknown", address("b"), "root", "id", "no_hosts", ""},
		{"changed", address("b"), "root", "id", "changed_hosts", ""},
		{"nosudo", address("b"), "nosudo", "id", "known_hosts", ""},
		{"alice", address("b"), "alice", "other", "known_hosts", "IdentitiesOnly yes"},
		{"gone", "10.77.0.99", "root", "id", "known_hosts", ""},
		{"refused", address("b"), "root", "id", "known_hosts", "Port 2222"},
		{"behind-gone", address("b"), "root", "id", "known_hosts", "ProxyJump gone"},
	} {
		identity := filepath.Join(dir, h.key)
		if h.key == "none" {
			identity = "none"
		}
		fmt.Fprintf(&b, "Host %s\n  HostName %s\n  User %s\n  IdentityFile %s\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile none\n  %s\n",
			h.name, h.address, h.user, identity, filepath.Join(dir, h.known), h.more)
	}
	return b.String()
}
