package capture_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"isukit/proto/capture"
)

// script writes one TCP connection as packets, byte for byte as two kernels would, so that a test can lose, repeat and
// reorder them and knows what was sent.
type script struct {
	client, server netip.AddrPort
	mss            int
	seq            [2]uint32 // the next sequence number of each direction
	clock          time.Time
	packets        []scripted
}

type scripted struct {
	at   time.Time
	dir  int
	data []byte // from the IP header on
	// payload is the number of TCP payload bytes.
	payload int
}

func newScript(client, server string) *script {
	return &script{
		client: netip.MustParseAddrPort(client), server: netip.MustParseAddrPort(server), mss: 1460,
		seq: [2]uint32{0xffff_f000, 77}, clock: time.Unix(1_732_300_000, 0),
	}
}

func (s *script) open() *script {
	s.packet(0, 0x02, nil)
	s.seq[0]++
	s.packet(1, 0x12, nil)
	s.seq[1]++
	return s.ack(0)
}

func (s *script) ack(dir int) *script { s.packet(dir, 0x10, nil); return s }

// send sends data in segments of at most mss bytes; the other side acknowledges at the end.
func (s *script) send(dir int, data string) *script {
	for len(data) > 0 {
		n := min(len(data), s.mss)
		s.packet(dir, 0x18, []byte(data[:n]))
		s.seq[dir] += uint32(n)
		data = data[n:]
	}
	return s
}

func (s *script) close() *script {
	for dir := range 2 {
		s.packet(dir, 0x11, nil)
		s.seq[dir]++
	}
	return s.ack(0)
}

func (s *script) reset() *script { s.packet(1, 0x14, nil); return s }

func (s *script) packet(dir int, flags byte, payload []byte) {
	s.clock = s.clock.Add(100 * time.Microsecond)
	src, dst := s.client, s.server
	if dir == 1 {
		src, dst = dst, src
	}
	ack := s.seq[1-dir]
	if flags&0x10 == 0 {
		ack = 0
	}
	tcp := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(tcp, src.Port())
	binary.BigEndian.PutUint16(tcp[2:], dst.Port())
	binary.BigEndian.PutUint32(tcp[4:], s.seq[dir])
	binary.BigEndian.PutUint32(tcp[8:], ack)
	tcp[12], tcp[13] = 0x50, flags
	tcp = append(tcp, payload...)
	s.packets = append(s.packets, scripted{s.clock, dir, ipHeader(src.Addr(), dst.Addr(), tcp), len(payload)})
}

func ipHeader(src, dst netip.Addr, tcp []byte) []byte {
	if src.Is4() {
		ip := make([]byte, 20, 20+len(tcp))
		ip[0], ip[8], ip[9] = 0x45, 64, 6
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(tcp)))
		copy(ip[12:], src.AsSlice())
		copy(ip[16:], dst.AsSlice())
		return append(ip, tcp...)
	}
	ip := make([]byte, 40, 40+len(tcp))
	ip[0], ip[6], ip[7] = 0x60, 6, 64
	binary.BigEndian.PutUint16(ip[4:], uint16(len(tcp)))
	copy(ip[8:], src.AsSlice())
	copy(ip[24:], dst.AsSlice())
	return append(ip, tcp...)
}

// pcapFile is packets as a pcap file of raw IP, cut to snap bytes each.
func pcapFile(packets []scripted, snap int) []byte {
	out := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	out = append(out, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	out = binary.LittleEndian.AppendUint32(out, uint32(snap))
	out = binary.LittleEndian.AppendUint32(out, 101)
	for _, p := range packets {
		out = binary.LittleEndian.AppendUint32(out, uint32(p.at.Unix()))
		out = binary.LittleEndian.AppendUint32(out, uint32(p.at.Nanosecond()/1000))
		out = binary.LittleEndian.AppendUint32(out, uint32(min(len(p.data), snap)))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(p.data)))
		out = append(out, p.data[:min(len(p.data), snap)]...)
	}
	return out
}

// read returns all exchanges of a file.
func read(t testing.TB, file []byte, opts capture.Options) []*capture.Exchange {
	t.Helper()
	r, err := capture.NewReader(bytes.NewReader(file), opts)
	if err != nil {
		t.Fatal(err)
	}
	var all []*capture.Exchange
	for {
		e, err := r.Next(context.Background())
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

// summary is an exchange on one line: "GET /a 200 body" with "?" for what is missing, and "!" and why when incomplete.
func summary(e *capture.Exchange) string {
	parts := []string{"?", "?", "?"}
	if r := e.Request; r != nil {
		parts[0] = r.Method + " " + r.Target
		if len(r.Body) > 0 {
			parts[0] += " (" + string(r.Body) + ")"
		}
	}
	if r := e.Response; r != nil {
		parts[1], parts[2] = strings.TrimSpace(string(rune('0'+r.Status/100))+"xx"), string(r.Body)
	}
	s := strings.Join(parts, " ")
	if len(e.Incomplete) > 0 {
		s += " ! " + strings.Join(e.Incomplete, "; ")
	}
	return s
}

func summaries(all []*capture.Exchange) []string {
	var out []string
	for _, e := range all {
		out = append(out, summary(e))
	}
	return out
}

// reorder moves each packet by less than distance places.
func reorder(packets []scripted, r *rand.Rand, distance int) []scripted {
	places := make([]int, len(packets))
	order := make([]int, len(packets))
	for i := range places {
		places[i], order[i] = i+r.IntN(distance), i
	}
	slices.SortStableFunc(order, func(a, b int) int { return places[a] - places[b] })
	out := make([]scripted, len(packets))
	for i, from := range order {
		out[i] = packets[from]
	}
	return out
}
