package infra_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"isukit/infra"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// helperEnv makes the test binary the isukit that is killed, with this Spec in JSON; with machineEnv it only prints which machine it takes
// this one for.
const helperEnv, machineEnv = "ISUKIT_INFRA_TEST_HELPER", "ISUKIT_INFRA_TEST_MACHINE"

func TestMain(m *testing.M) {
	if text := os.Getenv(helperEnv); text != "" {
		os.Exit(helper(text))
	}
	code := m.Run()
	if app.dir != "" {
		os.RemoveAll(app.dir)
	}
	os.Exit(code)
}

// helper brings a topology up and waits to be killed.
func helper(text string) int {
	var spec infra.Spec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		fmt.Println(err)
		return 1
	}
	if os.Getenv(machineEnv) != "" {
		fmt.Println(infra.MachineOfUp(spec))
		return 0
	}
	if _, err := up(context.Background(), spec); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("up")
	time.Sleep(time.Hour)
	return 0
}

// TestCleanDead kills an isukit at random moments of its start, and once when everything runs: the next one ends and removes the rest.
func TestCleanDead(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			spec := spec(t, engine, "nginx")
			preparing := killHelper(t, spec, 0)
			prepared := killHelper(t, spec, 0)
			for n := range 4 {
				within := prepared
				if n%2 == 0 { // every other time the data must be prepared first
					within = preparing
					if err := os.RemoveAll(filepath.Join(spec.StateDir, "cache")); err != nil {
						t.Fatal(err)
					}
				}
				killHelper(t, spec, rand.N(within))
			}
		})
	}
}

// killHelper kills a helper after a time, or, when that is 0, when everything runs; it returns how long it lived.
func killHelper(t *testing.T, spec infra.Spec, after time.Duration) time.Duration {
	t.Helper()
	spec.Progress = nil
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+string(text))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	if after == 0 {
		lines := bufio.NewScanner(out)
		if !lines.Scan() || lines.Text() != "up" {
			said := lines.Text()
			for lines.Scan() { // the log of what did not start
				said += "\n" + lines.Text()
			}
			t.Fatalf("helper says %q, want up", said)
		}
	} else {
		time.Sleep(after)
	}
	lived := time.Since(start)
	cmd.Process.Kill()
	cmd.Wait()

	done, err := machine.CleanDead(t.Context(), spec.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("killed after %v: %+v", lived.Round(time.Millisecond), done)
	if after == 0 {
		for _, name := range []string{"db-1", "api-1", "web-1", "proxy-1"} {
			if !slices.ContainsFunc(done.Ended, func(e machine.Ended) bool { return e.Name == name }) {
				t.Errorf("CleanDead ended %+v, want %s among them", done.Ended, name)
			}
		}
	}
	wantNothingIn(t, spec.StateDir)
	return lived
}

// TestUpFaults: what fails is named with the end of its log, and nothing is left.
func TestUpFaults(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	const version = `[ "$1" != version ] || { echo '{"version":"1","dataset_version":1}'; exit; }` + "\n"
	const prepared = `[ "$3" != prepare ] || exit 0` + "\n"
	for name, tt := range map[string]struct {
		app  string // a shell script in the app's place
		want []string
	}{
		"no version":    {"echo what? >&2; exit 2", []string{"query the version of ", "exit status 2: what?"}},
		"bad version":   {"echo one", []string{"query the version of ", `in "one"`}},
		"prepare fails": {version + "echo no tables today >&2; exit 1", []string{"prepare the dataset: ", "exit status 1: no tables today"}},
		"serve fails": {version + prepared + "echo cannot serve; exit 1",
			[]string{"exited before it was healthy (exit status 1)", "cannot serve"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := spec(t, "mariadb", "nginx")
			spec.AppBinary = filepath.Join(t.TempDir(), "app")
			infratest.Program(t, spec.AppBinary, "#!/bin/sh\n"+tt.app+"\n")
			r, err := up(t.Context(), spec)
			if err == nil {
				r.Down(t.Context())
				t.Fatal("Up: got no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Up: got error %v, want %q in it", err, want)
				}
			}
			wantNothingIn(t, spec.StateDir)
		})
	}
}

func TestSpecFaults(t *testing.T) {
	spec := infra.Spec{AppBinary: "/nowhere/isukit-app", StateDir: t.TempDir()}
	if _, err := up(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "no topology") {
		t.Errorf("an empty Spec: got error %v, want it to say that there is no topology", err)
	}
	var err error
	if spec.Topology, err = infra.Shipped("single"); err != nil {
		t.Fatal(err)
	}
	var hint *host.Fault
	if _, err := up(t.Context(), spec); !errors.As(err, &hint) || hint.Hint != "make build" || !strings.Contains(err.Error(), spec.AppBinary) {
		t.Errorf("a Spec without the app: got error %v, want one with the hint make build", err)
	}
	if _, err := infra.Shipped("no-such"); err == nil || !strings.Contains(err.Error(), "single") {
		t.Errorf("Shipped(no-such): got error %v, want one that lists single", err)
	}
}

// TestUpCancelled ends the context of Up at random moments: nothing is left when Up returns.
func TestUpCancelled(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	spec := spec(t, "mariadb", "nginx")
	start := time.Now()
	r, err := up(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	if err := r.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range 6 {
		if n%2 == 0 { // every other time the data must be prepared first
			if err := os.RemoveAll(filepath.Join(spec.StateDir, "cache")); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(took))
		r, err := up(ctx, spec)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Up: got error %v, want context.DeadlineExceeded", err)
		}
		if err == nil {
			if err := r.Down(t.Context()); err != nil {
				t.Error(err)
			}
		}
		wantNothingIn(t, spec.StateDir)
	}
}

// wantNothingIn: no process works in or writes to the state directory, no run is there, nothing unfinished is kept.
func wantNothingIn(t *testing.T, stateDir string) {
	t.Helper()
	if !wait.Within(func() bool { return len(infratest.ProcessesIn(stateDir)) == 0 }) {
		t.Errorf("processes left: %q", infratest.ProcessesIn(stateDir))
	}
	wantClean(t, stateDir, nil)
}
