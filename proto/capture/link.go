package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Link types, as numbered in pcap files.
const (
	linkNull       = 0
	linkEthernet   = 1
	linkRawBSD     = 12
	linkRawOpenBSD = 14
	linkRaw        = 101
	linkLoop       = 108
	linkCooked     = 113
	linkIPv4       = 228
	linkIPv6       = 229
	linkCookedV2   = 276
)

// What Ethernet says that its frames hold.
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
)

// Bounds of the headers of one packet.
const (
	maxVLANs      = 8
	maxExtensions = 16
)

type segment struct {
	src, dst netip.AddrPort
	seq, ack uint32
	flags    byte
	payload  []byte
	// cut is how many bytes of the payload the capture did not keep.
	cut int
}

// TCP flags.
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
)

// parseSegment finds the TCP segment in a packet. ok is false, without an error, for other packets.
func parseSegment(p Packet) (s segment, ok bool, err error) {
	network, data, err := stripLink(p)
	if err != nil || data == nil {
		return s, false, err
	}
	missing := p.Length - len(p.Data)
	switch network {
	case etherIPv4:
		return parseIPv4(data, missing)
	case etherIPv6:
		return parseIPv6(data, missing)
	}
	return s, false, nil
}

// stripLink takes the link layer's header off; data is nil when no network packet is left.
func stripLink(p Packet) (network uint16, data []byte, err error) {
	data = p.Data
	switch p.Link {
	case linkEthernet:
		return stripHeader(data, 14, 12)
	case linkCooked:
		return stripHeader(data, 16, 14)
	case linkCookedV2:
		return stripHeader(data, 20, 0)
	case linkNull, linkLoop:
		// Four bytes of address family, in the byte order of the capturing machine; the IP version says the same.
		if len(data) < 5 {
			return 0, nil, nil
		}
		return ipVersion(data[4:])
	case linkRaw, linkRawBSD, linkRawOpenBSD, linkIPv4, linkIPv6:
		return ipVersion(data)
	}
	return 0, nil, fmt.Errorf("link type %d is none that isukit reads (Ethernet, Linux cooked, loopback, raw IP)", p.Link)
}

func ipVersion(data []byte) (uint16, []byte, error) {
	if len(data) == 0 {
		return 0, nil, nil
	}
	switch data[0] >> 4 {
	case 4:
		return etherIPv4, data, nil
	case 6:
		return etherIPv6, data, nil
	}
	return 0, nil, nil
}

// stripHeader takes off a header of that size, which has the network's number at a place, and the VLAN tags behind it.
func stripHeader(data []byte, size, at int) (uint16, []byte, error) {
	if len(data) < size {
		return 0, nil, nil
	}
	kind, data := binary.BigEndian.Uint16(data[at:]), data[size:]
	for range maxVLANs {
		if kind != 0x8100 && kind != 0x88a8 && kind != 0x9100 {
			break
		}
		if len(data) < 4 {
			return 0, nil, nil
		}
		kind, data = binary.BigEndian.Uint16(data[2:]), data[4:]
	}
	return kind, data, nil
}

// errFragment says that an IP packet comes in parts, which are not put together.
var errFragment = errors.New("an IP fragment")

func parseIPv4(data []byte, missing int) (s segment, ok bool, err error) {
	if len(data) < 20 || data[0]>>4 != 4 {
		return s, false, nil
	}
	header := int(data[0]&15) * 4
	length := int(binary.BigEndian.Uint16(data[2:]))
	if header < 20 || header > len(data) || data[9] != 6 {
		return s, false, nil
	}
	if binary.BigEndian.Uint16(data[6:])&0x3fff != 0 {
		return s, false, errFragment
	}
	src, dst := netip.AddrFrom4([4]byte(data[12:16])), netip.AddrFrom4([4]byte(data[16:20]))
	return parseTCP(data, header, length, missing, src, dst)
}

func parseIPv6(data []byte, missing int) (s segment, ok bool, err error) {
	if len(data) < 40 || data[0]>>4 != 6 {
		return s, false, nil
	}
	length := int(binary.BigEndian.Uint16(data[4:]))
	if length > 0 {
		length += 40
	}
	src, dst := netip.AddrFrom16([16]byte(data[8:24])), netip.AddrFrom16([16]byte(data[24:40]))
	next, at := data[6], 40
	for range maxExtensions {
		switch next {
		case 6:
			return parseTCP(data, at, length, missing, src, dst)
		case 44:
			return s, false, errFragment
		case 0, 43, 60, 135:
			if len(data) < at+8 {
				return s, false, nil
			}
			next, at = data[at], at+8+8*int(data[at+1])
		default:
			return s, false, nil
		}
	}
	return s, false, nil
}

// parseTCP reads the segment at offset at of an IP packet of that length; 0 if the sender's card was still to cut it.
func parseTCP(ip []byte, at, length, missing int, src, dst netip.Addr) (s segment, ok bool, err error) {
	if length == 0 {
		length = len(ip) + missing
	}
	if at+20 > len(ip) || at+20 > length {
		return s, false, nil
	}
	tcp := ip[at:min(len(ip), length)]
	header := int(tcp[12]>>4) * 4
	if header < 20 || header > length-at {
		return s, false, nil
	}
	s = segment{
		src: netip.AddrPortFrom(src, binary.BigEndian.Uint16(tcp)),
		dst: netip.AddrPortFrom(dst, binary.BigEndian.Uint16(tcp[2:])),
		seq: binary.BigEndian.Uint32(tcp[4:]), ack: binary.BigEndian.Uint32(tcp[8:]), flags: tcp[13],
	}
	if header <= len(tcp) {
		s.payload = tcp[header:]
	}
	// The padding of short Ethernet frames is behind length and gone; what length promises and is not there was cut.
	s.cut = length - at - header - len(s.payload)
	return s, true, nil
}
