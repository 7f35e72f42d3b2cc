package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Recorder writes what goes over connections of this process as a pcap file, as if it had been captured: one end of a
// connection knows all that a capture needs, without any right. The packets' IP and TCP headers are made up from the
// connection's addresses and byte counts. It is safe for concurrent use.
type Recorder struct {
	mu  sync.Mutex
	w   *bufio.Writer
	err error
}

// The parts of a pcap file; see the draft "PCAP Capture File Format" (draft-ietf-opsawg-pcap).
const (
	pcapMagicNano = 0xa1b23c4d
	pcapSnapLen   = 1 << 18
	// maxSegment is the most payload in a packet: with both headers it stays below the 64 KiB of an IP packet.
	maxSegment = 65000
)

// NewRecorder writes the file's header to w. Flush must be called at the end.
func NewRecorder(w io.Writer) (*Recorder, error) {
	r := &Recorder{w: bufio.NewWriterSize(w, 1<<16)}
	var head [24]byte
	binary.LittleEndian.PutUint32(head[0:], pcapMagicNano)
	binary.LittleEndian.PutUint16(head[4:], 2)
	binary.LittleEndian.PutUint16(head[6:], 4)
	binary.LittleEndian.PutUint32(head[16:], pcapSnapLen)
	binary.LittleEndian.PutUint32(head[20:], linkRaw)
	if _, err := r.w.Write(head[:]); err != nil {
		return nil, fmt.Errorf("write a capture: %w", err)
	}
	return r, nil
}

// Flush writes what is buffered and returns the first error that writing met; the capture is then cut off there.
func (r *Recorder) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.w.Flush(); r.err == nil {
		r.err = err
	}
	if r.err != nil {
		return fmt.Errorf("write a capture: %w", r.err)
	}
	return nil
}

// Conn records what is sent over c, a TCP connection of this process that is not used yet. TLS on top is recorded encrypted.
func (r *Recorder) Conn(c net.Conn) (net.Conn, error) {
	local, err := endpoint(c.LocalAddr())
	if err != nil {
		return nil, err
	}
	remote, err := endpoint(c.RemoteAddr())
	if err != nil {
		return nil, err
	}
	rc := &recordedConn{Conn: c, r: r, out: way{from: local, to: remote, seq: 1}, in: way{from: remote, to: local, seq: 1}}
	rc.handshake()
	return rc, nil
}

func endpoint(a net.Addr) (netip.AddrPort, error) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("record a connection: %v is no TCP address", a)
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

// way is one direction of a connection; seq counts its bytes, the SYN included.
type way struct {
	from, to netip.AddrPort
	seq      uint32
	closed   bool
}

// recordedConn writes a copy of its traffic into a capture. It hides the socket (syscall.Conn), whose reads would bypass it.
type recordedConn struct {
	net.Conn
	r *Recorder

	mu      sync.Mutex
	out, in way
}

func (c *recordedConn) handshake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.r.packet(now, c.out.from, c.out.to, 0, 0, flagSYN, nil)
	c.r.packet(now, c.in.from, c.in.to, 0, 1, flagSYN|flagACK, nil)
	c.r.packet(now, c.out.from, c.out.to, 1, 1, flagACK, nil)
}

// Write implements net.Conn. The copy is written first: the answer may be read before Write returns.
func (c *recordedConn) Write(b []byte) (int, error) {
	c.record(&c.out, &c.in, b)
	n, err := c.Conn.Write(b)
	return n, err
}

// Read implements net.Conn.
func (c *recordedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.record(&c.in, &c.out, b[:n])
	}
	if errors.Is(err, io.EOF) {
		c.finish(&c.in, &c.out)
	}
	return n, err
}

// Close implements net.Conn.
func (c *recordedConn) Close() error {
	c.finish(&c.out, &c.in)
	return c.Conn.Close()
}

func (c *recordedConn) record(h, other *way, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for len(b) > 0 {
		n := min(len(b), maxSegment)
		c.r.packet(now, h.from, h.to, h.seq, other.seq, flagPSH|flagACK, b[:n])
		h.seq += uint32(n)
		b = b[n:]
	}
}

func (c *recordedConn) finish(h, other *way) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	c.r.packet(time.Now(), h.from, h.to, h.seq, other.seq, flagFIN|flagACK, nil)
	h.seq++
}

// packet writes one packet with made-up headers; checksums are 0, which captures of offloaded traffic show as well.
func (r *Recorder) packet(at time.Time, from, to netip.AddrPort, seq, ack uint32, flags byte, payload []byte) {
	var b [16 + 40 + 20]byte
	ip := b[16:]
	ipLen := 40
	if from.Addr().Is4() {
		ipLen = 20
		ip[0], ip[8], ip[9] = 0x45, 64, 6 // version and header length, time to live, TCP
		binary.BigEndian.PutUint16(ip[2:], uint16(ipLen+20+len(payload)))
		copy(ip[12:], from.Addr().AsSlice())
		copy(ip[16:], to.Addr().AsSlice())
	} else {
		ip[0], ip[6], ip[7] = 0x60, 6, 64
		binary.BigEndian.PutUint16(ip[4:], uint16(20+len(payload)))
		copy(ip[8:], from.Addr().AsSlice())
		copy(ip[24:], to.Addr().AsSlice())
	}
	tcp := ip[ipLen:]
	binary.BigEndian.PutUint16(tcp[0:], from.Port())
	binary.BigEndian.PutUint16(tcp[2:], to.Port())
	binary.BigEndian.PutUint32(tcp[4:], seq)
	binary.BigEndian.PutUint32(tcp[8:], ack)
	tcp[12], tcp[13] = 5<<4, flags
	binary.BigEndian.PutUint16(tcp[14:], 0xffff)
	size := uint32(ipLen + 20 + len(payload))
	binary.LittleEndian.PutUint32(b[0:], uint32(at.Unix()))
	binary.LittleEndian.PutUint32(b[4:], uint32(at.Nanosecond()))
	binary.LittleEndian.PutUint32(b[8:], size)
	binary.LittleEndian.PutUint32(b[12:], size)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return
	}
	if _, r.err = r.w.Write(b[:16+ipLen+20]); r.err == nil {
		_, r.err = r.w.Write(payload)
	}
}
