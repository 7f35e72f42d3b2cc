package load

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// What a connection's send may meet besides the network's own errors.
var (
	errUnasked    = errors.New("bytes came before the request was sent")
	errIdleClosed = errors.New("the server closed the idle connection")
)

// Buffer sizes: what a connection begins with, and what it may keep once an answer has been dealt with.
const (
	initialBuffer = 4 << 10
	keptBuffer    = 64 << 10
)

// atOnce is how soon after an answer a request that may be repeated goes without a look at the connection. What the server
// did in the meantime, such as closing it, then shows when the answer is read. Looking costs a user who never pauses 5 % of a
// hit; others pause for longer.
const atOnce = 20 * time.Microsecond

// conn is one connection to an origin. Answers are read into buf, one at a time: buf[r:w] is received and not yet parsed.
type conn struct {
	origin *Origin
	nc     net.Conn
	// raw is the socket, nil when nc is not a plain socket; see step.
	raw      syscall.RawConn
	stepFunc func(fd uintptr) bool
	pend     []byte // what step has still to write
	look     bool   // step is to look for bytes that came unasked first
	written  bool
	stepErr  error

	buf  []byte
	r, w int
	// hole is where the decoded body ends, while chunks are being moved together; bytes between hole and r are waste.
	hole int

	deadline time.Time
	answered time.Time // when the last whole answer had come
	used     bool      // a request was sent before
	close    bool      // not to be used again
	writeErr error

	last      Hit // the last hit that was sent here
	lastQuiet bool
}

// dial connects to an origin, with TLS where it asks for that.
func dial(ctx context.Context, o *Origin, opts *Options, counts *socketCounts) (*conn, *Fault) {
	dctx, cancel := context.WithTimeout(ctx, opts.ConnectTimeout)
	defer cancel()
	nc, err := opts.Dial(dctx, "tcp", o.addr)
	counts.note(err)
	if err != nil {
		return nil, connectFault(err)
	}
	cn := &conn{origin: o, nc: nc}
	cn.last.Endpoint = -1
	if !o.https {
		if sc, ok := nc.(syscall.Conn); ok {
			if raw, err := sc.SyscallConn(); err == nil {
				cn.raw, cn.stepFunc = raw, cn.step
			}
		}
		return cn, nil
	}
	cfg := opts.TLS
	if cfg.ServerName == "" {
		cfg = cfg.Clone()
		cfg.ServerName = o.name
	}
	tc := tls.Client(nc, cfg)
	tctx, cancelTLS := context.WithTimeout(ctx, opts.ConnectTimeout)
	defer cancelTLS()
	if err := tc.HandshakeContext(tctx); err != nil {
		nc.Close()
		return nil, tlsFault(err)
	}
	cn.nc = tc
	return cn, nil
}

func connectFault(err error) *Fault {
	text := "cannot connect"
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		text = "connection refused"
	case isTimeout(err):
		text = "no connection in time"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		text = "the generator is out of file descriptors: raise its limit (ulimit -n)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		text = "the generator is out of local ports"
	}
	return &Fault{Kind: Connect, Text: text, Detail: err.Error()}
}

func tlsFault(err error) *Fault {
	text := "TLS handshake failed"
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		text = "TLS certificate not trusted"
	} else if isTimeout(err) {
		text = "TLS handshake not done in time"
	}
	return &Fault{Kind: Connect, Text: text, Detail: err.Error()}
}

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT)
}

// setDeadline makes reads and writes end soon after t. Moving a deadline costs more than it is worth for every request, so
// it is set an eighth of the timeout late and moved only when it has become too early; Do compares the times itself.
func (cn *conn) setDeadline(t time.Time, timeout time.Duration) {
	slack := timeout / 8
	if !cn.deadline.Before(t) && cn.deadline.Sub(t) <= slack {
		return
	}
	cn.deadline = t.Add(slack)
	cn.nc.SetDeadline(cn.deadline)
}

// send writes one request, and on a plain socket waits for bytes. look: surplus bytes are looked for before.
func (cn *conn) send(out []byte, look bool) error {
	cn.reset()
	if cn.raw == nil {
		return cn.sendPlain(out)
	}
	cn.pend, cn.look, cn.written, cn.stepErr = out, look, false, nil
	if err := cn.raw.Read(cn.stepFunc); err != nil && cn.stepErr == nil {
		cn.stepErr = err
	}
	if cn.stepErr != nil || len(cn.pend) == 0 {
		err := cn.stepErr
		if cn.written && err != nil {
			return nil // receive will meet it again, or has what it needs
		}
		return err
	}
	// The socket's buffer was full; let the runtime wait for room.
	_, err := cn.nc.Write(cn.pend)
	return err
}

// sendPlain is send for connections that are not plain sockets.
func (cn *conn) sendPlain(out []byte) error {
	if cn.used {
		if err := cn.unasked(); err != nil {
			return err
		}
	}
	_, err := cn.nc.Write(out)
	return err
}

// step does the work of send inside one RawConn.Read: look for surplus bytes, write the request, wait, read.
//
// Subtle: Read prepares to wait for the socket before it first calls step. An answer that comes between the write and the return of false
// therefore ends the wait and is not missed; no read is tried too early.
func (cn *conn) step(fd uintptr) bool {
	if cn.written {
		n, err := readFD(fd, cn.buf[cn.w:])
		if err == syscall.EAGAIN {
			return false
		}
		cn.stepErr = eofOf(n, err)
		cn.w += max(n, 0)
		return true
	}
	if cn.look && cn.sawSomething(fd) {
		return true
	}
	n, err := writeFD(fd, cn.pend)
	cn.pend = cn.pend[max(n, 0):]
	if err != nil && err != syscall.EAGAIN {
		cn.stepErr = err
		return true
	}
	cn.written = len(cn.pend) == 0
	return !cn.written
}

// sawSomething reports whether bytes, or the connection's end, have come unasked, and leaves in stepErr which.
func (cn *conn) sawSomething(fd uintptr) bool {
	n, err := readFD(fd, cn.buf[cn.w:])
	switch {
	case n > 0:
		cn.w += n
		cn.stepErr = errUnasked
	case err != syscall.EAGAIN:
		cn.stepErr = errIdleClosed
	}
	return cn.stepErr != nil
}

func eofOf(n int, err error) error {
	if err == nil && n == 0 {
		return io.EOF
	}
	return err
}

func (cn *conn) reset() {
	if cn.buf == nil || len(cn.buf) > keptBuffer {
		cn.buf = make([]byte, initialBuffer)
	}
	cn.r, cn.w, cn.hole = 0, 0, 0
}

// unasked looks for what came since the last answer: errUnasked says that bytes did, which are left at the beginning of buf, and
// errIdleClosed that the server has hung up. A cancellation in the meantime still stops the write that follows, since only the
// deadline for reading is moved.
func (cn *conn) unasked() error {
	cn.reset()
	sc, ok := cn.nc.(syscall.Conn)
	if tc, isTLS := cn.nc.(*tls.Conn); isTLS {
		sc, ok = tc.NetConn().(syscall.Conn)
	}
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	waiting, ended := false, false
	raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		waiting, ended = err == nil && n > 0, err == nil && n == 0
	})
	if ended {
		return errIdleClosed
	}
	if !waiting {
		return nil
	}
	// With TLS these may be session tickets, which Read skips, or the end of the stream; data that matters is already there.
	cn.nc.SetReadDeadline(time.Now().Add(2 * time.Millisecond))
	n, err := cn.nc.Read(cn.buf)
	cn.nc.SetReadDeadline(cn.deadline)
	cn.w = max(n, 0)
	switch {
	case cn.w > 0:
		return errUnasked
	case err == io.EOF:
		return errIdleClosed
	}
	return nil
}

// fill reads more of an answer, making room first. limit is the most that the buffer may hold.
func (cn *conn) fill(limit int) error {
	if cn.w == len(cn.buf) {
		cn.makeRoom(limit)
	}
	if cn.w == len(cn.buf) {
		return errBufferLimit
	}
	if err := cn.stepErr; err != nil {
		return err // met by send
	}
	n, err := cn.nc.Read(cn.buf[cn.w:])
	cn.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

var errBufferLimit = errors.New("buffer limit")

// makeRoom closes the gaps of removed chunk headers, or doubles the buffer.
func (cn *conn) makeRoom(limit int) {
	if cn.hole > 0 && cn.r-cn.hole >= len(cn.buf)/4 {
		n := copy(cn.buf[cn.hole:], cn.buf[cn.r:cn.w])
		cn.r, cn.w = cn.hole, cn.hole+n
		return
	}
	if size := min(2*len(cn.buf), limit); size > len(cn.buf) {
		bigger := make([]byte, size)
		copy(bigger, cn.buf[:cn.w])
		cn.buf = bigger
	}
}

// closedFault: the connection closed without an answer.
func (cn *conn) closedFault() *Fault {
	if cn.writeErr != nil {
		return Faultf(Protocol, "connection closed while the request was sent", "%v", cn.writeErr)
	}
	return Faultf(Protocol, "connection closed before the answer", "")
}
