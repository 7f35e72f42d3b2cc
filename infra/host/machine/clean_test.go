package machine_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// helper starts services until it is killed. "orphan" is a first process that ends and leaves another of its group, as
// nginx does when its master is killed.
func helper(args []string) error {
	l, err := machine.OpenHere(args[0])
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		for name, script := range map[string]string{
			"plain":    "exec sleep 1000",
			"children": "sleep 1000 & sleep 1000 & wait",
			"orphan":   "sleep 1000 &",
			"stubborn": "trap '' TERM INT HUP; while :; do sleep 1; done",
		} {
			name := fmt.Sprintf("%s-%d", name, n)
			err := l.Start(context.Background(), host.Service{
				Name: name, Argv: []string{"sh", "-c", script}, LogFile: filepath.Join(l.About().Dir, name+".log"),
			})
			if err != nil {
				return err
			}
		}
		fmt.Println("ready")
		if n == 5 {
			time.Sleep(time.Hour)
		}
	}
}

// startHelper returns a running helper whose output is read by line.
func startHelper(t *testing.T, stateDir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "here", stateDir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, bufio.NewScanner(out)
}

func TestCleanDead(t *testing.T) {
	stateDir := t.TempDir()
	cmd, lines := startHelper(t, stateDir)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("helper says %q, want ready", lines.Text())
	}

	// While it lives, nothing is touched.
	done, err := machine.CleanDead(t.Context(), stateDir)
	if err != nil || len(done.Ended) > 0 || len(done.Removed) > 0 {
		t.Errorf("CleanDead while its owner lives: got %+v, %v; want nothing done", done, err)
	}

	cmd.Process.Kill()
	cmd.Wait()
	if left := infratest.ProcessesIn(stateDir); len(left) < 5 {
		t.Errorf("processes after the helper was killed: got %v, want those of 4 services: this test can't fail", left)
	}
	done, err = machine.CleanDead(t.Context(), stateDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"plain-0", "children-0", "stubborn-0"} {
		if !slices.ContainsFunc(done.Ended, func(e machine.Ended) bool { return e.Name == name }) {
			t.Errorf("CleanDead ended %+v, want %s among them", done.Ended, name)
		}
	}
	if len(done.Removed) != 1 {
		t.Errorf("CleanDead removed %q, want one run directory", done.Removed)
	}
	wantNothingLeft(t, stateDir)

	done, err = machine.CleanDead(t.Context(), stateDir)
	if err != nil || len(done.Ended) > 0 || len(done.Removed) > 0 {
		t.Errorf("CleanDead again: got %+v, %v; want nothing done", done, err)
	}
}

// TestCleanDeadAtAnyMoment kills the helper while it makes its run directory or starts processes.
func TestCleanDeadAtAnyMoment(t *testing.T) {
	stateDir := t.TempDir()
	for range 20 {
		cmd, _ := startHelper(t, stateDir)
		time.Sleep(rand.N(60 * time.Millisecond))
		cmd.Process.Kill()
		cmd.Wait()
		if _, err := machine.CleanDead(t.Context(), stateDir); err != nil {
			t.Fatal(err)
		}
		// What was not recorded yet exits without having begun.
		wait.ForNil(t, "the last process to end", func() error {
			if left := infratest.ProcessesIn(stateDir); len(left) > 0 {
				return fmt.Errorf("left: %q", left)
			}
			return nil
		})
		wantNothingLeft(t, stateDir)
	}
}

// TestCleanDeadSparesStrangers: a number on record that has come to another process is left alone.
func TestCleanDeadSparesStrangers(t *testing.T) {
	stateDir := t.TempDir()
	stranger := exec.Command("sleep", "1000")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stranger.Process.Kill(); stranger.Wait() }()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	for name, record := range map[string]string{
		"started earlier": fmt.Sprintf(`{"boot":%q,"name":"db-1","pid":%d,"start":1}`, strings.TrimSpace(string(boot)), stranger.Process.Pid),
		"another boot":    fmt.Sprintf(`{"boot":"other","name":"db-1","pid":%d,"start":1}`, stranger.Process.Pid),
		"cut short":       `{"boot":"x","na`,
	} {
		run := filepath.Join(stateDir, "runs", "dead")
		if err := os.MkdirAll(run, 0o700); err != nil {
			t.Fatal(err)
		}
		end := "\n"
		if name == "cut short" {
			end = ""
		}
		if err := os.WriteFile(filepath.Join(run, "inventory"), []byte(record+end), 0o600); err != nil {
			t.Fatal(err)
		}
		done, err := machine.CleanDead(t.Context(), stateDir)
		if err != nil || len(done.Ended) > 0 || len(done.Removed) != 1 {
			t.Errorf("%s: got %+v, %v; want the directory removed and no process ended", name, done, err)
		}
		if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
			t.Fatalf("%s: the stranger is dead (%v)", name, err)
		}
	}
}

func wantNothingLeft(t *testing.T, stateDir string) {
	t.Helper()
	if left := infratest.ProcessesIn(stateDir); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
	runs, err := os.ReadDir(filepath.Join(stateDir, "runs"))
	if err != nil && !os.IsNotExist(err) || len(runs) > 0 {
		t.Errorf("run directories left: %v (%v)", runs, err)
	}
}
