package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
)

// TestCaptureNeedsRoot runs a live capture as a user without rights: the error names the right, and the way without it.
func TestCaptureNeedsRoot(t *testing.T) {
	infratest.Real(t)
	out, code := asNobody(t, reachable(t), "capture", "--live", "lo")
	for _, want := range []string{"isukit: error: capture on lo: it needs root, or the capability CAP_NET_RAW", "isukit: hint: run it with sudo"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if code != ui.ExitFailed {
		t.Errorf("exit code %d, want %d", code, ui.ExitFailed)
	}
}

// TestTuneNeedsRoot refuses tunings of services on this machine before anything is written.
func TestTuneNeedsRoot(t *testing.T) {
	infratest.Real(t)
	dir := reachable(t)
	file := "name: app\nhosts:\n  - {name: s1}\ndatabases: [{host: s1, client: touch " + dir + "/state/asked}]\nbenchmark: {external: true}\n"
	if err := os.WriteFile(filepath.Join(dir, "isukit.yaml"), []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	out, code := asNobody(t, dir, "tune", "apply", "mysql/memory", "--yes")
	if code != ui.ExitUsage || !strings.Contains(out, "isukit: error: tunings of services on this machine need root") {
		t.Errorf("exit code %d, want %d, and the reason in\n%s", code, ui.ExitUsage, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "state", "asked")); err == nil {
		t.Error("the database was asked")
	}
}

// asNobody runs isukit in a directory as a user without rights, with a state directory of that user.
func asNobody(t *testing.T, dir string, args ...string) (out string, code int) {
	t.Helper()
	binary := filepath.Join(dir, "isukit")
	data, err := os.ReadFile(filepath.Join(buildBinaries(t), "isukit"))
	if err != nil {
		t.Fatal(err)
	}
	infratest.Program(t, binary, data)
	const nobody = 65534
	state := filepath.Join(dir, "state")
	if err := errors.Join(os.Mkdir(state, 0o700), os.Chown(state, nobody, nobody)); err != nil {
		t.Fatalf("a directory of another user's (root is needed): %v", err)
	}
	cmd := exec.Command(binary, append(args, "--state-dir", state)...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, NoSetGroups: os.Getuid() != 0}}
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("drop privileges (root is needed): %v", err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// reachable returns a directory that every user may enter.
func reachable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "isukit-anybody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// inOtherNamespace tells the test's other half that it is the one with the traffic.
const inOtherNamespace = "ISUKIT_TEST_OTHER_NETNS"

// TestCaptureInNamespace captures, from outside, the traffic of another network namespace, and finds what was sent there.
func TestCaptureInNamespace(t *testing.T) {
	infratest.Real(t)
	if os.Getenv(inOtherNamespace) != "" {
		sendWhenTold(t)
		return
	}
	other := exec.Command("sh", "-ec", `ip link set lo up; exec "$0" "$@"`, os.Args[0], "-test.run=^"+t.Name()+"$")
	other.Env = append(os.Environ(), inOtherNamespace+"=1")
	other.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	in, out := pipes(t, other)
	if err := other.Start(); err != nil {
		t.Fatalf("a network namespace (root is needed): %v", err)
	}
	port := readLine(t, out)

	var got bytes.Buffer
	live := exec.Command(filepath.Join(buildBinaries(t), "isukit"), "capture", "--live", "lo", "--jsonl",
		"--netns", fmt.Sprintf("/proc/%d/ns/net", other.Process.Pid), "tcp port "+port)
	live.Stdout = &got
	said, err := live.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := live.Start(); err != nil {
		t.Fatal(err)
	}
	if line := readLine(t, bufio.NewReader(said)); !strings.Contains(line, "capturing on lo") {
		t.Fatalf("got %q, want that it captures", line)
	}
	io.WriteString(in, "go\n")
	var sent []sentExchange
	if err := json.Unmarshal([]byte(readLine(t, out)), &sent); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(); err != nil {
		t.Errorf("the other half: %v", err)
	}
	if err := live.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, said)
	if err := live.Wait(); err != nil {
		t.Errorf("the capture ended with %v", err)
	}
	captured := capturedExchanges(t, got.String())
	sortSent(sent)
	if diff := gocmp.Diff(sent, captured); diff != "" || len(sent) != 200 {
		t.Errorf("%d sent, %d captured (-sent +captured):\n%.2000s", len(sent), len(captured), diff)
	}
}

// sendWhenTold prints its server's port, waits for a line, sends, and prints what it sent.
func sendWhenTold(t *testing.T) {
	sent := traffic(t, 200, nil, false, func(port string, run func()) {
		fmt.Println(port)
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		run()
	})
	line, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%s\n", line)
}

func pipes(t *testing.T, cmd *exec.Cmd) (in io.Writer, out *bufio.Reader) {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	return stdin, bufio.NewReader(stdout)
}

func readLine(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("got %q: %v", line, err)
	}
	return strings.TrimSpace(line)
}

// capturedExchanges reads what capture --jsonl printed.
func capturedExchanges(t testing.TB, jsonl string) []sentExchange {
	t.Helper()
	var got []sentExchange
	for line := range strings.Lines(jsonl) {
		var e exchange.ExchangeJSON
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		_, uri, _ := strings.Cut(strings.TrimPrefix(e.URL, "http://"), "/")
		got = append(got, sentExchange{e.Method, "/" + uri, e.Status, e.ReqSHA256, e.RespSHA256})
	}
	sortSent(got)
	return got
}
