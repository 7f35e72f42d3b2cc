package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"time"
)

// pcapng reads blocks: sections, interfaces, packets and TLS keys. Other blocks are skipped.
type pcapng struct {
	r       *bufio.Reader
	order   binary.ByteOrder
	ifaces  []ngInterface
	buf     []byte
	secrets []byte
	// secretBytes counts all keys of the file, for the limit.
	secretBytes int
}

type ngInterface struct {
	link    uint32
	snapLen uint32
	// perSecond is how many units of time there are in a second.
	perSecond uint64
	offset    int64
}

const (
	ngSection        = 0x0a0d0d0a
	ngInterfaceBlock = 1
	ngOldPacket      = 2
	ngSimplePacket   = 3
	ngPacket         = 6
	ngSecrets        = 10
	ngSecretsTLS     = 0x544c534b
)

func (p *pcapng) takeSecrets() []byte {
	s := p.secrets
	p.secrets = nil
	return s
}

func (p *pcapng) Next() (Packet, error) {
	for {
		kind, body, err := p.block()
		if err != nil {
			return Packet{}, err
		}
		switch kind {
		case ngSection:
			p.ifaces = nil
		case ngInterfaceBlock:
			err = p.addInterface(body)
		case ngSecrets:
			err = p.addSecrets(body)
		case ngPacket, ngOldPacket:
			return p.timed(kind, body)
		case ngSimplePacket:
			return p.simple(body)
		}
		if err != nil {
			return Packet{}, err
		}
	}
}

// block reads one block; body is valid until the next call.
func (p *pcapng) block() (kind uint32, body []byte, err error) {
	head, err := p.r.Peek(12)
	if err == io.EOF && len(head) == 0 {
		return 0, nil, io.EOF
	}
	if err != nil {
		return 0, nil, cutBlock(err)
	}
	if binary.LittleEndian.Uint32(head) == ngSection {
		// Only now is it known how the section writes its numbers.
		switch {
		case binary.LittleEndian.Uint32(head[8:]) == 0x1a2b3c4d:
			p.order = binary.LittleEndian
		case binary.BigEndian.Uint32(head[8:]) == 0x1a2b3c4d:
			p.order = binary.BigEndian
		default:
			return 0, nil, fmt.Errorf("a pcapng section without its byte-order mark: the capture is damaged")
		}
	}
	if p.order == nil {
		return 0, nil, errNoCapture
	}
	kind = p.order.Uint32(head)
	length := p.order.Uint32(head[4:])
	if length < 12 || length%4 != 0 || length > maxBlockBytes {
		return 0, nil, fmt.Errorf("a pcapng block of %d bytes: the capture is damaged", length)
	}
	if cap(p.buf) < int(length) {
		p.buf = make([]byte, max(int(length), 2*cap(p.buf), 2<<10))
	}
	if _, err := io.ReadFull(p.r, p.buf[:length]); err != nil {
		return 0, nil, cutBlock(err)
	}
	return kind, p.buf[8 : length-4], nil
}

// cutBlock says that a block has no end, or why it cannot be read.
func cutBlock(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the file ends inside a block: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("read a block: %w", err)
}

func (p *pcapng) addInterface(body []byte) error {
	if len(body) < 8 || len(p.ifaces) >= maxInterfaces {
		return fmt.Errorf("a damaged interface block, or more than %d interfaces", maxInterfaces)
	}
	i := ngInterface{link: uint32(p.order.Uint16(body)), snapLen: p.order.Uint32(body[4:]), perSecond: 1_000_000}
	for options := body[8:]; len(options) >= 4; {
		code, length := p.order.Uint16(options), int(p.order.Uint16(options[2:]))
		if code == 0 || 4+length > len(options) {
			break
		}
		value := options[4 : 4+length]
		switch {
		case code == 9 && length >= 1:
			i.perSecond = unitsPerSecond(value[0])
		case code == 14 && length >= 8:
			i.offset = int64(p.order.Uint64(value))
		}
		options = options[min(len(options), 4+(length+3)&^3):]
	}
	p.ifaces = append(p.ifaces, i)
	return nil
}

// unitsPerSecond reads if_tsresol: a power of 10, or with the top bit of 2. What does not fit counts as microseconds.
func unitsPerSecond(resolution byte) uint64 {
	exponent := int(resolution & 0x7f)
	if resolution&0x80 != 0 {
		if exponent < 64 {
			return 1 << exponent
		}
	} else if exponent <= 19 {
		return uint64(math.Pow10(exponent))
	}
	return 1_000_000
}

func (i ngInterface) time(units uint64) time.Time {
	seconds, rest := units/i.perSecond, units%i.perSecond
	high, low := bits.Mul64(rest, uint64(time.Second))
	nanos, _ := bits.Div64(high, low, i.perSecond)
	return time.Unix(int64(seconds)+i.offset, int64(nanos))
}

func (p *pcapng) addSecrets(body []byte) error {
	if len(body) < 8 || p.order.Uint32(body) != ngSecretsTLS {
		return nil
	}
	length := int(min(p.order.Uint32(body[4:]), uint32(len(body)-8)))
	if p.secretBytes += length; p.secretBytes > maxSecretBytes {
		return fmt.Errorf("more than %d bytes of TLS keys in the capture", maxSecretBytes)
	}
	p.secrets = append(append(p.secrets, body[8:8+length]...), '\n')
	return nil
}

func (p *pcapng) packet(iface int, units uint64, kept, length uint32, data []byte) (Packet, error) {
	if iface >= len(p.ifaces) {
		return Packet{}, fmt.Errorf("a packet of interface %d, which the capture does not describe", iface)
	}
	if int64(kept) > int64(len(data)) {
		return Packet{}, fmt.Errorf("a packet of %d bytes in a block with room for %d: the capture is damaged", kept, len(data))
	}
	i := p.ifaces[iface]
	return Packet{Time: i.time(units), Data: data[:kept], Length: max(int(length), int(kept)), Link: i.link}, nil
}

// timed reads a packet block, or the older one that it replaced, whose interface has a shorter number.
func (p *pcapng) timed(kind uint32, body []byte) (Packet, error) {
	if len(body) < 20 {
		return Packet{}, fmt.Errorf("a packet block of %d bytes: the capture is damaged", len(body))
	}
	iface := int(p.order.Uint32(body))
	if kind == ngOldPacket {
		iface = int(p.order.Uint16(body))
	}
	units := uint64(p.order.Uint32(body[4:]))<<32 | uint64(p.order.Uint32(body[8:]))
	return p.packet(iface, units, p.order.Uint32(body[12:]), p.order.Uint32(body[16:]), body[20:])
}

// simple reads a packet without a time; it belongs to the first interface, whose snap length cuts it.
func (p *pcapng) simple(body []byte) (Packet, error) {
	if len(body) < 4 || len(p.ifaces) == 0 {
		return Packet{}, fmt.Errorf("a simple packet block of %d bytes: the capture is damaged", len(body))
	}
	length := p.order.Uint32(body)
	kept := min(length, uint32(len(body)-4))
	if snap := p.ifaces[0].snapLen; snap > 0 {
		kept = min(kept, snap)
	}
	return p.packet(0, 0, kept, length, body[4:])
}
