package infratest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Net is a few network namespaces of a test's own: one for the clients and one for each host, each host joined to the
// clients' by a cable that can be cut, both ways or one way, by nftables within the host's namespace. It needs root, ip and nft.
type Net struct {
	tb    testing.TB
	name  string // with which its namespaces' names begin
	hosts int
}

// Way is a direction in which a cable is cut.
type Way string

// The ways to cut a cable.
const (
	BothWays Way = "both ways"
	ToHost   Way = "to the host"   // requests get lost
	FromHost Way = "from the host" // requests arrive, answers get lost
)

// netPrefix is the first half of the addresses, of which each host has a /30 of its own.
const netPrefix = "10.213"

// NewNet makes the namespaces; they are gone when tb ends.
func NewNet(tb testing.TB, hosts int) *Net {
	tb.Helper()
	Real(tb)
	n := &Net{tb: tb, hosts: hosts, name: fmt.Sprintf("%s%d-%s-", netName, os.Getpid(), rand.Text()[:6])}
	tb.Cleanup(n.remove)
	n.run("ip", "netns", "add", n.client())
	for i := range hosts {
		near, far, host := fmt.Sprint("n", i), fmt.Sprint("f", i), n.host(i)
		n.run("ip", "netns", "add", host)
		n.run("ip", "-n", host, "link", "set", "lo", "up")
		n.run("ip", "-n", n.client(), "link", "add", near, "type", "veth", "peer", "name", far, "netns", host)
		n.run("ip", "-n", n.client(), "addr", "add", fmt.Sprintf("%s.%d.1/30", netPrefix, i), "dev", near)
		n.run("ip", "-n", host, "addr", "add", n.Addr(i)+"/30", "dev", far)
		n.run("ip", "-n", n.client(), "link", "set", near, "up")
		n.run("ip", "-n", host, "link", "set", far, "up")
	}
	return n
}

// netName begins the names of all of these namespaces; the number of the process that made them follows.
const netName = "isktest-"

const netnsDir = "/var/run/netns"

func (n *Net) client() string    { return n.name + "c" }
func (n *Net) host(i int) string { return fmt.Sprintf("%sh%d", n.name, i) }

// Addr is the address of the host at index i.
func (n *Net) Addr(i int) string { return fmt.Sprintf("%s.%d.2", netPrefix, i) }

// run fails the test when a command does.
func (n *Net) run(argv ...string) {
	n.tb.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		n.tb.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
}

func (n *Net) remove() {
	for i := range n.hosts {
		_ = exec.Command("ip", "netns", "del", n.host(i)).Run()
	}
	_ = exec.Command("ip", "netns", "del", n.client()).Run()
}

// Cut drops the packets on the cable of the host at index i. Connections stay open, as they do when a real cable is pulled.
func (n *Net) Cut(i int, way Way) {
	n.tb.Helper()
	rules := "table inet cut {\n"
	if way != FromHost {
		rules += "chain in { type filter hook input priority 0; iifname \"f*\" drop; }\n"
	}
	if way != ToHost {
		rules += "chain out { type filter hook output priority 0; oifname \"f*\" drop; }\n"
	}
	cmd := exec.Command("ip", "netns", "exec", n.host(i), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules + "}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		n.tb.Fatalf("cut host %d: %v: %s", i, err, out)
	}
}

// Heal ends the cut of the host at index i.
func (n *Net) Heal(i int) {
	n.tb.Helper()
	n.run("ip", "netns", "exec", n.host(i), "nft", "flush", "ruleset")
}

// Dial connects from the clients' namespace. A socket belongs to the namespace of the thread that made it, for good.
func (n *Net) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer home.Close()
	away, err := os.Open(filepath.Join(netnsDir, n.client()))
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer away.Close()
	if err := unix.Setns(int(away.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("enter %s: %w", n.client(), err)
	}
	nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return nil, fmt.Errorf("leave %s: %w", n.client(), back) // the thread stays locked, and ends with its goroutine
	}
	runtime.UnlockOSThread()
	return nc, err
}
