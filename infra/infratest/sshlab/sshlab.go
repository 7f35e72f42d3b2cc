// Package sshlab makes hosts of a lab look like machines of their own, with sshd, accounts and a stand-in for systemctl: real
// hosts for the driver ssh, as far as one machine goes. Tests run where the lab's generator stands.
package sshlab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/infratest"
)

// Lab is a lab whose hosts run sshd.
type Lab struct {
	*machine.Driver
	// Dir holds the keys id, other and agent, of which the hosts know id and agent, and known_hosts.
	Dir string
}

// Start makes hosts of these names, which are gone when the test ends, and Dir with them.
func Start(tb testing.TB, names ...string) *Lab {
	tb.Helper()
	infratest.Real(tb)
	dir, err := os.MkdirTemp("", "isukit-ssh-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	driver, err := machine.OpenLab(machine.Options{StateDir: filepath.Join(dir, "lab")})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := driver.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	var wants []host.Want
	for _, name := range names {
		wants = append(wants, host.Want{Name: name})
	}
	if err := driver.Ensure(tb.Context(), wants); err != nil {
		tb.Fatal(err)
	}
	l := &Lab{driver, dir}
	for _, key := range []string{"id", "other", "agent"} {
		keygen(tb, filepath.Join(dir, key))
	}
	var known strings.Builder
	for _, name := range names {
		known.WriteString(l.startSSHD(tb, name))
	}
	writeFile(tb, filepath.Join(dir, "known_hosts"), known.String())
	return l
}

// Address is the one of a host.
func (l *Lab) Address(tb testing.TB, name string) string {
	tb.Helper()
	h, err := l.Host(name)
	if err != nil {
		tb.Fatal(err)
	}
	return h.About().Address
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
	writeFile(tb, file, b.String())
	return file
}

func keygen(tb testing.TB, file string) {
	tb.Helper()
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
		tb.Fatalf("ssh-keygen: %v: %s", err, out)
	}
}

func writeFile(tb testing.TB, file, text string) {
	tb.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// bareScript makes a host of the lab look like a machine of its own: directories, accounts, sudo, and the stand-in for
// systemctl. isucon may become root, nosudo may not. root's home is empty: the shells of its logins would run what this machine's
// owner has in .bashrc, which may take longer than the command.
const bareScript = `set -e
bin=$1 keys=$2
for dir in /run /home /var/lib; do mount -t tmpfs tmpfs $dir; done
mkdir -p /run/sshd /home/root /home/isucon /home/nosudo /etc/isukit-test
sed -i 's|^\(root:.*\):[^:]*:\([^:]*\)$|\1:/home/root:\2|' /etc/passwd
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
func (l *Lab) startSSHD(tb testing.TB, name string) string {
	tb.Helper()
	h, err := l.Host(name)
	if err != nil {
		tb.Fatal(err)
	}
	res, err := h.Run(tb.Context(), host.Command{Argv: []string{"sh", "-c", bareScript, "sh", os.Args[0], l.Dir}})
	if err != nil || res.Code != 0 {
		tb.Fatalf("ready host %s: %v: %s", name, err, res.Stderr)
	}
	err = h.Start(tb.Context(), host.Service{
		Name: "sshd", Argv: []string{"/usr/sbin/sshd", "-D", "-e", "-f", "/etc/isukit-test/sshd"}, LogFile: filepath.Join(h.About().Dir, "sshd.log"),
	})
	if err != nil {
		tb.Fatal(err)
	}
	key, err := h.Get(tb.Context(), "/etc/isukit-test/host.pub")
	if err != nil {
		tb.Fatal(err)
	}
	return h.About().Address + " " + string(key)
}
