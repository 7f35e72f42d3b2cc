package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Packet is one captured frame.
type Packet struct {
	// Time is when it was captured.
	Time time.Time
	// Data is what was kept of it; it is valid until the next packet is read.
	Data []byte
	// Length is how many bytes it had on the wire; more than len(Data) when the capture cut it.
	Length int
	// Link is the link type, as numbered in pcap files (1 is Ethernet).
	Link uint32
}

// PacketSource gives packets one after another; io.EOF ends them.
type PacketSource interface {
	Next() (Packet, error)
}

const (
	maxPacketBytes = 1 << 20
	maxBlockBytes  = 16 << 20
	maxInterfaces  = 4096
	maxSecretBytes = 32 << 20
)

// fileSource reads packets from a file and gives the TLS keys that it may hold.
type fileSource interface {
	PacketSource
	// takeSecrets returns the key log lines that were met since the last call.
	takeSecrets() []byte
}

// Formats are those of the files that NewReader reads, which may be packed with gzip or zstd.
const Formats = "pcap, pcapng and HAR"

var errNoCapture = errors.New("not a capture: the formats are " + Formats)

// openPackets finds out which format br has.
func openPackets(br *bufio.Reader) (fileSource, error) {
	magic, err := br.Peek(4)
	if err != nil {
		return nil, fmt.Errorf("%w: it has %d bytes", errNoCapture, len(magic))
	}
	switch binary.LittleEndian.Uint32(magic) {
	case 0x0a0d0d0a:
		return &pcapng{r: br}, nil
	case 0xa1b2c3d4, 0xa1b23c4d, 0xd4c3b2a1, 0x4d3cb2a1, 0xa1b2cd34, 0x34cdb2a1:
		return newPcap(br)
	}
	return nil, errNoCapture
}

// pcap is the classic format: a header, then packets.
type pcap struct {
	r     *bufio.Reader
	order binary.ByteOrder
	// unit is what the second number of a time counts: microseconds or nanoseconds.
	unit  time.Duration
	extra int
	link  uint32
	buf   []byte
}

func newPcap(br *bufio.Reader) (*pcap, error) {
	var head [24]byte
	if _, err := io.ReadFull(br, head[:]); err != nil {
		return nil, fmt.Errorf("read the pcap header: %w", err)
	}
	p := &pcap{r: br, order: binary.LittleEndian, unit: time.Microsecond}
	magic := p.order.Uint32(head[:])
	if magic&0xff == 0xa1 {
		p.order = binary.BigEndian
		magic = p.order.Uint32(head[:])
	}
	switch magic {
	case 0xa1b23c4d:
		p.unit = time.Nanosecond
	case 0xa1b2cd34:
		// An old patch of libpcap ("modified") has 8 more bytes in each packet's header.
		p.extra = 8
	}
	p.link = p.order.Uint32(head[20:]) & 0x0fffffff
	return p, nil
}

func (p *pcap) takeSecrets() []byte { return nil }

func (p *pcap) Next() (Packet, error) {
	var head [24]byte
	if _, err := io.ReadFull(p.r, head[:16+p.extra]); err != nil {
		return Packet{}, cutOff(err)
	}
	kept, length := p.order.Uint32(head[8:]), p.order.Uint32(head[12:])
	if kept > maxPacketBytes {
		return Packet{}, fmt.Errorf("a packet of %d bytes is more than the limit of %d: the capture is damaged", kept, maxPacketBytes)
	}
	if cap(p.buf) < int(kept) {
		p.buf = make([]byte, max(int(kept), 2*cap(p.buf), 2<<10))
	}
	data := p.buf[:kept]
	if _, err := io.ReadFull(p.r, data); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // its header was there
		}
		return Packet{}, cutOff(err)
	}
	at := time.Unix(int64(p.order.Uint32(head[0:])), int64(p.order.Uint32(head[4:]))*int64(p.unit))
	return Packet{Time: at, Data: data, Length: max(int(length), int(kept)), Link: p.link}, nil
}

// cutOff is io.EOF for a clean end, and else says that the file ends inside something.
func cutOff(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the file ends inside a packet: %w", err)
	}
	return err
}
