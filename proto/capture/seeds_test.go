package capture_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isukit/proto/capture"
)

// TestSeeds reads the stored captures of real traffic whole: 16 exchanges each.
func TestSeeds(t *testing.T) {
	all := seeds(t)
	for name, data := range all {
		if strings.HasSuffix(name, ".keys") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			opts := capture.DefaultOptions()
			opts.OnNote = func(n capture.Note) { t.Errorf("note: %s", n.Text) }
			if keys := all[strings.TrimSuffix(name, ".pcap")+".keys"]; keys != nil {
				opts.Keys = mustKeys(t, keys)
			}
			got := read(t, data, opts)
			if len(got) != 16 {
				t.Errorf("got %d exchanges, want 16", len(got))
			}
			for _, e := range got {
				if len(e.Incomplete) > 0 {
					t.Errorf("%s %s: %v", e.Request.Method, e.Request.Target, e.Incomplete)
				}
			}
		})
	}
}

func TestNoCapture(t *testing.T) {
	for _, data := range []string{"", "x", "not a capture", "\x1f\x8b"} {
		if _, err := capture.NewReader(bytes.NewReader([]byte(data)), capture.DefaultOptions()); err == nil {
			t.Errorf("%q: got no error, want one", data)
		}
	}
}

// TestCutFiles has a file that ends anywhere but behind a packet told from a whole one, also where its compression is what ends.
func TestCutFiles(t *testing.T) {
	s := newScript(clientAddr, serverAddr)
	s.open().send(0, get("/a")).send(1, ok("1")).close()
	lastError := func(file []byte) error {
		r, err := capture.NewReader(bytes.NewReader(file), capture.DefaultOptions())
		for err == nil {
			_, err = r.Next(t.Context())
		}
		return err
	}
	pcap, whole := pcapFile(s.packets, 65535), map[int]bool{}
	for at, i := 24, 0; ; i++ {
		whole[at] = true
		if i == len(s.packets) {
			break
		}
		at += 16 + len(s.packets[i].data)
	}
	for n := 24; n <= len(pcap); n++ {
		if err := lastError(pcap[:n]); (err == io.EOF) != whole[n] || !whole[n] && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("pcap, cut at %d of %d: got %v, a whole packet ends there: %t", n, len(pcap), err, whole[n])
		}
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	w.Write(pcapngOf(s.packets, 101, binary.LittleEndian))
	w.Flush() // all blocks are there, and the end is not
	if err := lastError(packed.Bytes()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("pcapng whose gzip is cut: got %v, want an unexpected EOF", err)
	}
}

// TestKeyLogHasLongLines has a line that no key log has leave the keys behind it.
func TestKeyLogHasLongLines(t *testing.T) {
	line := "CLIENT_RANDOM " + strings.Repeat("0a", 32) + " " + strings.Repeat("0b", 48) + "\n"
	k, err := capture.ReadKeyLog(strings.NewReader(strings.Repeat("x", 100_000) + "\n" + line))
	if err != nil || k.Sessions() != 1 {
		t.Errorf("got %v, want the key of one session", err)
	}
}

// TestFollowKeyLog reads a key log that comes into being, and grows by half a line, while the capture is read.
func TestFollowKeyLog(t *testing.T) {
	all := seeds(t)
	file := filepath.Join(t.TempDir(), "keys.log")
	keys, closeLog := capture.FollowKeyLog(file)
	defer closeLog()
	opts := capture.DefaultOptions()
	opts.Keys = keys
	if got := read(t, all["tls13.pcap"], opts); len(got) > 0 {
		t.Errorf("without a log: got %d exchanges, want none", len(got))
	}
	log := all["tls13.keys"]
	half := len(log)/2 + 30 // inside a line
	for i, part := range [][]byte{log[:half], log[half:]} {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(part); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		got := read(t, all["tls13.pcap"], opts)
		if whole := i == 1; len(got) == 0 || (len(got) == 16) != whole {
			t.Errorf("after part %d of the log: got %d exchanges of 16", i, len(got))
		}
	}
}
