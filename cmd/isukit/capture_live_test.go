package main

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"isukit/infra/infratest"
)

// inNamespace tells a test that it runs in the network namespace that it asked for, and where the binaries are.
const inNamespace = "ISUKIT_TEST_IN_NETNS"

// TestLiveCapture captures traffic as it happens, in a network namespace of its own, and compares what was read with what
// the sender did: nothing is lost, and little CPU time is used.
func TestLiveCapture(t *testing.T) {
	infratest.Real(t)
	if os.Getenv(inNamespace) == "" {
		againInNamespace(t)
		return
	}
	captureLiveTraffic(t, filepath.Join(os.Getenv(inNamespace), "isukit"))
}

// againInNamespace runs the test once more in a process with a network namespace of its own, and reports as that does.
func againInNamespace(t *testing.T) {
	t.Helper()
	cmd := exec.Command("sh", "-ec", `ip link set lo up; exec "$0" "$@"`, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"="+buildBinaries(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("in a network namespace (root is needed): %v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// captureLiveTraffic tries three times to keep the limit: beside other work the same hits cost more CPU time, and never less.
func captureLiveTraffic(t *testing.T, binary string) {
	const limit = 0.05
	least := math.Inf(1)
	for try := 0; try < 3 && least > limit; try++ {
		least = min(least, captureOnce(t, binary))
	}
	if least > limit {
		t.Errorf("the capture used %.1f %% of the host's CPU time, want below %.0f", least*100, limit*100)
	}
}

// captureOnce returns the share of the host's CPU time that the capture took.
func captureOnce(t *testing.T, binary string) float64 {
	t.Helper()
	const count, perSecond = 4000, 1000
	var out bytes.Buffer
	var cmd *exec.Cmd
	began := time.Now()
	sent := traffic(t, count, nil, false, func(port string, run func()) {
		cmd = exec.Command(binary, "capture", "--live", "lo", "--jsonl", "tcp port "+port)
		cmd.Stdout = &out
		errs, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(errs)
		if !lines.Scan() || !strings.Contains(lines.Text(), "capturing on lo") {
			t.Fatalf("got %q, want that it captures", lines.Text())
		}
		began = time.Now()
		run()
		if rest := count*time.Second/perSecond - time.Since(began); rest > 0 {
			time.Sleep(rest) // so that the CPU time is that of perSecond hits a second
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			t.Log(lines.Text())
			if strings.Contains(lines.Text(), "lost by the capture") && !strings.Contains(lines.Text(), "; 0 packets were lost") {
				t.Errorf("got %q, want 0 lost", lines.Text())
			}
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("a live capture ends with Ctrl-C without an error, got %v", err)
		}
	})
	share := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds() / time.Since(began).Seconds() / float64(runtime.NumCPU())
	t.Logf("the capture used %.1f %% of the host's CPU time (user %v, system %v)", share*100, cmd.ProcessState.UserTime(), cmd.ProcessState.SystemTime())
	got := capturedExchanges(t, out.String())
	sortSent(sent)
	if diff := gocmp.Diff(sent, got); diff != "" {
		t.Errorf("%d sent, %d captured (-sent +captured):\n%.2000s", len(sent), len(got), diff)
	}
	return share
}
