package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
)

const (
	maxRecordBytes    = 1<<14 + 2048
	maxHandshakeBytes = 1 << 20
	// maxResyncSeq is how many records a loss may have swallowed.
	maxResyncSeq = 4096
	// maxTrials bounds the search for records in one connection.
	maxTrials = 100_000
	// unknownGap is a loss of unknown size.
	unknownGap = 1 << 40
)

// tlsConn decrypts one connection and hands its content to an httpConn.
type tlsConn struct {
	client, server netip.AddrPort
	keys           *KeyLog
	out            output
	halves         [2]tlsHalf
	clientHello    *hello
	serverHello    *hello
	suite          suite
	master         []byte
	http           *httpConn
	dead           bool
	// trials counts the decryptions that were tried to find records after a loss.
	trials int
}

type tlsHalf struct {
	// buf is an incomplete record; bufAt marks its first byte.
	buf   []byte
	bufAt mark
	// handshake holds incomplete messages.
	handshake []byte
	loan      loan
	cipher    *recordCipher
	// pending is the cipher that follows: after ChangeCipherSpec in TLS 1.2, after Finished in TLS 1.3.
	pending *recordCipher
	seq     uint64
	// lost: the next record's start is looked for; lostFrom is the offset of the first incomplete record.
	lost     bool
	lostFrom uint64
}

func newTLSConn(client, server netip.AddrPort, keys *KeyLog, out output) *tlsConn {
	return &tlsConn{client: client, server: server, keys: keys, out: out}
}

func (t *tlsConn) note(at mark, format string, args ...any) {
	t.out.note(Note{Client: t.client, Server: t.server, Text: fmt.Sprintf(format, args...)})
}

// giveUp notes why nothing more of the connection is read.
func (t *tlsConn) giveUp(at mark, format string, args ...any) {
	if !t.dead {
		t.note(at, format, args...)
	}
	t.dead = true
	for dir := range t.halves {
		h := &t.halves[dir]
		h.buf, h.handshake = nil, nil
		h.loan.hold(t.out, 0)
	}
}

// keep stores the beginning of a record, which may be part of buf. The connection is given up when there is too little memory.
func (t *tlsConn) keep(h *tlsHalf, b []byte, at mark, used int) {
	h.bufAt = mark{at.time, at.off + uint64(used), at.ack}
	h.buf = append(h.buf[:0], b...)
	if !h.loan.hold(t.out, len(h.buf)+len(h.handshake)) {
		t.giveUp(at, "TLS: the records under way have more bytes than the limit for all of them")
	}
}

func (t *tlsConn) data(dir int, b []byte, at mark) {
	h := &t.halves[dir]
	if t.dead {
		return
	}
	if len(h.buf) > 0 {
		h.buf = append(h.buf, b...)
		b = h.buf
		at = mark{at.time, h.bufAt.off, h.bufAt.ack}
	}
	used := 0
	if h.lost {
		if used = t.resync(dir, b, at); h.lost {
			t.keep(h, b[used:], at, used)
			return
		}
	}
	for !t.dead {
		rest := b[used:]
		size, err := recordSize(rest)
		if err != nil {
			t.giveUp(at, "TLS: %s", err)
			return
		}
		if size == 0 {
			t.keep(h, rest, at, used)
			return
		}
		t.record(dir, rest[:size], mark{at.time, at.off + uint64(used), at.ack})
		used += size
	}
}

// recordSize returns the size of the record at the start of b, or 0 if it is incomplete.
func recordSize(b []byte) (int, error) {
	if len(b) < 5 {
		return 0, nil
	}
	size := int(binary.BigEndian.Uint16(b[3:]))
	if !looksLikeTLS(b) || size > maxRecordBytes {
		return 0, fmt.Errorf("%x is not a record header", b[:5])
	}
	if len(b) < 5+size {
		return 0, nil
	}
	return 5 + size, nil
}

// record takes one whole record.
func (t *tlsConn) record(dir int, record []byte, at mark) {
	h := &t.halves[dir]
	kind, content := record[0], record[5:]
	// TLS 1.3 sends ChangeCipherSpec in the clear, for show.
	if h.cipher != nil && !(kind == recordChangeCipher && h.cipher.version == version13) {
		plain, inner, err := h.cipher.open(h.seq, kind, record[:5], content)
		if err != nil {
			t.undecrypted(dir, at)
			return
		}
		h.seq++
		kind, content = inner, plain
	} else if kind == recordData {
		t.encryptedEarly(dir, at)
		return
	}
	t.content(dir, kind, content, at)
}

// undecrypted takes a record that does not decrypt: 0-RTT data, which has keys of its own, or a wrong key.
func (t *tlsConn) undecrypted(dir int, at mark) {
	h := &t.halves[dir]
	if dir == 0 && h.seq == 0 && t.clientHello != nil && t.clientHello.earlyData {
		return
	}
	t.giveUp(at, "TLS: a record does not decrypt with the key of this session: the key log belongs to another run, or the capture is damaged")
}

// encryptedEarly takes data before its key is known.
func (t *tlsConn) encryptedEarly(dir int, at mark) {
	switch {
	case t.clientHello == nil:
		t.giveUp(at, "TLS: the connection began before the capture; its handshake is needed to decrypt it")
	case dir == 0 && t.clientHello.earlyData:
		t.note(at, "TLS: 0-RTT data is not decrypted")
	case t.serverHello == nil:
		t.giveUp(at, "TLS: the server's hello was not captured; it is needed to decrypt the connection")
	}
}

func (t *tlsConn) content(dir int, kind byte, content []byte, at mark) {
	h := &t.halves[dir]
	switch kind {
	case recordHandshake:
		t.handshake(dir, content, at)
	case recordChangeCipher:
		if t.serverHello != nil && t.serverHello.version == version12 && h.pending != nil {
			h.cipher, h.pending, h.seq = h.pending, nil, 0
		}
	case recordData:
		t.inner().data(dir, content, at)
	}
}

// inner is what reads the connection's content.
func (t *tlsConn) inner() *httpConn {
	if t.http == nil {
		t.http = newHTTPConn(t.client, t.server, t.version(), true, t.out)
	}
	return t.http
}

// end ends one direction.
func (t *tlsConn) end(dir int, why ending, at mark) {
	h := &t.halves[dir]
	if h.lost && h.cipher != nil && t.http != nil {
		t.http.gap(dir, unknownGap, at)
	}
	if t.http != nil {
		t.http.end(dir, why, at)
	}
	h.buf, h.handshake = nil, nil
	h.loan.hold(t.out, 0)
}

// handshake gathers handshake messages, which records may cut anywhere.
func (t *tlsConn) handshake(dir int, content []byte, at mark) {
	h := &t.halves[dir]
	h.handshake = append(h.handshake, content...)
	for len(h.handshake) >= 4 && !t.dead {
		length := int(h.handshake[1])<<16 | int(binary.BigEndian.Uint16(h.handshake[2:]))
		if length > maxHandshakeBytes {
			t.giveUp(at, "TLS: a handshake message of %d bytes", length)
			return
		}
		if len(h.handshake) < 4+length {
			return
		}
		message := h.handshake[:4+length]
		h.handshake = h.handshake[4+length:]
		t.message(dir, message[0], message[4:], at)
	}
	if len(h.handshake) == 0 {
		h.handshake = nil
	}
}

func (t *tlsConn) message(dir int, kind byte, body []byte, at mark) {
	h := &t.halves[dir]
	switch kind {
	case helloClient:
		if hello, ok := parseHello(kind, body); ok {
			t.clientHello = &hello
		}
	case helloServer:
		if hello, ok := parseHello(kind, body); ok && hello.random != helloRetry {
			t.serverHello = &hello
			t.agreed(at)
		}
	case encryptedExts:
		if t.serverHello != nil {
			t.serverHello.extensions(kind, &fields{body, true})
			t.isHTTP2(at)
		}
	case newSessionTicket:
		// In TLS 1.2 it comes in the clear: four bytes of lifetime, then the ticket.
		if t.master != nil && len(body) > 6 {
			t.keys.remember(body[6:], t.master)
		}
	case handshakeFinished:
		if h.cipher != nil && h.cipher.version == version13 && h.pending != nil {
			h.cipher, h.pending, h.seq = h.pending, nil, 0
		}
	case keyUpdate:
		t.updateKey(h, at)
	}
}

func (t *tlsConn) updateKey(h *tlsHalf, at mark) {
	if h.cipher == nil || h.cipher.version != version13 {
		return
	}
	next, err := h.cipher.next()
	if err != nil {
		t.giveUp(at, "TLS: %s", err)
		return
	}
	h.cipher, h.seq = next, 0
}

// agreed makes the keys, once both hellos are known.
func (t *tlsConn) agreed(at mark) {
	if t.clientHello == nil {
		t.giveUp(at, "TLS: the client's hello was not captured; it is needed to decrypt the connection")
		return
	}
	s, ok := suites[t.serverHello.suite]
	switch {
	case t.isHTTP2(at):
	case t.serverHello.version != version12 && t.serverHello.version != version13:
		t.giveUp(at, "TLS: version 0x%04x is not read (1.2 and 1.3 are)", t.serverHello.version)
	case !ok:
		t.giveUp(at, "TLS: cipher suite 0x%04x is not read", t.serverHello.suite)
	case t.serverHello.version == version13:
		t.suite = s
		t.keys13(at)
	default:
		t.suite = s
		t.keys12(at)
	}
}

func (t *tlsConn) keys13(at mark) {
	labels := [2][2]string{{labelClientHandshake, labelClientTraffic}, {labelServerHandshake, labelServerTraffic}}
	for dir := range t.halves {
		for i, label := range labels[dir] {
			secret := t.keys.secret(t.clientHello.random, label)
			if secret == nil {
				t.noKey(at)
				return
			}
			c, err := newCipher13(t.suite, secret)
			if err != nil {
				t.giveUp(at, "TLS: %s", err)
				return
			}
			if i == 0 {
				t.halves[dir].cipher, t.halves[dir].seq = c, 0
			} else {
				t.halves[dir].pending = c
			}
		}
	}
}

func (t *tlsConn) keys12(at mark) {
	t.master = t.keys.secret(t.clientHello.random, labelMaster)
	for _, id := range [][]byte{t.clientHello.ticket, t.serverHello.sessionID} {
		if t.master == nil {
			t.master = t.keys.resumed(id)
		}
	}
	if t.master == nil {
		t.noKey(at)
		return
	}
	t.keys.remember(t.serverHello.sessionID, t.master)
	ciphers, err := newCiphers12(t.suite, t.master, t.clientHello.random, t.serverHello.random, t.serverHello.encryptThenMAC)
	if err != nil {
		t.giveUp(at, "TLS: %s", err)
		return
	}
	for dir := range t.halves {
		t.halves[dir].pending = ciphers[dir]
	}
}

// alpnHTTP2 is HTTP/2 as ALPN names it.
const alpnHTTP2 = "\x02h2"

// isHTTP2 gives a connection up of which both ends agreed that it is HTTP/2.
func (t *tlsConn) isHTTP2(at mark) bool {
	is := string(t.serverHello.protocols) == alpnHTTP2
	if is {
		t.giveUp(at, "%s", http2Note(t.version()))
	}
	return is
}

// version is the one that was agreed on, as people write it.
func (t *tlsConn) version() string {
	if t.serverHello.version == version13 {
		return "TLS 1.3"
	}
	return "TLS 1.2"
}

// noKey says why the connection stays closed, and what would open it.
func (t *tlsConn) noKey(at mark) {
	exchange := "(EC)DHE: the server's private key cannot decrypt it, since it only signs"
	if t.suite.rsa {
		exchange = "RSA: the server's private key could decrypt it, but isukit reads key logs only"
	}
	way := "let the client or the server write a key log and give it with --keylog"
	if bytes.Contains(t.clientHello.protocols, []byte(alpnHTTP2)) {
		way += "; the client offers HTTP/2, which isukit does not read"
	}
	if len(t.clientHello.ticket) > 0 && t.serverHello.version == version12 {
		t.giveUp(at, "TLS 1.2, %s, resumed with a ticket, perhaps of a connection before the capture: no key in the key log; %s", t.suite.name, way)
		return
	}
	t.giveUp(at, "%s, %s: no key in the key log. The key exchange is %s; %s", t.version(), t.suite.name, exchange, way)
}
