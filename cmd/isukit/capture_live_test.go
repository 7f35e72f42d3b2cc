package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// TestLiveCapture captures traffic as it happens, in a network namespace of its own, and compares what was read with what
// the sender did: nothing is lost.
func TestLiveCapture(t *testing.T) {
	infratest.Real(t)
	if binary, inside := apart(t); inside {
		captureLiveTraffic(t, binary, 4000, func() {})
	}
}

// BenchmarkLiveCapture reports the share of the host's CPU time that the capture of 1,000 exchanges a second takes; the target is 5 %.
func BenchmarkLiveCapture(b *testing.B) {
	infratest.Real(b)
	binary := filepath.Join(buildBinaries(b), "isukit")
	for b.Loop() {
		const count, perSecond = 4000, 1000
		began := time.Now()
		used := captureLiveTraffic(b, binary, count, func() { time.Sleep(count*time.Second/perSecond - time.Since(began)) })
		b.ReportMetric(100*(used.UserTime()+used.SystemTime()).Seconds()/time.Since(began).Seconds()/float64(runtime.NumCPU()), "%-of-the-host(target:5)")
	}
}

// captureLiveTraffic holds what was captured against what was sent; after is called when all is sent.
func captureLiveTraffic(t testing.TB, binary string, count int, after func()) *os.ProcessState {
	t.Helper()
	var out lineCounter
	var cmd *exec.Cmd
	// The kernel keeps packets for seconds: on a busy machine the capture may be without a CPU for longer than that.
	var answered atomic.Int64
	beside := func() {
		n := answered.Add(1)
		wait.Within(func() bool { return out.lines.Load() >= n-300 })
	}
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
		run()
		after()
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
	}, beside)
	got := capturedExchanges(t, out.text.String())
	sortSent(sent)
	if diff := gocmp.Diff(sent, got); diff != "" {
		t.Errorf("%d sent, %d captured (-sent +captured):\n%.2000s", len(sent), len(got), diff)
	}
	return cmd.ProcessState
}

// lineCounter keeps what is written to it, and counts its lines as they come.
type lineCounter struct {
	text  bytes.Buffer
	lines atomic.Int64
}

func (c *lineCounter) Write(p []byte) (int, error) {
	c.lines.Add(int64(bytes.Count(p, []byte("\n"))))
	return c.text.Write(p)
}
