package doctor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"isukit/infra/doctor"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// network is a lab with a database on its second host.
type network struct {
	state  string
	driver *machine.Driver
	s1, s2 host.Host
	target doctor.Target
	db     *infratest.DB // stopped: its server runs on s2
	argv   []string      // what runs there
}

// withDatabase starts a real database, and joins the namespaces of a host in front of it: the server runs on s2.
// It has an account for clients of the lab where account is true.
func withDatabase(t *testing.T, engine string, account bool) *network {
	t.Helper()
	infratest.Real(t)
	n := &network{state: t.TempDir()}
	d, err := machine.OpenLab(machine.Options{StateDir: n.state})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(context.Background()); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	if err := d.Ensure(t.Context(), []host.Want{{Name: "s1"}, {Name: "s2"}}); err != nil {
		t.Fatal(err)
	}
	n.driver, n.s1, n.s2 = d, hostOf(t, d, "s1"), hostOf(t, d, "s2")
	db := infratest.StartDB(t, engine)
	if account {
		db.Exec(t, "CREATE USER 'isu'@'10.77.0.%' IDENTIFIED BY 'for-tests-only'")
	}
	argv := db.Command()
	db.Stop()
	for i, a := range argv {
		if strings.HasPrefix(a, "--bind-address=") {
			argv[i] = "--bind-address=" + n.s2.About().Address
		}
	}
	n.db, n.argv = db, argv
	n.start(t, argv, db.Port)
	n.target = doctor.Target{Kind: "mysql", Network: "tcp", Address: net.JoinHostPort(n.s2.About().Address, strconv.Itoa(db.Port))}
	if account {
		n.target.User, n.target.Password = "isu", "for-tests-only"
	}
	return n
}

// startQuietly starts the server on s2.
func (n *network) startQuietly(t *testing.T, argv []string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "db.log")
	if err := n.s2.Start(t.Context(), host.Service{Name: "db-1", Argv: argv, LogFile: log}); err != nil {
		t.Fatal(err)
	}
}

// start starts the server on s2 and waits until it listens.
func (n *network) start(t *testing.T, argv []string, port int) {
	t.Helper()
	n.startQuietly(t, argv)
	wait.For(t, "the database on s2", func() bool {
		conn, err := n.driver.Dial(t.Context(), "tcp", net.JoinHostPort(n.s2.About().Address, strconv.Itoa(port)))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// observe tries the way and looks at both hosts meanwhile.
func (n *network) observe(t *testing.T) *doctor.Observed {
	t.Helper()
	o := &doctor.Observed{}
	seen := make(chan doctor.Host, 2)
	for _, h := range []host.Host{n.s1, n.s2} {
		go func() {
			h, err := doctor.Look(t.Context(), h, doctor.LookOptions{Over: 1500 * time.Millisecond})
			if err != nil {
				t.Error(err)
			}
			seen <- h
		}()
	}
	time.Sleep(300 * time.Millisecond) // the first count is done, or the second finds it anyway
	paths, err := doctor.TryWays(t.Context(), map[string]host.Host{"s1": n.s1}, doctor.Ways{"s1": {{To: "s2", Target: n.target}}}, probe())
	if err != nil {
		t.Fatal(err)
	}
	o.Paths = paths
	o.Hosts = append(o.Hosts, <-seen, <-seen)
	return o
}

// networkChecks are all that use paths.
func networkChecks(t *testing.T, o *doctor.Observed) []doctor.Finding {
	t.Helper()
	checks, err := doctor.Select(doctor.Checks(), []string{"mtu-black-hole", "mtu-path", "mtu-differs", "ip-checksum", "db-login", "clock"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return doctor.Diagnose(o, checks)
}

// switchOf is the process that keeps the switch's namespace.
func (n *network) switchOf(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(n.state, "*", "*", "state.json"))
	if more, err2 := filepath.Glob(filepath.Join(n.state, "*", "state.json")); err2 == nil {
		files = append(files, more...)
	}
	if err != nil || len(files) != 1 {
		t.Fatalf("the lab's state: %v %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var state struct {
		Fixtures []struct {
			Name string `json:"name"`
			ID   struct {
				PID int `json:"pid"`
			} `json:"process"`
		} `json:"fixtures"`
	}
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	for _, f := range state.Fixtures {
		if f.Name == "switch" {
			return f.ID.PID
		}
	}
	t.Fatalf("no switch in %s", text)
	return 0
}

// inSwitch runs a command in the switch's network namespace.
func (n *network) inSwitch(t *testing.T, stdin string, argv ...string) string {
	t.Helper()
	cmd := exec.Command("nsenter", append([]string{"--target", strconv.Itoa(n.switchOf(t)), "--net", "--"}, argv...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

func run(t *testing.T, at host.Host, argv ...string) string {
	t.Helper()
	res, err := at.Run(t.Context(), host.Command{Argv: argv})
	if err != nil || res.Code != 0 {
		t.Fatalf("%s: %v, exit status %d: %s", strings.Join(argv, " "), err, res.Code, res.Stderr)
	}
	return string(res.Stdout)
}

// jumbo gives both hosts and all ports of the switch an MTU of 9000, with segments as they go over the wire.
func (n *network) jumbo(t *testing.T, hosts ...host.Host) {
	t.Helper()
	for line := range strings.Lines(n.inSwitch(t, "", "ip", "-o", "link", "show")) {
		name, _, _ := strings.Cut(strings.TrimSuffix(strings.Fields(line)[1], ":"), "@")
		if name != "lo" && !strings.HasPrefix(name, "ifb") {
			n.inSwitch(t, "", "ip", "link", "set", name, "mtu", "9000", "gso_max_segs", "1")
		}
	}
	for _, h := range hosts {
		run(t, h, "ip", "link", "set", "eth0", "mtu", "9000", "gso_max_segs", "1")
	}
}

const jumboDrop = `table bridge jumbo { chain fw { type filter hook forward priority 0; policy accept; ip length > 1500 counter drop
}
}
`

// TestBlackHole is FIELD-NOTES' variant A: a switch that drops jumbo frames between hosts of MTU 9000.
func TestBlackHole(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			n := withDatabase(t, engine, true)
			wantSilence(t, "1500 everywhere", networkChecks(t, n.observe(t)))
			n.jumbo(t, n.s1, n.s2)
			wantSilence(t, "9000 everywhere", networkChecks(t, n.observe(t)))
			n.inSwitch(t, jumboDrop, "nft", "-f", "-")
			found := networkChecks(t, n.observe(t))
			wantFinding(t, "the switch drops jumbo frames", found, doctor.Crit, "ip link set dev eth0 mtu 1500", "mtu-black-hole", "s1 -> "+n.target.Address,
				"with segments of 1360 bytes it works", "A packet of 9000 bytes", "1500 bytes arrive", "The MTU is 9000 at s1 (eth0) and 9000 at s2 (eth0)")
			// The fix, as it is printed for both hosts.
			for _, h := range []host.Host{n.s1, n.s2} {
				run(t, h, "ip", "link", "set", "dev", "eth0", "mtu", "1500")
			}
			wantSilence(t, "after the fix", networkChecks(t, n.observe(t)))
		})
	}
}

// TestSilentRouter is variant B: a router with a smaller MTU behind it that does not report it, since its ICMP is dropped.
func TestSilentRouter(t *testing.T) {
	t.Parallel()
	n := withDatabase(t, infratest.Engines(t)[0], true)
	n.jumbo(t, n.s1, n.s2)
	// s1 and s2 reach one another through the switch, which becomes a router: its way to s2 takes 1500 bytes.
	a1, a2 := n.s1.About().Address, n.s2.About().Address
	n.inSwitch(t, "", "sh", "-c", `ip addr add 10.77.0.1/24 dev br0; ip link set br0 mtu 9000; sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.br0.send_redirects=0`)
	n.inSwitch(t, "", "ip", "route", "add", a2+"/32", "dev", "br0", "mtu", "lock", "1500")
	n.inSwitch(t, "", "ip", "route", "add", a1+"/32", "dev", "br0", "mtu", "lock", "1500")
	run(t, n.s1, "ip", "route", "add", a2+"/32", "via", "10.77.0.1")
	run(t, n.s2, "ip", "route", "add", a1+"/32", "via", "10.77.0.1")
	wantSilence(t, "a router that says so", networkChecks(t, n.observe(t)))
	for _, h := range []host.Host{n.s1, n.s2} {
		run(t, h, "ip", "route", "flush", "cache")
	}
	n.inSwitch(t, `table inet bh { chain o { type filter hook output priority 0; icmp type destination-unreachable icmp code frag-needed counter drop
}
}
`, "nft", "-f", "-")
	found := networkChecks(t, n.observe(t))
	wantFinding(t, "a router that does not", found, doctor.Crit, "mtu 1500", "mtu-black-hole", "1500 bytes arrive", "lost without a word")
	// A clamp makes TCP work; the rest deserves a note.
	n.inSwitch(t, fmt.Sprintf(`table inet clamp { chain f { type filter hook forward priority 0; tcp flags syn tcp option maxseg size set %d
}
}
`, 1460), "nft", "-f", "-")
	wantFinding(t, "with a clamp", networkChecks(t, n.observe(t)), doctor.Note, "mtu 1500", "mtu-path", "TCP keeps to segments of")
}

func TestMTUDiffers(t *testing.T) {
	t.Parallel()
	n := withDatabase(t, infratest.Engines(t)[0], true)
	n.jumbo(t, n.s1)
	wantFinding(t, "one host with 9000", networkChecks(t, n.observe(t)), doctor.Warn, "mtu 1500", "mtu-differs", "9000 at s1", "1500 at s2")
}

// clocked is a host whose date is another's.
type clocked struct {
	host.Host
	path string
}

func (c clocked) Run(ctx context.Context, cmd host.Command) (host.Result, error) {
	cmd.Env = append(cmd.Env, "PATH="+c.path+":/usr/sbin:/usr/bin:/sbin:/bin")
	return c.Host.Run(ctx, cmd)
}

// TestClock sets date back: no namespace has a wall clock of its own, and the machine's is not ours to set.
func TestClock(t *testing.T) {
	infratest.Real(t)
	s1 := hostOf(t, lab(t, host.Want{Name: "s1"}), "s1")
	wantSilence(t, "the same clock", diagnose(t, "clock", &doctor.Observed{Hosts: []doctor.Host{look(t, s1, doctor.LookOptions{})}}))
	dir := t.TempDir()
	infratest.Program(t, filepath.Join(dir, "date"), "#!/bin/sh\nexec /bin/date -d '30 seconds ago' \"$@\"\n")
	wantFinding(t, "half a minute", diagnose(t, "clock", &doctor.Observed{Hosts: []doctor.Host{look(t, clocked{s1, dir}, doctor.LookOptions{})}}), doctor.Warn, "set-ntp", "s behind this machine's")
}

// faraway is a host of the lab that says it is another machine.
type faraway struct{ host.Host }

func (f faraway) About() host.About {
	a := f.Host.About()
	a.Here = false
	return a
}

// TestProbeIsCopied: to a host that is another machine the probe is copied, and it is gone afterwards.
func TestProbeIsCopied(t *testing.T) {
	t.Parallel()
	n := withDatabase(t, infratest.Engines(t)[0], true)
	for _, target := range []doctor.Target{n.target, {Kind: "icmp", Network: "icmp", Address: n.s2.About().Address}} {
		tried, err := probe().From(t.Context(), faraway{n.s1}, []doctor.Target{target})
		if err != nil {
			t.Fatal(err)
		}
		if target.Kind == "mysql" && (!tried[0].Plain.OK || !tried[0].Small.OK || tried[0].Plain.Code != 0) || tried[0].Sweep.PathMTU != 1500 {
			t.Errorf("%s: %+v", target.Kind, tried[0])
		}
	}
	if left := run(t, n.s1, "find", n.s1.About().Dir, "-name", "isukit-probe"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
