package machine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// lab is a lab with these hosts, gone after the test.
func lab(t testing.TB, scale float64, wants ...host.Want) *machine.Driver {
	t.Helper()
	infratest.Real(t)
	d, err := machine.OpenLab(machine.Options{StateDir: t.TempDir(), CPUScale: scale})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if err := d.Ensure(t.Context(), wants); err != nil {
		t.Fatal(err)
	}
	return d
}

func hostOf(t testing.TB, d host.Driver, name string) host.Host {
	t.Helper()
	h, err := d.Host(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func command(argv ...string) host.Command { return host.Command{Argv: argv} }

// program starts one of this binary's programs on a host.
func program(t testing.TB, h host.Host, argv ...string) {
	t.Helper()
	err := h.Start(t.Context(), host.Service{
		Name: argv[0], Argv: append([]string{os.Args[0]}, argv...), LogFile: filepath.Join(h.About().Dir, argv[0]+".log"),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// BenchmarkLabUp makes three hosts; the target is a second.
func BenchmarkLabUp(b *testing.B) {
	for b.Loop() {
		lab(b, 0, host.Want{Name: "s1", CPUs: 2, MemoryBytes: 1 << 30}, host.Want{Name: "s2", CPUs: 2, MemoryBytes: 2 << 30}, host.Want{Name: "s3", CPUs: 4, MemoryBytes: 1 << 30})
	}
}

// BenchmarkLabCPUs reports what half the CPU time gives of the work that the whole gives; the target is 0.5.
func BenchmarkLabCPUs(b *testing.B) {
	d := lab(b, 1, host.Want{Name: "whole", CPUs: 0.2}, host.Want{Name: "half", CPUs: 0.1})
	for b.Loop() {
		b.ReportMetric(spinOn(b, d, "half")/spinOn(b, d, "whole"), "of-the-whole(target:0.5)")
	}
}

// TestLabCPUsAreReal: the kernel stops a host that has used up what a period gives it, and what it uses is no more than that.
func TestLabCPUsAreReal(t *testing.T) {
	for what, cpus := range map[string]float64{"whole": 0.2, "half": 0.1} {
		name := fmt.Sprint(what, os.Getpid())
		d := lab(t, 1, host.Want{Name: name, CPUs: cpus})
		before := groupUse(t, name)
		spinOn(t, d, name)
		after := groupUse(t, name)
		periods, used := after.periods-before.periods, after.cpu-before.cpu
		// What the period before gave may be left, and each CPU may run on until its next tick.
		most := time.Duration(float64(periods+2)*cpus*float64(20*time.Millisecond)) + time.Duration(runtime.NumCPU())*20*time.Millisecond
		if used > most || used == 0 || after.throttled == before.throttled {
			t.Errorf("%g CPUs: used %v in %d periods, stopped in %d of them; want at most %v, and stopped", cpus, used, periods, after.throttled-before.throttled, most)
		}
	}
}

// use is what the kernel counts of a control group.
type use struct {
	periods, throttled int64
	cpu                time.Duration
}

func groupUse(t *testing.T, host string) use {
	t.Helper()
	fields := map[string]int64{}
	for _, pattern := range []string{"/sys/fs/cgroup/isukit-*/", "/sys/fs/cgroup/cpu/isukit-*/", "/sys/fs/cgroup/cpuacct/isukit-*/"} {
		files, _ := filepath.Glob(pattern + host + "/cpu*.*")
		for _, file := range files {
			text, _ := os.ReadFile(file) // some can be written only
			for line := range strings.Lines(string(text)) {
				if f := strings.Fields(filepath.Base(file) + " " + line); len(f) > 1 {
					fields[strings.Join(f[:len(f)-1], " ")], _ = strconv.ParseInt(f[len(f)-1], 10, 64)
				}
			}
		}
	}
	u := use{fields["cpu.stat nr_periods"], fields["cpu.stat nr_throttled"], time.Duration(max(fields["cpuacct.usage"], 1000*fields["cpu.stat usage_usec"]))}
	if len(fields) == 0 {
		t.Fatalf("no control group of host %s", host)
	}
	return u
}

// spinOn returns how much work a host does in a time.
func spinOn(t testing.TB, d *machine.Driver, name string) float64 {
	t.Helper()
	got, err := hostOf(t, d, name).Run(t.Context(), host.Command{Argv: []string{os.Args[0], "spin", "1500ms"}})
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(string(got.Stdout)), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestLabScales: where hosts declare more CPUs than the machine has, they have their share, and count as many as declared.
func TestLabScales(t *testing.T) {
	d := lab(t, 0.1, host.Want{Name: "s1", CPUs: 2}, host.Want{Name: "s2", CPUs: 4})
	for name, want := range map[string]float64{"s1": 0.2, "s2": 0.4} {
		a := hostOf(t, d, name).About()
		if diff := a.CPUs - want; diff > 1e-9 || diff < -1e-9 || a.Threads < 1 {
			t.Errorf("%s: got %g CPUs, %d threads; want %g CPUs", name, a.CPUs, a.Threads, want)
		}
	}
}

// TestLabHostsDoNotCrowd: hosts that run on one CPU each are not all put on the same one while another has room.
func TestLabHostsDoNotCrowd(t *testing.T) {
	d := lab(t, 1, host.Want{Name: "s1", CPUs: 1}, host.Want{Name: "s2", CPUs: 0.4}, host.Want{Name: "s3", CPUs: 0.4})
	on := func(h host.Host) string {
		t.Helper()
		got, err := h.Run(t.Context(), host.Command{Argv: []string{"grep", "Cpus_allowed_list", "/proc/self/status"}})
		if err != nil {
			t.Fatal(err)
		}
		return string(got.Stdout)
	}
	if runtime.NumCPU() < 2 {
		t.Fatal("this needs two CPUs")
	}
	s1, s2, s3 := on(hostOf(t, d, "s1")), on(hostOf(t, d, "s2")), on(hostOf(t, d, "s3"))
	if s1 == s2 || s1 == s3 {
		t.Errorf("hosts of 1, 0.4 and 0.4 CPUs are on %q, %q and %q; want the first one alone", s1, s2, s3)
	}
}

// TestLabMemoryIsReal: who needs more than the host has is killed, and that is known.
func TestLabMemoryIsReal(t *testing.T) {
	d := lab(t, 1, host.Want{Name: "s1", CPUs: 1, MemoryBytes: 64 << 20})
	h := hostOf(t, d, "s1")
	if err := h.Start(t.Context(), host.Service{Name: "other", Argv: []string{"sleep", "1000"}, LogFile: filepath.Join(h.About().Dir, "other.log")}); err != nil {
		t.Fatal(err)
	}
	program(t, h, "eat", "200000000")
	wait.For(t, "the end of who eats", func() bool { st, err := h.State(t.Context(), "eat"); return err == nil && !st.Running })
	if st, err := h.State(t.Context(), "eat"); err != nil || st.Exit != "signal: killed" || !st.OutOfMemory {
		t.Errorf("State of who ate: got %+v, %v; want it killed: out of memory", st, err)
	}
	if st, err := h.State(t.Context(), "other"); err != nil || !st.Running || st.OutOfMemory {
		t.Errorf("State of another: got %+v, %v; want it running", st, err)
	}
	program(t, h, "eat", "20000000")
	wait.For(t, "who eats less", func() bool {
		text, _ := h.Get(t.Context(), filepath.Join(h.About().Dir, "eat.log"))
		return strings.HasSuffix(string(text), "full\n")
	})
	if st, err := h.State(t.Context(), "eat"); err != nil || !st.Running || st.OutOfMemory {
		t.Errorf("State of who ate less: got %+v, %v; want it running, and the time before forgotten", st, err)
	}
}

// BenchmarkLabLink reports what a link of 80 Mbit/s gives; the target is 80 at most, and 60 on a quiet machine.
func BenchmarkLabLink(b *testing.B) {
	d := lab(b, 1, host.Want{Name: "s1", CPUs: 1, LinkBitsPerSecond: 80e6}, host.Want{Name: "s2", CPUs: 1})
	program(b, hostOf(b, d, "s1"), "flood", "0.0.0.0:7000")
	for b.Loop() {
		receive(b, d, time.Second) // what is sent immediately, and what buffers hold
		began := time.Now()
		n := receive(b, d, 3*time.Second)
		b.ReportMetric(float64(8*n)/time.Since(began).Seconds()/1e6, "Mbit/s(target:60-80)")
	}
}

// receive returns how many bytes came from s1 within a time.
func receive(t testing.TB, d *machine.Driver, within time.Duration) (n int64) {
	t.Helper()
	wait.For(t, "a connection", func() bool {
		conn, err := d.Dial(t.Context(), "tcp", "s1:7000")
		if err != nil {
			return false
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(within))
		n, _ = io.Copy(io.Discard, conn) // ends with the deadline
		return true
	})
	return n
}

// TestLabLinkSpeed: the kernel holds back what is sent over a link with a speed, both ways, and nothing on one without.
func TestLabLinkSpeed(t *testing.T) {
	d := lab(t, 1, host.Want{Name: "s1", CPUs: 1, LinkBitsPerSecond: 80e6}, host.Want{Name: "s2", CPUs: 1})
	program(t, hostOf(t, d, "s1"), "flood", "0.0.0.0:7000")
	queues := func() string {
		t.Helper()
		var all string
		for host, device := range map[string]string{"s1": "eth0", "switch": "v-s1"} {
			got, err := hostOf(t, d, host).Run(t.Context(), command("tc", "-s", "qdisc", "show", "dev", device))
			if err != nil || got.Code != 0 {
				t.Fatalf("tc: %v: %s", err, got.Stderr)
			}
			all += string(got.Stdout)
		}
		return all
	}
	receive(t, d, time.Second)
	if got := queues(); strings.Count(got, "rate 80Mbit") != 2 || !regexp.MustCompile(`overlimits [1-9]`).MatchString(got) {
		t.Errorf("a link of 80 Mbit/s: got the queues\n%s\nwant 80 Mbit/s both ways, and packets that had to wait", got)
	}
	if err := d.Ensure(t.Context(), []host.Want{{Name: "s1", CPUs: 1}}); err != nil {
		t.Fatal(err)
	}
	if n := receive(t, d, 300*time.Millisecond); n == 0 || strings.Contains(queues(), "rate") {
		t.Errorf("a link without a speed: got %d bytes, and the queues\n%s", n, queues())
	}
}

// TestLabHostMadeAnew: other hosts remember for most of a minute which link address goes with an address, so a host that is removed
// and made again must have the same.
func TestLabHostMadeAnew(t *testing.T) {
	wants := []host.Want{{Name: "s1", CPUs: 1}, {Name: "s2", CPUs: 1, Address: "10.77.0.99"}}
	d := lab(t, 1, wants...)
	program(t, hostOf(t, d, "s2"), "flood", "0.0.0.0:7000")
	reach := func(address string) {
		t.Helper()
		wait.For(t, "a program that listens", func() bool {
			conn, err := d.Dial(t.Context(), "tcp", "s2:7000")
			if err == nil {
				conn.Close()
			}
			return err == nil || !strings.Contains(err.Error(), "refused")
		})
		begin := time.Now()
		got, err := hostOf(t, d, "s1").Run(t.Context(), host.Command{Argv: []string{os.Args[0], "reach", address + ":7000"}})
		if err != nil || got.Code != 0 {
			t.Fatalf("s1 reached s2 after %v: %v, %s", time.Since(begin), err, got.Stderr)
		}
	}
	reach("10.77.0.99")
	if err := d.Remove(t.Context(), "s2"); err != nil {
		t.Fatal(err)
	}
	if err := d.Ensure(t.Context(), wants); err != nil {
		t.Fatal(err)
	}
	program(t, hostOf(t, d, "s2"), "flood", "0.0.0.0:7000")
	reach("10.77.0.99")
	wants[1].Address = "10.77.0.98" // while it is up
	if err := d.Ensure(t.Context(), wants); err != nil {
		t.Fatal(err)
	}
	reach("10.77.0.98")
}

// TestLabAddressOfAnother: an existing host keeps its address, and another one gets an error with a hint.
func TestLabAddressOfAnother(t *testing.T) {
	t.Parallel()
	d := lab(t, 0, host.Want{Name: "a", Address: "10.77.0.11"})
	err := d.Ensure(t.Context(), []host.Want{{Name: "b", Address: "10.77.0.11"}})
	var fault *host.Fault
	if !errors.As(err, &fault) || !strings.Contains(err.Error(), "hosts a and b have one address, 10.77.0.11") || !strings.Contains(fault.Hint, "give the new one its name") {
		t.Errorf("a new host with a's address: got %v, want a fault with both names and a hint", err)
	}
	wants, err := d.Hosts(t.Context())
	if err != nil || len(wants) != 1 || wants[0].Name != "a" {
		t.Errorf("hosts after that: got %v, %v; want a alone", wants, err)
	}
}

// TestLabViews: a host has its own name, /etc and devices, and cannot set what is the machine's.
func TestLabViews(t *testing.T) {
	d := lab(t, 1, host.Want{Name: "s1", CPUs: 1}, host.Want{Name: "s2", CPUs: 1, Address: "10.77.0.99"})
	run := func(name, script string) string {
		t.Helper()
		got, err := hostOf(t, d, name).Run(t.Context(), host.Command{Argv: []string{"sh", "-c", script}})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d %s", got.Code, got.Stdout)
	}
	for _, tt := range []struct{ host, script, want string }{
		{"s1", "uname -n; cat /etc/hostname", "0 s1\ns1\n"},
		{"s1", "grep -w s2 /etc/hosts", "0 10.77.0.99 s2\n"},
		{"generator", "grep -w s1 /etc/hosts", "0 10.77.0.11 s1\n"},
		{"s1", "ls /sys/class/net", "0 eth0\nlo\n"},
		{"switch", "ip -o link show v-s1 | grep -c 'master br0'", "0 1\n"},
		{"s1", "echo 77 2>/dev/null >/proc/sys/vm/swappiness || echo refused", "0 refused\n"},
		{"s1", "echo 1024 >/proc/sys/net/core/somaxconn && cat /proc/sys/net/core/somaxconn", "0 1024\n"},
	} {
		if got := run(tt.host, tt.script); got != tt.want {
			t.Errorf("%s: %s: got %q, want %q", tt.host, tt.script, got, tt.want)
		}
	}
	s1 := hostOf(t, d, "s1")
	if err := s1.Put(t.Context(), "/etc/isukit-test/only-here", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := run("s1", "cat /etc/isukit-test/only-here"); got != "0 x" {
		t.Errorf("a file that was put into /etc: got %q", got)
	}
	if _, err := os.Stat("/etc/isukit-test"); err == nil {
		t.Error("a file that was put into /etc of a host is in the machine's")
	}
}

// machineNow is what the lab must not change, in namespaces of the test's own: what others on the machine do at the same time is not
// seen there. Of the machine's /etc it is what a host of the lab has of its own.
func machineNow(t *testing.T) map[string]string {
	t.Helper()
	now := map[string]string{}
	for name, argv := range map[string][]string{
		"namespaces": {"ip", "netns"}, "devices": {"ip", "-o", "link"}, "addresses": {"ip", "-o", "address"}, "firewall": {"nft", "list", "ruleset"},
		"etc": {"find", "/etc", "-name", "*isukit*"},
	} {
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
		now[name] = string(out)
	}
	for _, file := range []string{"/proc/self/mountinfo", "/proc/sys/kernel/hostname", "/etc/hosts", "/etc/hostname"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		now[file] = string(text)
	}
	for _, root := range []string{"/proc/sys/net", "/proc/sys/vm"} {
		err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || strings.HasSuffix(name, "nf_conntrack_count") {
				return nil
			}
			if text, err := os.ReadFile(name); err == nil {
				now[name] = string(text)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return now
}

// groups are the control groups of the lab in a state directory.
func groups(t *testing.T, stateDir string) []string {
	t.Helper()
	var found []string
	files, _ := filepath.Glob(filepath.Join(stateDir, "*", "*", "state.json"))
	for _, file := range files {
		var s struct{ ID string }
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &s)
		}
		if err != nil || s.ID == "" {
			t.Fatalf("read %s: %v", file, err)
		}
		dirs, _ := filepath.Glob("/sys/fs/cgroup/*/isukit-" + s.ID)
		more, _ := filepath.Glob("/sys/fs/cgroup/isukit-" + s.ID)
		found = append(append(found, dirs...), more...)
	}
	return found
}

func TestLabLeavesTheMachineAlone(t *testing.T) {
	infratest.Real(t)
	if !infratest.Apart(t) {
		return
	}
	before := machineNow(t)
	stateDir := t.TempDir()
	d, err := machine.OpenLab(machine.Options{StateDir: stateDir, Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Ensure(t.Context(), []host.Want{{Name: "s1", CPUs: 1, MemoryBytes: 1 << 28, LinkBitsPerSecond: 1e9}, {Name: "s2", CPUs: 1}}); err != nil {
		t.Fatal(err)
	}
	s1 := hostOf(t, d, "s1")
	program(t, s1, "flood", "0.0.0.0:7000")
	if _, err := s1.Run(t.Context(), host.Command{Argv: []string{"sh", "-c", "echo x >>/etc/hosts; setsid sleep 1000 >/dev/null 2>&1 &"}}); err != nil {
		t.Fatal(err)
	}
	made := groups(t, stateDir)
	if len(made) == 0 {
		t.Error("no control group was found: this test can't fail")
	}
	if diff := cmp.Diff(before, machineNow(t)); diff != "" {
		t.Errorf("the machine while a lab is up (- before, + now):\n%s", diff)
	}
	if err := d.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, machineNow(t)); diff != "" {
		t.Errorf("the machine after the lab (- before, + now):\n%s", diff)
	}
	if left := infratest.ProcessesIn(stateDir); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
	for _, dir := range made {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("control group left: %s", dir)
		}
	}
	if err := d.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestLabOfKilledIsukit kills an isukit while it makes and removes labs. Those that are its own are gone at the next
// command; those that are kept are whole or gone, and can be taken down.
func TestLabOfKilledIsukit(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	for _, how := range []string{"own", "keep"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			stateDir := t.TempDir()
			for range 20 {
				killUpDown(t, how, stateDir)
				made := groups(t, stateDir)
				if _, err := machine.CleanDead(t.Context(), stateDir); err != nil {
					t.Fatal(err)
				}
				if how == "keep" {
					takeDown(t, stateDir)
				}
				// What was not recorded yet exits without having begun.
				wait.For(t, "the last process to end", func() bool { return len(infratest.ProcessesIn(stateDir)) == 0 })
				for _, dir := range made {
					if _, err := os.Stat(dir); err == nil {
						t.Errorf("control group left: %s", dir)
					}
				}
				if runs, err := os.ReadDir(filepath.Join(stateDir, "runs")); err != nil || len(runs) > 0 {
					t.Errorf("run directories left: %v, %v", runs, err)
				}
			}
		})
	}
}

func killUpDown(t *testing.T, how, stateDir string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "updown", how, stateDir)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(rand.N(600 * time.Millisecond))
	cmd.Process.Kill()
	cmd.Wait()
	if text := strings.ReplaceAll(out.String(), "once more\n", ""); text != "" {
		t.Errorf("updown says %q", text)
	}
}

func takeDown(t *testing.T, stateDir string) {
	t.Helper()
	d, err := machine.OpenLab(machine.Options{StateDir: stateDir, Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	wants, err := d.Hosts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wants {
		if _, err := hostOf(t, d, w.Name).Run(t.Context(), host.Command{Argv: []string{"true"}}); err != nil {
			t.Errorf("a host that was kept does not work: %v", err)
		}
	}
	if err := d.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
