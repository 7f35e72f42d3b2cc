package capture_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"isukit/proto/capture"
)

// linked are packets under another link header.
func linked(packets []scripted, header func(p scripted) []byte) []scripted {
	out := slices.Clone(packets)
	for i := range out {
		out[i].data = append(header(out[i]), out[i].data...)
	}
	return out
}

func etherType(p scripted) []byte {
	if p.data[0]>>4 == 6 {
		return []byte{0x86, 0xdd}
	}
	return []byte{0x08, 0x00}
}

func TestLinkTypes(t *testing.T) {
	mac := make([]byte, 12)
	tests := []struct {
		name   string
		link   uint32
		header func(p scripted) []byte
	}{
		{"Ethernet", 1, func(p scripted) []byte { return slices.Concat(mac, etherType(p)) }},
		{"VLAN", 1, func(p scripted) []byte { return slices.Concat(mac, []byte{0x81, 0, 0, 5}, etherType(p)) }},
		{"two VLAN tags", 1, func(p scripted) []byte {
			return slices.Concat(mac, []byte{0x88, 0xa8, 0, 9, 0x81, 0, 0, 5}, etherType(p))
		}},
		{"Linux cooked v1", 113, func(p scripted) []byte { return append(make([]byte, 14), etherType(p)...) }},
		{"Linux cooked v2", 276, func(p scripted) []byte { return append(etherType(p), make([]byte, 18)...) }},
		{"BSD loopback", 0, func(p scripted) []byte { return []byte{2, 0, 0, 0} }},
		{"OpenBSD loopback", 108, func(p scripted) []byte { return []byte{0, 0, 0, 24} }},
		{"raw IP", 101, func(p scripted) []byte { return nil }},
	}
	for _, tt := range tests {
		for _, addrs := range [][2]string{{clientAddr, serverAddr}, {"[fd00::1]:40000", "[fd00::2]:80"}} {
			s := newScript(addrs[0], addrs[1])
			s.open().send(0, get("/a")).send(1, ok("1")).close()
			packets := linked(s.packets, tt.header)
			for name, file := range map[string][]byte{
				"pcap":            pcapOf(packets, tt.link, 0xa1b2c3d4, binary.LittleEndian),
				"pcap, nanos":     pcapOf(packets, tt.link, 0xa1b23c4d, binary.LittleEndian),
				"pcap, bigendian": pcapOf(packets, tt.link, 0xa1b23c4d, binary.BigEndian),
				"pcapng":          pcapngOf(packets, uint16(tt.link), binary.LittleEndian),
				"pcapng, big":     pcapngOf(packets, uint16(tt.link), binary.BigEndian),
			} {
				got := read(t, file, capture.DefaultOptions())
				if want := []string{"GET /a 2xx 1"}; !slices.Equal(summaries(got), want) {
					t.Errorf("%s, %s, %s: got %v, want %v", tt.name, addrs[0], name, summaries(got), want)
					continue
				}
				// The fourth packet is the request.
				want := packets[3].at
				if name == "pcap" {
					want = want.Truncate(time.Microsecond)
				}
				if !got[0].Request.Start.Equal(want) {
					t.Errorf("%s, %s: got time %v, want %v", tt.name, name, got[0].Request.Start, want)
				}
			}
		}
	}
}

func pcapOf(packets []scripted, link, magic uint32, order binary.AppendByteOrder) []byte {
	out := order.AppendUint32(nil, magic)
	out = order.AppendUint16(order.AppendUint16(out, 2), 4)
	for _, n := range []uint32{0, 0, 65535, link} {
		out = order.AppendUint32(out, n)
	}
	for _, p := range packets {
		fraction := p.at.Nanosecond()
		if magic == 0xa1b2c3d4 {
			fraction /= 1000
		}
		for _, n := range []uint32{uint32(p.at.Unix()), uint32(fraction), uint32(len(p.data)), uint32(len(p.data))} {
			out = order.AppendUint32(out, n)
		}
		out = append(out, p.data...)
	}
	return out
}

// pcapngOf writes times in nanoseconds, and a block that readers must skip.
func pcapngOf(packets []scripted, link uint16, order binary.AppendByteOrder) []byte {
	block := func(out []byte, kind uint32, body []byte) []byte {
		for len(body)%4 > 0 {
			body = append(body, 0)
		}
		out = order.AppendUint32(order.AppendUint32(out, kind), uint32(len(body)+12))
		return order.AppendUint32(append(out, body...), uint32(len(body)+12))
	}
	section := order.AppendUint32(nil, 0x1a2b3c4d)
	section = order.AppendUint16(order.AppendUint16(section, 1), 0)
	out := block(nil, 0x0a0d0d0a, append(section, bytes.Repeat([]byte{0xff}, 8)...))
	out = block(out, 0x0bad, []byte("unknown"))
	iface := order.AppendUint32(order.AppendUint16(order.AppendUint16(nil, link), 0), 0)
	iface = append(order.AppendUint16(order.AppendUint16(iface, 9), 1), 9, 0, 0, 0, 0, 0, 0, 0)
	out = block(out, 1, iface)
	for _, p := range packets {
		units := uint64(p.at.UnixNano())
		var body []byte
		for _, n := range []uint32{0, uint32(units >> 32), uint32(units), uint32(len(p.data)), uint32(len(p.data))} {
			body = order.AppendUint32(body, n)
		}
		out = block(out, 6, append(body, p.data...))
	}
	return out
}

func TestPackedFiles(t *testing.T) {
	s := newScript(clientAddr, serverAddr)
	s.open().send(0, get("/a")).send(1, ok("1")).close()
	file := pcapFile(s.packets, 65535)
	var gz, zs bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, _ = w.Write(file)
	_ = w.Close()
	z, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = z.Write(file)
	_ = z.Close()
	for name, data := range map[string][]byte{"gzip": gz.Bytes(), "zstd": zs.Bytes()} {
		got := summaries(read(t, data, capture.DefaultOptions()))
		if want := []string{"GET /a 2xx 1"}; !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestFilter(t *testing.T) {
	one, two := newScript(clientAddr, serverAddr), newScript("10.0.0.1:40001", "10.0.0.3:9292")
	one.open().send(0, get("/a")).send(1, ok("1")).close()
	two.open().send(0, get("/b")).send(1, ok("2")).close()
	file := pcapFile(append(one.packets, two.packets...), 65535)
	tests := map[string]int{
		"": 2, "tcp": 2, "port 80": 1, "tcp port 9292": 1, "port 80 or port 9292": 2, "not port 80": 1, "host 10.0.0.3 and port 80": 0,
		"net 10.0.0.0/30 and not port 9292": 1, "host 10.0.0.1": 2,
	}
	for text, want := range tests {
		filter, err := capture.ParseFilter(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		opts := capture.DefaultOptions()
		opts.Filter = filter
		if got := len(read(t, file, opts)); got != want {
			t.Errorf("%q: got %d exchanges, want %d", text, got, want)
		}
	}
	for _, text := range []string{"port", "port x", "host a", "udp", "port 80 and", "port 0"} {
		if _, err := capture.ParseFilter(text); err == nil {
			t.Errorf("%q: got no error, want one", text)
		}
	}
}
