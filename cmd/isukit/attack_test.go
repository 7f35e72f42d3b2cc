package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/infratest/wait"
)

// largeRound is a directory with one round whose record has some 30 MB, as two ids.
func largeRound(t *testing.T) (dir string, ids [2]string) {
	t.Helper()
	dir = t.TempDir()
	for i := range ids {
		r := &result.Round{ID: result.NewID(time.Date(2026, 11, 22, 20, i, 0, 0, time.UTC), "x"), Passed: true, Score: result.Score{Lines: []result.ScoreLine{}}}
		ids[i] = r.ID
		for n := range 15_000 {
			r.Endpoints = append(r.Endpoints, result.Endpoint{Name: fmt.Sprintf("GET /%d/%s", n, strings.Repeat("x", 1500)), Hits: int64(n)})
		}
		if _, err := result.Write(dir, r); err != nil {
			t.Fatal(err)
		}
	}
	return dir, ids
}

// allocated is what running do allocates, in bytes.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// parallelGets sends n requests in parallel and wants the same response to all.
func parallelGets(t *testing.T, url string, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			resp, err := http.Get(url)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %s, %v", url, resp.Status, err)
			}
		})
	}
	wg.Wait()
}

// TestServeDoesWorkOnce holds that forty requests for the list of rounds read a record of 30 MB once, as one request does.
func TestServeDoesWorkOnce(t *testing.T) {
	dir, _ := largeRound(t)
	get := func(n int) uint64 {
		server := httptest.NewServer(newRoundServer(dir).handler())
		defer server.Close()
		return allocated(func() {
			for range n {
				parallelGets(t, server.URL+"/", 40)
			}
		})
	}
	once := allocated(func() {
		if _, err := newRoundServer(dir).list.entries(); err != nil {
			t.Fatal(err)
		}
	})
	if took := get(2); took > once+once/2 {
		t.Errorf("eighty requests allocate %d MiB, reading the records takes %d", took>>20, once>>20)
	}
}

// TestServeMemory limits the memory of a server while many requests in parallel want pages of rounds of 30 MB.
func TestServeMemory(t *testing.T) {
	t.Parallel()
	dir, ids := largeRound(t)
	cmd := exec.Command(filepath.Join(buildBinaries(t), "isukit"), "serve", "--listen", "127.0.0.1:0", "--results", dir, "--state-dir", t.TempDir())
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("it ends with %v", err)
		}
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	base := regexp.MustCompile(`http://\S+`).FindString(line)
	if err != nil || base == "" {
		t.Fatalf("%v: %q", err, line)
	}
	parallelGets(t, base, 40)
	for _, path := range []string{"rounds/" + ids[0] + "/report.html", "diff?a=" + ids[0] + "&b=" + ids[1], "rounds/" + ids[0] + "/round.json"} {
		parallelGets(t, base+path, 4) // pages are made one after another
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	most, err := strconv.Atoi(string(regexp.MustCompile(`VmHWM:\s+(\d+)`).FindSubmatch(status)[1]))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB at most", most>>10)
	if limit := 256 + 2*result.MaxRoundBytes>>20; most>>10 > limit { // two records are compared
		t.Errorf("%d MiB were resident, want at most %d", most>>10, limit)
	}
}

// TestServeCutsSlowClients: clients that do not read a file, or little of a large page, or send no request, are disconnected; then
// others are served.
func TestServeCutsSlowClients(t *testing.T) {
	dir, ids := largeRound(t)
	h := newRoundServer(dir)
	h.patience, h.pagePatience = 300*time.Millisecond, 300*time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := h.server()
	server.ReadTimeout = 300 * time.Millisecond
	var closed atomic.Int64
	server.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed.Add(1)
		}
	}
	go func() { _ = server.Serve(&fewConns{Listener: l, free: make(chan struct{}, 3)}) }()
	defer server.Close()
	for i, request := range []string{"GET /rounds/" + ids[0] + "/round.json HTTP/1.1\r\nHost: a\r\n\r\n", "GET /rounds/" + ids[0] + "/report.html HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HT"} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.(*net.TCPConn).SetReadBuffer(16 << 10); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			go func() {
				for buf := make([]byte, 1000); err == nil; time.Sleep(20 * time.Millisecond) {
					_, err = c.Read(buf)
				}
			}()
		}
	}
	wait.For(t, "three slow clients to be cut", func() bool { return closed.Load() >= 3 })
	resp, err := http.Get("http://" + l.Addr().String() + "/diff?a=" + ids[0] + "&b=" + ids[0])
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("after them: %v, %v", resp, err)
	}
}

// TestPipesAndDevicesAreRefused: where a file is named, a pipe or a device is none, and nothing waits for it.
func TestPipesAndDevicesAreRefused(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "x.proto")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	body := filepath.Join(t.TempDir(), "body")
	write(t, body, "\x08\x05")
	for _, command := range []string{
		"capture FILE", "routes learn FILE --proto ../../proto/portal", "replay FILE --to http://127.0.0.1:1", "decode FILE", "decode --raw FILE", "decode --diff --type Team BODY FILE", "encode --type Team --file FILE", "send --to http://127.0.0.1:1 /api/login --file FILE",
		"types --proto FILE", "types --proto DIR", "types --descriptor-set FILE", "routes --proto DIR", "routes --routes FILE", "capture --routes FILE BODY", "capture --keylog FILE BODY", "send --to http://127.0.0.1:1 --jar FILE /api/session",
		"digest access FILE", "digest queries FILE", "topology show FILE", "topology verify -t FILE", "tune show FILE", "round --yes --project FILE", "observe --yes --project FILE", "doctor --yes --project FILE", "final --yes --project FILE", "replicas lint FILE", "round -t FILE", "diff FILE FILE",
	} {
		for _, file := range []string{pipe, "/dev/zero"} {
			args := strings.Fields(strings.NewReplacer("FILE", file, "DIR", dir, "BODY", body).Replace(command))
			finishes(t, strings.Join(args, " "), func() {
				if code, out, errs := isukitIn(t, "", args...); code == ui.ExitOK {
					t.Errorf("%v: exit 0\n%s%s", args, out, errs)
				}
			})
		}
	}
}

// TestFirstSignalEndsWaiting: what reads its standard input, or a pipe of the shell's, and waits for more of it ends with the first signal.
func TestFirstSignalEndsWaiting(t *testing.T) {
	isukit := filepath.Join(buildBinaries(t), "isukit")
	const pcap = "\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x01\x00\x00\x00"
	for _, c := range []struct{ command, begins string }{
		{"capture -", pcap}, {"capture /dev/fd/3", pcap}, {"capture -", `{"log":{"entries":[`}, {"routes learn - --proto ../../proto/portal", pcap}, {"replay - --to http://127.0.0.1:1", pcap}, {"decode --type Team", "\x08"}, {"decode --type Team /dev/fd/3", "\x08"},
		{"encode --type Team --file -", "id: 5"}, {"send --to http://127.0.0.1:1 /api/login --file -", "name: 5"}, {"digest access -", "x"}, {"digest queries -", "x"}, {"digest access /dev/fd/3", "x"},
	} {
		t.Run(c.command, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer w.Close()
			cmd := exec.Command(isukit, append(strings.Fields(c.command), "--state-dir", t.TempDir())...)
			cmd.Stdin, cmd.ExtraFiles = r, []*os.File{r}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() { defer close(ended); _ = cmd.Wait() }()
			defer func() { _ = cmd.Process.Kill(); <-ended }()
			if _, err := io.WriteString(w, c.begins); err != nil {
				t.Fatal(err)
			}
			wait.For(t, "what was written to be read", func() bool {
				left, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ)
				return err == nil && left == 0
			})
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			wait.For(t, "it to end", func() bool {
				select {
				case <-ended:
					return true
				default:
					return false
				}
			})
		})
	}
}

// TestForeignProjectOnATerminal: the question whether to run what a file says is asked on a terminal, and only a yes runs it.
func TestForeignProjectOnATerminal(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]bool{"y\n": true, "yes\n": true, "n\n": false, "\n": false, "x\n": false, "\x04": false} {
		dir := standIn(t, "", "touch ran; echo '{\"pass\":true,\"score\":5}'")
		line := shellWords([]string{filepath.Join(buildBinaries(t), "isukit"), "--state-dir", t.TempDir(), "round", "-q", "--project", filepath.Join(dir, "isukit.yaml"), "--results", filepath.Join(dir, "results")})
		cmd := exec.Command("script", "-qec", line, os.DevNull)
		cmd.Env = append(os.Environ(), "ISUKIT_YES=0")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var out lockedBuffer
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatalf("script (Debian package bsdutils) makes the terminal: %v", err)
		}
		wait.For(t, "the question", func() bool { return strings.Contains(out.String(), "run them? [y/N]") })
		if !strings.Contains(out.String(), "touch ran") || !strings.Contains(out.String(), "is new to this machine") {
			t.Errorf("it asks %q", out.String())
		}
		if _, err := io.WriteString(in, answer); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if _, err := os.Stat(filepath.Join(dir, "ran")); (err == nil) != want {
			t.Errorf("%q: it ran: %v, want %v\n%s", answer, err == nil, want, out.String())
		}
	}
}

// lockedBuffer is a buffer that one writes and another reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
