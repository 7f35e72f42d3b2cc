package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"isukit/infra/infratest"
)

// repeated is a pcap file again and again: each time a second later, and with other ports, so that connections are new.
type repeated struct {
	file []byte
	left int
	buf  []byte
	n    int
}

func (r *repeated) Read(b []byte) (int, error) {
	if len(r.buf) == 0 {
		if r.left <= 0 {
			return 0, io.EOF
		}
		r.next()
	}
	n := copy(b, r.buf)
	r.buf = r.buf[n:]
	return n, nil
}

func (r *repeated) next() {
	again := bytes.Clone(r.file)
	for at := 24; at+16 <= len(again); {
		seconds := again[at:]
		binary.LittleEndian.PutUint32(seconds, binary.LittleEndian.Uint32(seconds)+uint32(r.n))
		packet := again[at+16+14:] // behind the Ethernet header: IPv4
		tcp := packet[int(packet[0]&15)*4:]
		for _, port := range [][]byte{tcp, tcp[2:]} {
			if p := binary.BigEndian.Uint16(port); p > 30_000 { // the clients' are the high ones
				binary.BigEndian.PutUint16(port, 30_000+(p+uint16(r.n)*7)%35_000)
			}
		}
		at += 16 + int(binary.LittleEndian.Uint32(again[at+8:]))
	}
	if r.n > 0 {
		again = again[24:]
	}
	r.n++
	r.left -= len(again)
	r.buf = again
}

// TestCaptureMemory gives the command a capture of 128 MiB of real traffic, or of 2 GiB with ISUKIT_TEST_LONG, and looks at
// the most memory that the process ever had resident: it must not grow with the capture's length.
func TestCaptureMemory(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	sizeBytes, limitBytes := 128<<20, int64(300<<20)
	if os.Getenv("ISUKIT_TEST_LONG") != "" {
		sizeBytes = 2 << 30
	}
	file, err := os.ReadFile(filepath.Join("..", "..", "proto", "capture", "testdata", "plain.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	input := &repeated{file: file, left: sizeBytes}
	cmd := exec.Command(filepath.Join(buildBinaries(t), "isukit"), "capture", "--bodies", "-")
	cmd.Env = append(os.Environ(), "ISUKIT_STATE_DIR="+t.TempDir())
	cmd.Stdin = input
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// What the kernel accounts to an ended process begins with what its parent had, so the process itself is looked at.
	var lines exchangeCounter
	var most int64
	buf := make([]byte, 64<<10)
	for {
		n, err := out.Read(buf)
		lines.Write(buf[:n])
		most = max(most, residentMost(cmd.Process.Pid))
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%.2000s", err, said.String())
	}
	if want := 16 * input.n; lines.exchanges != want {
		t.Errorf("%d exchanges were printed, want %d\n%.2000s", lines.exchanges, want, said.String())
	}
	t.Logf("%d MiB, %d exchanges: %d MiB resident at most", sizeBytes>>20, lines.exchanges, most>>20)
	if most == 0 {
		t.Error("the process was never seen")
	}
	if most > limitBytes {
		t.Errorf("%d MiB resident for a capture of %d MiB, want at most %d", most>>20, sizeBytes>>20, limitBytes>>20)
	}
}

// residentMost is the most memory that a running process has had resident, in bytes.
func residentMost(pid int) (bytes int64) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // it may have ended
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Sscan(rest, &bytes)
	return bytes << 10
}

// exchangeCounter counts the lines that begin with a time of day, one of each exchange.
type exchangeCounter struct {
	exchanges int
	line      []byte
}

func (c *exchangeCounter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			c.line = append(c.line, rest...)
			break
		}
		c.line = append(c.line, rest[:i]...)
		if len(c.line) > 12 && c.line[2] == ':' && c.line[5] == ':' {
			if _, err := strconv.Atoi(string(c.line[:2])); err == nil {
				c.exchanges++
			}
		}
		c.line, rest = c.line[:0], rest[i+1:]
	}
	return len(p), nil
}
