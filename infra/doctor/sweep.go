package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Sweep is the result of packets of several sizes that must not be fragmented.
type Sweep struct {
	// LinkMTU is what the interface towards the target takes, in bytes.
	LinkMTU int `json:"link_mtu,omitempty"`
	// PathMTU is the largest packet that was answered; 0 says that not even small ones are, so nothing is known.
	PathMTU int `json:"path_mtu,omitempty"`
	// Told: a router reported that a packet was too large, as it should; TCP then adapts.
	Told bool `json:"told,omitempty"`
}

// Lost tells whether packets that the link takes get lost on the way with nobody saying so.
func (s Sweep) Lost() bool { return s.PathMTU > 0 && s.PathMTU < s.LinkMTU && !s.Told }

// sizes are the MTUs that networks have: jumbo frames, Ethernet, and Ethernet less what tunnels take.
var sizes = []int{9000, 8900, 4352, 1500, 1492, 1480, 1476, 1460, 1450, 1440, 1420, 1400, 1380, 1360, 1300, 1280, 576, 84}

const sweepLimit = time.Second

// sweep sends echo requests of all sizes, each twice, and waits for replies. Without the right, or without IPv4, the result is unknown.
func sweep(ctx context.Context, address string) Sweep {
	var s Sweep
	at := address
	if h, _, err := net.SplitHostPort(address); err == nil {
		at = h
	}
	ip := net.ParseIP(at).To4()
	if ip == nil {
		return s
	}
	s.LinkMTU = linkMTU(ctx, ip)
	fd, raw, err := icmpSocket()
	if err != nil || s.LinkMTU == 0 {
		return s
	}
	defer unix.Close(fd)
	to := &unix.SockaddrInet4{Addr: [4]byte(ip)}
	try := append(slices.DeleteFunc(slices.Clone(sizes), func(n int) bool { return n >= s.LinkMTU }), s.LinkMTU)
	id := uint16(time.Now().UnixNano())
	pending := map[int]bool{}
	for range 2 {
		for _, size := range try {
			if size > 65000 { // the loopback
				continue
			}
			pending[size] = true
			if err := unix.Sendto(fd, echo(id, size), 0, to); errors.Is(err, unix.EMSGSIZE) {
				s.Told = true
			}
		}
	}
	s.await(ctx, fd, pending, func(p []byte, from unix.Sockaddr) int {
		if !sameAddress(from, to) {
			return 0
		}
		return echoed(p, raw, id)
	})
	return s
}

// await takes answers until all are there or the time is over.
func (s *Sweep) await(ctx context.Context, fd int, pending map[int]bool, sizeOf func(p []byte, from unix.Sockaddr) int) {
	buffer := make([]byte, 1<<16)
	for deadline := time.Now().Add(sweepLimit); len(pending) > 0 && time.Now().Before(deadline) && ctx.Err() == nil; {
		n, from, err := unix.Recvfrom(fd, buffer, 0)
		if errors.Is(err, unix.EMSGSIZE) {
			s.Told = true
		}
		if err != nil {
			continue
		}
		if size := sizeOf(buffer[:n], from); size > 0 {
			delete(pending, size)
			s.PathMTU = max(s.PathMTU, size)
		}
	}
}

func linkMTU(ctx context.Context, ip net.IP) int {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp4", net.JoinHostPort(ip.String(), "9"))
	if err != nil {
		return 0
	}
	defer conn.Close()
	mine, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return 0
	}
	links, err := net.Interfaces()
	if err != nil {
		return 0
	}
	for _, l := range links {
		addresses, err := l.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(mine.IP) {
				return l.MTU
			}
		}
	}
	return 0
}

const (
	ipHeader   = 20
	icmpHeader = 8
)

// echo is an echo request that makes an IP packet of so many bytes; the size is its sequence number.
func echo(id uint16, size int) []byte {
	p := make([]byte, size-ipHeader)
	p[0] = 8
	binary.BigEndian.PutUint16(p[4:], id)
	binary.BigEndian.PutUint16(p[6:], uint16(size))
	binary.BigEndian.PutUint16(p[2:], checksum(p))
	return p
}

// checksum is the internet's; p has an even length or is padded with zero.
func checksum(p []byte) uint16 {
	var sum uint32
	for i := 0; i < len(p); i += 2 {
		sum += uint32(p[i]) << 8
		if i+1 < len(p) {
			sum += uint32(p[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// echoed is the size of the packet that a reply is for, or 0. The kernel chooses the id of a socket that is not raw.
func echoed(p []byte, raw bool, id uint16) int {
	if raw {
		if len(p) < ipHeader || len(p) < int(p[0]&15)*4 {
			return 0
		}
		p = p[int(p[0]&15)*4:]
	}
	if len(p) < icmpHeader || p[0] != 0 || raw && binary.BigEndian.Uint16(p[4:]) != id {
		return 0
	}
	return int(binary.BigEndian.Uint16(p[6:]))
}

func sameAddress(from unix.Sockaddr, to *unix.SockaddrInet4) bool {
	f, ok := from.(*unix.SockaddrInet4)
	return ok && f.Addr == to.Addr
}
