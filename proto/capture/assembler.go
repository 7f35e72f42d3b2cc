package capture

import (
	"bytes"
	"net/netip"
	"time"
)

const (
	maxConns = 20_000
	// sweepEvery is after how many packets ended, stuck and idle connections are looked for.
	sweepEvery = 1 << 14
	// maxHeldBytes bounds what waits for holes to be filled, of all connections together.
	maxHeldBytes = 128 << 20
	// deadTime is how long an ended connection is remembered, so that its retransmissions are not taken for a new one.
	deadTime = 5 * time.Second
	idleTime = 15 * time.Minute
)

type connKey struct{ low, high netip.AddrPort }

func keyOf(s segment) connKey {
	if s.src.Compare(s.dst) < 0 {
		return connKey{s.src, s.dst}
	}
	return connKey{s.dst, s.src}
}

type assembler struct {
	conns   map[connKey]*conn
	newSink func(c *conn, first []byte) sink
	packets int
	held    int
}

// segment takes the next segment of the capture.
func (a *assembler) segment(s segment, at time.Time) {
	if a.packets++; a.packets%sweepEvery == 0 || len(a.conns) > maxConns {
		a.sweep(at)
	}
	key := keyOf(s)
	c := a.conns[key]
	syn := s.flags&(flagSYN|flagACK) == flagSYN
	if c != nil && syn && c.isNew(s) {
		c.close(endCapture, at)
		c = nil
	}
	if c == nil {
		if len(s.payload)+s.cut == 0 && s.flags&flagSYN == 0 || s.flags&flagRST != 0 {
			return
		}
		c = a.open(s, at)
		a.conns[key] = c
	}
	if c.dead {
		c.lastSeen = at
		return
	}
	c.segment(s, c.dir(s), at)
	if c.dead {
		c.sink = nil // it is remembered for its addresses only
	}
	if a.held > maxHeldBytes {
		a.relieve(at)
	}
}

// relieve gives up holes until half of what may wait does.
func (a *assembler) relieve(at time.Time) {
	for _, c := range a.conns {
		if a.held <= maxHeldBytes/2 {
			return
		}
		if !c.dead {
			c.giveUpHoles(at)
		}
	}
}

// isNew reports whether a SYN starts another connection, and is not one more of those that started c.
func (c *conn) isNew(s segment) bool {
	h := &c.halves[c.dir(s)]
	return c.dead || h.started && h.offset(s.seq+1) != 1<<32|uint64(s.seq+1)
}

// dir is the direction of a segment.
func (c *conn) dir(s segment) int {
	if s.src == c.server {
		return 1
	}
	return 0
}

func (a *assembler) open(s segment, at time.Time) *conn {
	c := &conn{client: s.src, server: s.dst, lastSeen: at, held: &a.held, newSink: a.newSink, whole: s.flags&flagSYN != 0}
	if !fromClient(s) {
		c.client, c.server = s.dst, s.src
	}
	return c
}

// fromClient reports whether the client sent s. Where neither flags nor content tell, the higher port is the client's.
func fromClient(s segment) bool {
	switch {
	case s.flags&flagSYN != 0:
		return s.flags&flagACK == 0
	case bytes.HasPrefix(s.payload, []byte("HTTP/1.")):
		return false
	case looksLikeRequest(s.payload):
		return true
	case len(s.payload) > 5 && s.payload[0] == recordHandshake && s.payload[1] == 3:
		return s.payload[5] == helloClient
	}
	return s.src.Port() > s.dst.Port()
}

// sweep lets go of what is stuck, and forgets connections that have ended or are idle; when there are too many, the idlest.
func (a *assembler) sweep(at time.Time) {
	idle := idleTime
	for {
		for key, c := range a.conns {
			quiet := at.Sub(c.lastSeen)
			if !c.dead {
				c.unstall(at)
			}
			if c.dead && quiet > deadTime || quiet > idle {
				c.close(endCapture, at)
				delete(a.conns, key)
			}
		}
		if len(a.conns) <= maxConns*9/10 {
			return
		}
		if idle /= 8; idle < time.Millisecond {
			a.forget(maxConns*9/10, at)
			return
		}
	}
}

// forget ends connections until so many are left.
func (a *assembler) forget(left int, at time.Time) {
	for key, c := range a.conns {
		if len(a.conns) <= left {
			return
		}
		c.close(endCapture, at)
		delete(a.conns, key)
	}
}
