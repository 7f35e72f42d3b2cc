package capture_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// seeds are captures of real traffic: the portal's messages over net/http, recorded by dumpcap.
func seeds(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no seeds in testdata: %v", err)
	}
	all := map[string][]byte{}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = data
	}
	return all
}

// shortConns are the client ports of the stored captures' shortest connections. The second one of tls12 resumes the first.
var shortConns = map[string][]uint16{"plain": {51678}, "tls12": {58262, 58310}, "tls13": {44206}}

// frame is one packet of a pcap file: record is all of it in the file, payload what TCP carries.
type frame struct {
	record, payload []byte
	client          uint16
	dir             int
}

// frames gives the packets of a pcap file of Ethernet frames with IPv4 that are whole. The server's port is the lower one.
func frames(pcap []byte) iter.Seq[frame] {
	return func(yield func(frame) bool) {
		for at := 24; at+16 <= len(pcap); {
			n := 16 + int(binary.LittleEndian.Uint32(pcap[at+8:]))
			record := pcap[at : at+n]
			at += n
			ip := record[16+14:]
			tcp := ip[int(ip[0]&15)*4 : binary.BigEndian.Uint16(ip[2:])]
			from, to := binary.BigEndian.Uint16(tcp), binary.BigEndian.Uint16(tcp[2:])
			f := frame{record: record, payload: tcp[tcp[12]>>4*4:], client: from}
			if from < to {
				f.client, f.dir = to, 1
			}
			if !yield(f) {
				return
			}
		}
	}
}

// streams returns the bytes that went each way on each connection, by the client's port; the packets must be in order.
func streams(t testing.TB, pcap []byte) map[uint16][2][]byte {
	t.Helper()
	all := map[uint16][2][]byte{}
	for f := range frames(pcap) {
		both := all[f.client]
		both[f.dir] = append(both[f.dir], f.payload...)
		all[f.client] = both
	}
	if len(all) == 0 {
		t.Fatal("no connections")
	}
	return all
}

// part is a pcap file's packets of some clients.
func part(pcap []byte, clients ...uint16) []byte {
	out := slices.Clone(pcap[:24])
	for f := range frames(pcap) {
		if slices.Contains(clients, f.client) {
			out = append(out, f.record...)
		}
	}
	return out
}

// blocks is the beginning of a pcapng file, up to size bytes of whole blocks.
func blocks(pcapng []byte, size int) []byte {
	for at := 0; ; {
		n := int(binary.LittleEndian.Uint32(pcapng[at+4:]))
		if at+n > min(size, len(pcapng)) {
			return pcapng[:at]
		}
		at += n
	}
}

// keysOf are the lines of a key log for the sessions whose client random is in the capture.
func keysOf(keys, pcap []byte) (lines []byte) {
	for line := range bytes.Lines(keys) {
		parts := bytes.Fields(line)
		random, err := hex.DecodeString(string(parts[1]))
		if err != nil {
			panic(fmt.Sprintf("a line of the key log: %v", err))
		}
		if bytes.Contains(pcap, random) {
			lines = append(lines, line...)
		}
	}
	return lines
}
