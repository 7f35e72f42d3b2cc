package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// sshdScript readies a host of the lab for a login as root with the test's key, and becomes its sshd.
const sshdScript = `set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd
exec /usr/sbin/sshd -D -e -f /dev/null -o ListenAddress=0.0.0.0 -o HostKey="$1/host" -o PidFile=none -o UsePAM=no \
	-o PasswordAuthentication=no -o KbdInteractiveAuthentication=no -o PermitRootLogin=prohibit-password \
	-o AuthorizedKeysFile="$1/id.pub" -o StrictModes=no
`

// TestCaptureHost captures the traffic of a host of the lab, once because the lab knows it, and once through ssh, and finds
// what was sent there.
func TestCaptureHost(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	switch dir := os.Getenv(inOtherNamespace); dir {
	case "":
	case "1":
		sendWhenTold(t)
		return
	default:
		foreignTraffic(t, dir, func(address net.Addr) *http.Transport {
			fmt.Println(address.(*net.TCPAddr).Port)
			if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			return &http.Transport{}
		})
		fmt.Println("done")
		return
	}
	dir := reachable(t)
	lab, err := machine.OpenLab(machine.Options{StateDir: dir, Keep: true})
	if err != nil {
		t.Fatalf("the lab (root is needed): %v", err)
	}
	defer func() {
		if err := lab.Down(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err := lab.Ensure(t.Context(), []host.Want{{Name: "a"}}); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(buildBinaries(t), "isukit")
	t.Run("lab", func(t *testing.T) {
		cmd := exec.Command(binary, "capture", "--state-dir", dir, "--jsonl", "--host", "a")
		capturesOnHost(t, lab, cmd)
	})
	t.Run("a foreign schema", func(t *testing.T) {
		protos := t.TempDir()
		write(t, filepath.Join(protos, "chairs.proto"), chairProto)
		cmd := exec.Command(binary, "capture", "--state-dir", dir, "--json", "--host", "a", "--proto", protos)
		got, rest := captureOnHost(t, lab, cmd, t.TempDir(), func(line string) {})
		if strings.Count(got, "\n") != 300 {
			t.Fatalf("%d exchanges, want 300: %s", strings.Count(got, "\n"), rest)
		}
		checkForeign(t, got)
	})
	t.Run("ssh", func(t *testing.T) {
		config := withSSH(t, lab, dir)
		netns, err := lab.Netns("generator")
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("nsenter", "--net="+netns, binary, "capture", "--state-dir", t.TempDir(), "--jsonl", "--host", "by-ssh", "--ssh-config", config)
		capturesOnHost(t, lab, cmd)
	})
	t.Run("nobody", func(t *testing.T) {
		config := filepath.Join(dir, "refused")
		if err := os.WriteFile(config, []byte("Host by-ssh\n  HostName 127.0.0.1\n  Port 1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(binary, "capture", "--state-dir", dir, "--host", "by-ssh", "--ssh-config", config).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "isukit: error: capture on by-ssh: exit status 255") || !strings.Contains(string(out), "isukit: hint: needed on the host: ssh login") {
			t.Errorf("a host that cannot be reached: %v\n%s", err, out)
		}
	})
}

// capturesOnHost runs cmd while host a has traffic, and compares.
func capturesOnHost(t *testing.T, lab *machine.Driver, cmd *exec.Cmd) {
	t.Helper()
	var sent []sentExchange
	got, rest := captureOnHost(t, lab, cmd, "1", func(line string) {
		if err := json.Unmarshal([]byte(line), &sent); err != nil {
			t.Fatal(err)
		}
	})
	captured := capturedExchanges(t, got)
	sortSent(sent)
	if diff := gocmp.Diff(sent, captured); diff != "" || len(sent) != 200 {
		t.Errorf("%d sent, %d captured (-sent +captured):\n%.2000s\n%s", len(sent), len(captured), diff, rest)
	}
}

// captureOnHost runs cmd with the filter while host a sends the traffic named what, and ends it; sent gets the sender's last line.
func captureOnHost(t *testing.T, lab *machine.Driver, cmd *exec.Cmd, what string, sent func(line string)) (out, errs string) {
	t.Helper()
	in, answers := sender(t, lab, what)
	cmd.Args = append(cmd.Args, "tcp port "+readLine(t, answers))
	var got bytes.Buffer
	cmd.Stdout = &got
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(pipe)
	line := readLine(t, said)
	for strings.Contains(line, "isukit: note: message types are guessed") {
		line = readLine(t, said)
	}
	if !strings.Contains(line, "capturing on any of ") {
		t.Fatalf("got %q, want that it captures", line)
	}
	fmt.Fprintln(in, "go")
	sent(readLine(t, answers))
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(said)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the capture ended with %v\n%s", err, rest)
	}
	return got.String(), string(rest)
}

// sender runs this test on host a, where it sends the traffic named what.
func sender(t *testing.T, lab *machine.Driver, what string) (in io.WriteCloser, out *bufio.Reader) {
	t.Helper()
	inRead, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := lab.Attach(t.Context(), "a", host.Command{
			Argv: []string{os.Args[0], "-test.run=^TestCaptureHost$"}, Env: []string{inOtherNamespace + "=" + what, infratest.RealEnv + "=1"},
			Dir: workDir(t),
		}, inRead, outWrite, os.Stderr)
		outWrite.Close()
		done <- err
	}()
	t.Cleanup(func() {
		in.Close()
		if err := <-done; err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return in, bufio.NewReader(outRead)
}

func workDir(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// withSSH starts sshd on host a, and returns a configuration by which ssh finds it as by-ssh.
func withSSH(t *testing.T, lab *machine.Driver, dir string) (config string) {
	t.Helper()
	for _, key := range []string{"id", "host"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
	}
	h, err := lab.Host("a")
	if err != nil {
		t.Fatal(err)
	}
	err = h.Start(t.Context(), host.Service{Name: "sshd", Argv: []string{"sh", "-c", sshdScript, "sh", dir}, LogFile: filepath.Join(h.About().Dir, "sshd.log")})
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	address := h.About().Address
	files := map[string]string{
		"known_hosts": address + " " + string(key),
		"config": fmt.Sprintf("Host by-ssh\n  HostName %s\n  User root\n  IdentityFile %s\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile none\n",
			address, filepath.Join(dir, "id"), filepath.Join(dir, "known_hosts")),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wait.ForNil(t, "sshd to listen", func() error {
		conn, err := lab.Dial(t.Context(), "tcp", address+":22")
		if err == nil {
			conn.Close()
		}
		return err
	})
	return filepath.Join(dir, "config")
}
