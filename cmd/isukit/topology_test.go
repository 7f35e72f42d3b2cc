package main

import (
	"context"
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir = env, t.TempDir()
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// processesOf are the command lines that name the state directory.
func processesOf(stateDir string) (list []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(text), stateDir) {
			list = append(list, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return list
}

// wantNothingLeft: no process of the state directory runs, and no host is in it.
func wantNothingLeft(t *testing.T, stateDir string) {
	t.Helper()
	if left := processesOf(stateDir); len(left) > 0 {
		t.Errorf("processes left after down: %q", left)
	}
	if left, _ := filepath.Glob(filepath.Join(stateDir, "hosts/*/s[0-9]*")); len(left) > 0 {
		t.Errorf("hosts left after down: %q", left)
	}
}

// TestTopologyKilled kills isukit at random moments of an apply: the next apply ends in what was declared, the next down in
// nothing. ISUKIT_KILLS says how often; 3 by default.
func TestTopologyKilled(t *testing.T) {
	t.Parallel()
	program, env, stateDir := topologyEnv(t)
	kills := 3
	if n, err := strconv.Atoi(os.Getenv("ISUKIT_KILLS")); err == nil {
		kills = n
	}
	if out, err := runTool(t, program, env, "topology", "apply", "single", "-q"); err != nil {
		t.Fatalf("apply single: %v\n%s", err, out)
	}
	defer runTool(t, program, env, "topology", "down")
	for n := range kills {
		goal := []string{"fanout-2", "single", "split"}[n%3]
		after := time.Duration(rand.Int64N(int64(2 * time.Second)))
		cmd := exec.Command(program, "topology", "apply", goal, "-q")
		cmd.Env = env
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after)
		cmd.Process.Kill()
		cmd.Wait()
		if n%4 == 3 {
			if out, err := runTool(t, program, env, "topology", "down"); err != nil {
				t.Errorf("kill %d, of the apply of %s after %v: down: %v\n%s", n, goal, after, err, out)
			}
			wantNothingLeft(t, stateDir)
			continue
		}
		out, err := runTool(t, program, env, "topology", "apply", goal, "-q")
		if err == nil {
			out, err = runTool(t, program, env, "topology", "verify")
		}
		if err != nil {
			t.Errorf("kill %d, of the apply of %s after %v: %v\n%s", n, goal, after, err, out)
		}
	}
	if out, err := runTool(t, program, env, "topology", "down"); err != nil {
		t.Errorf("down: %v\n%s", err, out)
	}
	wantNothingLeft(t, stateDir)
}

// machineState is what a lab must leave as it was: namespaces with a name, network settings, and the files of /etc that were
// written since.
func machineState(t *testing.T, since time.Time) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `ip netns; ip -o link | cut -d: -f2; sysctl -a 2>/dev/null | grep '^net\.ipv4\.\(tcp_\|ip_forward\|ip_local\)' | grep -v metrics; nft list ruleset; find /etc -newermt "$0" -type f`,
		since.Format("2006-01-02 15:04:05")).CombinedOutput()
	if err != nil {
		t.Fatalf("look at the machine: %v\n%s", err, out)
	}
	return infratest.WithoutTests(string(out))
}

// TestLabFinals plays a round on placements of the lab in turn, and takes it down: every round is scored, and the machine is as it
// was. ISUKIT_FINALS=all plays all four and back.
func TestLabFinals(t *testing.T) {
	t.Parallel()
	program, env, stateDir := topologyEnv(t)
	if os.Geteuid() != 0 {
		t.Fatal("the lab needs root")
	}
	began := time.Now()
	before := machineState(t, began)
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
	if out, err := runTool(t, program, env, "topology", "down", "--driver", "lab"); err != nil {
		t.Errorf("down: %v\n%s", err, out)
	}
	wantNothingLeft(t, stateDir)
	if diff := gocmp.Diff(strings.Split(before, "\n"), strings.Split(machineState(t, began), "\n")); diff != "" {
		t.Errorf("the machine is not as it was (-was +is):\n%s", diff)
	}
}
