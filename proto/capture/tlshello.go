package capture

import "encoding/binary"

// Record and handshake types, versions and extensions of TLS that matter here.
const (
	recordChangeCipher = 20
	recordAlert        = 21
	recordHandshake    = 22
	recordData         = 23

	helloClient       = 1
	helloServer       = 2
	newSessionTicket  = 4
	encryptedExts     = 8
	handshakeFinished = 20
	keyUpdate         = 24

	version12 = 0x0303
	version13 = 0x0304

	extALPN           = 16
	extEncryptThenMAC = 22
	extSessionTicket  = 35
	extEarlyData      = 42
	extVersions       = 43
)

type hello struct {
	version        uint16
	random         [32]byte
	sessionID      []byte
	suite          uint16 // of a ServerHello
	ticket         []byte
	encryptThenMAC bool
	earlyData      bool
	// protocols are those of ALPN (RFC 7301): what a client offers, or the one that a server chose, with their lengths before them.
	protocols []byte
}

// helloRetry is the random of a ServerHello that asks for another ClientHello, RFC 8446 section 4.1.3.
var helloRetry = [32]byte{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}

// fields cuts length-prefixed fields off a handshake message; ok turns false when one is cut off.
type fields struct {
	b  []byte
	ok bool
}

func (f *fields) take(n int) []byte {
	if n > len(f.b) {
		f.ok = false
		n = len(f.b)
	}
	part := f.b[:n]
	f.b = f.b[n:]
	return part
}

func (f *fields) number(bytes int) int {
	n := 0
	for _, b := range f.take(bytes) {
		n = n<<8 | int(b)
	}
	return n
}

// parseHello reads the body of a ClientHello or ServerHello.
func parseHello(kind byte, body []byte) (h hello, ok bool) {
	f := &fields{body, true}
	h.version = uint16(f.number(2))
	copy(h.random[:], f.take(32))
	h.sessionID = append([]byte(nil), f.take(f.number(1))...)
	if kind == helloClient {
		f.take(f.number(2))
		f.take(f.number(1))
	} else {
		h.suite = uint16(f.number(2))
		f.take(1)
	}
	if !f.ok {
		return h, false
	}
	h.extensions(kind, f)
	return h, true
}

// extensions reads those of a hello, or the ones that a TLS 1.3 server encrypts.
func (h *hello) extensions(kind byte, f *fields) {
	extensions := &fields{f.take(f.number(2)), true}
	for len(extensions.b) > 0 && extensions.ok {
		id := extensions.number(2)
		value := extensions.take(extensions.number(2))
		switch id {
		case extVersions:
			if kind == helloServer && len(value) == 2 {
				h.version = binary.BigEndian.Uint16(value)
			}
		case extSessionTicket:
			h.ticket = append([]byte(nil), value...)
		case extALPN:
			h.protocols = append([]byte(nil), value[min(2, len(value)):]...)
		case extEncryptThenMAC:
			h.encryptThenMAC = true
		case extEarlyData:
			h.earlyData = true
		}
	}
}

// looksLikeTLS reports whether b begins with a TLS record.
func looksLikeTLS(b []byte) bool {
	if len(b) < 3 {
		return len(b) > 1 && b[0] == recordHandshake && b[1] == 3
	}
	return b[0] >= recordChangeCipher && b[0] <= recordData && b[1] == 3 && b[2] <= 4
}
