package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"isukit/infra/infratest"
)

// topologyEnv is what isukit runs with: servers of the checkout, little data, a state directory of its own.
func topologyEnv(t *testing.T) (program string, env []string, stateDir string) {
	t.Helper()
	infratest.Real(t)
	stateDir = testStateDir(t)
	env = append(os.Environ(), "ISUKIT_SCALE=small", "ISUKIT_STATE_DIR="+stateDir, "ISUKIT_LOCAL_DIR="+filepath.Join(infratest.Root(t), ".local"))
	return filepath.Join(buildBinaries(t), "isukit"), env, stateDir
}

// runTool runs the program to its end.
func runTool(t *testing.T, program string, env []string, args ...string) (out string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir = env, t.TempDir()
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// wantNothingLeft: no process of the state directory runs, none of its ports listens, no host, control group or mount is there.
// groups are those of the lab, while it was up.
func wantNothingLeft(t *testing.T, stateDir string, groups []string) {
	t.Helper()
	if left := infratest.ProcessesIn(stateDir); len(left) > 0 {
		t.Errorf("processes left after down: %q", left)
	}
	if left := listening(t, stateDir); len(left) > 0 {
		t.Errorf("ports left after down: %q", left)
	}
	for _, pattern := range []string{"hosts/*/s[0-9]*", "hosts/*/.driver/*", "runs/*"} {
		if left, _ := filepath.Glob(filepath.Join(stateDir, pattern)); len(left) > 0 {
			t.Errorf("left after down: %q", left)
		}
	}
	for _, dir := range groups {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("control group left after down: %s", dir)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), stateDir) {
		t.Errorf("a mount left after down (%v):\n%s", err, mounts)
	}
}

// labGroups are the control groups of the lab in a state directory.
func labGroups(t *testing.T, stateDir string) (dirs []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(stateDir, "hosts", "lab", "state.json"))
	if err != nil {
		return nil
	}
	var s struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	if s.ID == "" {
		return nil
	}
	for _, pattern := range []string{"/sys/fs/cgroup/isukit-", "/sys/fs/cgroup/*/isukit-"} {
		found, _ := filepath.Glob(pattern + s.ID)
		dirs = append(dirs, found...)
	}
	return dirs
}

// kills is how often isukit is killed in each test of that: ISUKIT_KILLS, or a few times.
func kills(few int) int {
	if n, err := strconv.Atoi(os.Getenv("ISUKIT_KILLS")); err == nil {
		return n
	}
	return few
}

// drawn are the moments from the seed ISUKIT_KILLS_SEED, or from a random one, which is printed.
func drawn(t *testing.T) *rand.Rand {
	t.Helper()
	seed, err := strconv.ParseUint(os.Getenv("ISUKIT_KILLS_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("seed %d (ISUKIT_KILLS_SEED)", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// TestTopologyKilled kills isukit at random moments of an apply: the next apply ends in what was declared, the next down in
// nothing. make stress-topology does it 20 times with each driver.
func TestTopologyKilled(t *testing.T) {
	t.Parallel()
	for driver, few := range map[string]int{"local": 3, "lab": 2} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			program, env, stateDir := topologyEnv(t)
			topology := func(args ...string) (string, error) {
				return runTool(t, program, env, append(append([]string{"topology"}, args...), "--driver", driver)...)
			}
			defer topology("down")
			killApplies(t, kills(few), killing{
				goals: map[string][]string{"local": {"fanout-2", "single", "split"}, "lab": {"final-1", "single", "split"}}[driver],
				run:   topology,
				kill: func(goal string, after time.Duration) {
					cmd := exec.Command(program, "topology", "apply", goal, "--driver", driver, "-q")
					cmd.Env = env
					if err := cmd.Start(); err != nil {
						t.Fatal(err)
					}
					time.Sleep(after)
					cmd.Process.Kill()
					cmd.Wait()
				},
				up: func() {
					if ports := listening(t, stateDir); (len(ports) > 0) != (driver == "local") {
						t.Errorf("ports of the machine while a topology is up with driver %s: %q", driver, ports)
					}
				},
				down: func(do func()) {
					groups := labGroups(t, stateDir)
					do()
					wantNothingLeft(t, stateDir, groups)
				},
			})
		})
	}
}

// killing is how applies are killed with one driver.
type killing struct {
	goals []string
	run   func(args ...string) (string, error) // isukit topology
	kill  func(goal string, after time.Duration)
	up    func()          // looks at what is up
	down  func(do func()) // does it, and inspects the rest
}

// killApplies kills applies: each time the next apply, or every fourth time the next down, does what it should.
func killApplies(t *testing.T, kills int, k killing) {
	t.Helper()
	begin := time.Now()
	if out, err := k.run("apply", k.goals[1], "-q"); err != nil {
		t.Fatalf("apply %s: %v\n%s", k.goals[1], err, out)
	}
	took := time.Since(begin)
	k.up()
	down := func() {
		t.Helper()
		if out, err := k.run("down", "-q"); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
	}
	random := drawn(t)
	for n := range kills {
		goal := k.goals[n%len(k.goals)]
		after := time.Duration(random.Int64N(int64(took + took/4)))
		k.kill(goal, after)
		t.Logf("kill %d, of the apply of %s, after %v", n, goal, after.Round(time.Millisecond))
		if n%4 == 3 {
			k.down(down)
			continue
		}
		out, err := k.run("apply", goal, "-q")
		if err == nil {
			out, err = k.run("verify")
		}
		if err != nil {
			t.Errorf("kill %d, of the apply of %s after %v: %v\n%s", n, goal, after, err, out)
		}
	}
	k.down(down)
}

// machineState is what a lab must leave as it was, in namespaces of the test's own: named namespaces, devices, addresses, network
// settings and the firewall; and of the machine's /etc what bears isukit's name.
func machineState(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `ip netns; ip -o link | cut -d: -f2; ip -o address; sysctl -a 2>/dev/null | grep '^net\.ipv4\.\(tcp_\|ip_forward\|ip_local\)' | grep -v metrics; nft list ruleset; find /etc -name '*isukit*'; grep -rl isukit /etc/hosts /etc/sysctl* /etc/security /etc/systemd 2>/dev/null; true`).CombinedOutput()
	if err != nil {
		t.Fatalf("look at the machine: %v\n%s", err, out)
	}
	return string(out)
}

// TestLabFinals plays a round on placements of the lab in turn, and takes it down: every round is scored, and the machine is as it
// was. ISUKIT_FINALS=all plays all four and back.
func TestLabFinals(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	if os.Geteuid() != 0 {
		t.Fatal("the lab needs root")
	}
	program, inside := apart(t)
	if !inside {
		return
	}
	_, env, stateDir := topologyEnv(t)
	before := machineState(t)
	defer runTool(t, program, env, "topology", "down", "--driver", "lab")
	finals := []string{"final-1", "final-4"}
	if os.Getenv("ISUKIT_FINALS") == "all" {
		finals = []string{"final-1", "final-2", "final-3", "final-4", "final-3", "final-2", "final-1"}
	}
	for _, name := range finals {
		start := time.Now()
		if out, err := runTool(t, program, env, "topology", "apply", name, "--driver", "lab", "-q"); err != nil {
			t.Errorf("apply %s: %v\n%s", name, err, out)
		}
		t.Logf("apply %s took %v", name, time.Since(start).Round(time.Millisecond))
		out, err := runTool(t, program, env, "round", "-t", name, "--driver", "lab", "--duration", "2s", "-q")
		if err != nil || !strings.Contains(out, "PASS") {
			t.Errorf("a round on %s: %v\n%s", name, err, out)
		}
	}
	groups := labGroups(t, stateDir)
	if len(groups) == 0 {
		t.Error("no control group of the lab was found: this test cannot fail")
	}
	if ports := listening(t, stateDir); len(ports) > 0 {
		t.Errorf("ports of the machine while the lab is up: %q, want none", ports)
	}
	if out, err := runTool(t, program, env, "topology", "down", "--driver", "lab"); err != nil {
		t.Errorf("down: %v\n%s", err, out)
	}
	wantNothingLeft(t, stateDir, groups)
	if diff := gocmp.Diff(strings.Split(before, "\n"), strings.Split(machineState(t), "\n")); diff != "" {
		t.Errorf("the machine is not as it was (-was +is):\n%s", diff)
	}
}

// listening lists the listening TCP sockets of this network namespace that belong to a process with dir in its environment, its command
// line or as its directory: those of other tests are not included.
func listening(tb testing.TB, dir string) []string {
	tb.Helper()
	ours := socketsOf(func(proc string) bool {
		for _, file := range []string{"environ", "cmdline"} {
			if text, err := os.ReadFile(filepath.Join(proc, file)); err == nil && strings.Contains(string(text), dir) {
				return true
			}
		}
		cwd, err := os.Readlink(filepath.Join(proc, "cwd"))
		return err == nil && strings.HasPrefix(cwd+"/", dir+"/")
	})
	var found []string
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		infratest.NoError(tb, err)
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && ours["socket:["+f[9]+"]"] { // TCP_LISTEN
				found = append(found, f[1])
			}
		}
	}
	return found
}

// socketsOf are the sockets of the processes that match, as links in /proc name them.
func socketsOf(match func(proc string) bool) map[string]bool {
	sockets := map[string]bool{}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		if !match(p) {
			continue
		}
		files, _ := filepath.Glob(filepath.Join(p, "fd", "*"))
		for _, f := range files {
			if target, err := os.Readlink(f); err == nil {
				sockets[target] = true
			}
		}
	}
	return sockets
}
