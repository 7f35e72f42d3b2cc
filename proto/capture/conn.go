package capture

import (
	"net/netip"
	"sort"
	"time"
)

const (
	// maxPendingBytes is how much of one direction may wait for a hole to be filled: above the largest usual TCP window.
	maxPendingBytes = 16 << 20
	// A hole whose bytes the receiver has acknowledged will not be filled: the capture lost it. But packets of the two
	// directions may be captured in the wrong order, so that so many more packets, or so much time, are awaited.
	ackedHolePackets = 64
	ackedHoleTime    = time.Second
	// openHoleTime is how long a retransmission is awaited.
	openHoleTime = 2 * time.Minute
)

// sink takes a connection's bytes in order. dir is 0 for what the client sends and 1 for the server. All that a sender had received of the
// other direction is delivered before its own bytes: responses follow their requests.
type sink interface {
	data(dir int, b []byte, at mark)
	// gap says that n bytes were lost.
	gap(dir int, n uint64, at mark)
	end(dir int, why ending, at mark)
}

// mark is where and when bytes were sent: off is the first one's offset in its direction, ack what the sender had received then.
type mark struct {
	time     time.Time
	off, ack uint64
}

type ending int

const (
	endFIN ending = iota
	endReset
	endCapture
)

// conn puts the segments of one TCP connection in order. Of overlapping data, what came first counts.
type conn struct {
	client, server netip.AddrPort
	halves         [2]half
	// sink is nil before the first bytes, by which newSink makes it. whole says that nothing was lost before them.
	sink     sink
	newSink  func(c *conn, first []byte) sink
	whole    bool
	lastSeen time.Time
	// held counts the pending bytes of all connections.
	held *int
	// dead says that both directions have ended: later segments are retransmissions.
	dead bool
	// stalled counts the packets since bytes began to wait, stalledAt is when that was.
	stalled   int
	stalledAt time.Time
}

type half struct {
	started bool
	ended   bool
	// next is the offset of the next byte to deliver. Offsets are sequence numbers carried on beyond 32 bits.
	next uint64
	// acked is the highest offset that the other side acknowledged.
	acked   uint64
	fin     uint64
	hasFIN  bool
	pending []chunk
	bytes   int
}

type chunk struct {
	off, ack uint64
	data     []byte
	cut      int
	time     time.Time
}

func (c chunk) end() uint64 { return c.off + uint64(len(c.data)) + uint64(c.cut) }

func (h *half) start(seq uint32) {
	if !h.started {
		h.started, h.next, h.acked = true, 1<<32|uint64(seq), 1<<32|uint64(seq)
	}
}

// offset carries a sequence number on: it is the one nearest to next.
func (h *half) offset(seq uint32) uint64 {
	return h.next + uint64(int64(int32(seq-uint32(h.next))))
}

// segment takes one segment that goes in direction dir.
func (c *conn) segment(s segment, dir int, at time.Time) {
	h, peer := &c.halves[dir], &c.halves[1-dir]
	c.lastSeen = at
	seq := s.seq
	if s.flags&flagSYN != 0 {
		seq++
	}
	h.start(seq)
	if s.flags&flagACK != 0 {
		peer.start(s.ack)
		if ack := peer.offset(s.ack); ack > peer.acked {
			peer.acked = ack
		}
	}
	in := chunk{off: h.offset(seq), ack: peer.acked, data: s.payload, cut: s.cut, time: at}
	if s.flags&flagACK != 0 {
		in.ack = peer.offset(s.ack)
	}
	if s.flags&flagFIN != 0 && !h.hasFIN {
		h.hasFIN, h.fin = true, in.end()
	}
	if len(in.data)+in.cut > 0 {
		c.insert(dir, in)
	}
	c.pump(at)
	if s.flags&flagRST != 0 {
		c.close(endReset, at)
		return
	}
	c.unstall(at)
}

// insert delivers the chunk if it is next, which is the usual case, or keeps a copy of it.
func (c *conn) insert(dir int, in chunk) {
	h := &c.halves[dir]
	if in.end() <= h.next || h.ended {
		return
	}
	if len(h.pending) == 0 && in.off <= h.next && c.mayDeliver(dir, in) {
		c.deliver(dir, in)
		return
	}
	in.data = append([]byte(nil), in.data...)
	i := sort.Search(len(h.pending), func(i int) bool { return h.pending[i].off > in.off })
	if i > 0 && h.pending[i-1].end() >= in.end() {
		return
	}
	h.pending = append(h.pending, chunk{})
	copy(h.pending[i+1:], h.pending[i:])
	h.pending[i] = in
	h.bytes += len(in.data)
	*c.held += len(in.data)
}

// mayDeliver reports whether all that the sender of in had received has been delivered.
func (c *conn) mayDeliver(dir int, in chunk) bool {
	peer := &c.halves[1-dir]
	return !peer.started || peer.ended || in.ack <= peer.next
}

// deliver hands on what is new of a chunk that begins at or before next.
func (c *conn) deliver(dir int, in chunk) {
	h := &c.halves[dir]
	skip := h.next - in.off
	cut := uint64(in.cut)
	if skip < uint64(len(in.data)) {
		fresh := in.data[skip:]
		at := mark{in.time, h.next, in.ack}
		h.next += uint64(len(fresh))
		if c.sink == nil {
			c.sink = c.newSink(c, fresh)
		}
		c.sink.data(dir, fresh, at)
	} else {
		cut -= skip - uint64(len(in.data))
	}
	if cut > 0 {
		c.lose(dir, cut, in.time)
	}
}

func (c *conn) lose(dir int, n uint64, at time.Time) {
	h := &c.halves[dir]
	if c.sink == nil {
		c.whole = false // the bytes after a lost beginning show what it was
	} else {
		c.sink.gap(dir, n, mark{at, h.next, c.halves[1-dir].next})
	}
	h.next += n
}

func (c *conn) end(dir int, why ending, at time.Time) {
	if c.sink != nil {
		c.sink.end(dir, why, mark{at, c.halves[dir].next, c.halves[1-dir].next})
	}
}

// pump delivers what can be, in both directions, and their ends.
func (c *conn) pump(at time.Time) {
	for progress := true; progress; {
		progress = false
		for dir := range c.halves {
			for c.deliverPending(dir) {
				progress = true
			}
			h := &c.halves[dir]
			if h.hasFIN && !h.ended && len(h.pending) == 0 && h.next >= h.fin {
				h.ended, progress = true, true
				c.end(dir, endFIN, at)
			}
		}
	}
	if c.halves[0].ended && c.halves[1].ended {
		c.dead = true
	}
}

func (c *conn) deliverPending(dir int) bool {
	h := &c.halves[dir]
	if len(h.pending) == 0 {
		return false
	}
	in := h.pending[0]
	if in.end() > h.next && (in.off > h.next || !c.mayDeliver(dir, in)) {
		return false
	}
	h.pending[0] = chunk{} // the array behind the slice lives on
	if h.pending = h.pending[1:]; len(h.pending) == 0 {
		h.pending = nil
	}
	h.bytes -= len(in.data)
	*c.held -= len(in.data)
	if in.end() > h.next {
		c.deliver(dir, in)
	}
	return true
}

// unstall gives up holes that will not be filled.
func (c *conn) unstall(at time.Time) {
	if len(c.halves[0].pending)+len(c.halves[1].pending) == 0 {
		c.stalled = 0
		return
	}
	if c.stalled++; c.stalled == 1 {
		c.stalledAt = at
	}
	for c.hopeless(at) && c.giveUpHole(at) {
		c.pump(at)
		c.stalled, c.stalledAt = 1, at
	}
}

func (c *conn) hopeless(at time.Time) bool {
	waited := at.Sub(c.stalledAt)
	for dir := range c.halves {
		h := &c.halves[dir]
		switch {
		case h.bytes > maxPendingBytes:
			return true
		case h.acked > h.next && (c.stalled > ackedHolePackets || waited > ackedHoleTime):
			return true
		case len(h.pending) > 0 && waited > openHoleTime:
			return true
		}
	}
	return false
}

// giveUpHole declares lost what the longest-waiting bytes wait for. It reports whether there was anything.
func (c *conn) giveUpHole(at time.Time) bool {
	dir := -1
	for i := range c.halves {
		if p := c.halves[i].pending; len(p) > 0 && (dir < 0 || p[0].time.Before(c.halves[dir].pending[0].time)) {
			dir = i
		}
	}
	if dir < 0 {
		return false
	}
	h, peer := &c.halves[dir], &c.halves[1-dir]
	first := h.pending[0]
	if first.off > h.next {
		c.lose(dir, first.off-h.next, first.time)
		return true
	}
	// It waits for what its sender had received of the other direction.
	until := first.ack
	if len(peer.pending) > 0 {
		until = min(until, peer.pending[0].off)
	}
	if until <= peer.next {
		// The other direction's first chunk waits for this one: they acknowledge each other, which is impossible. Its ack is ignored.
		h.pending[0].ack = 0
		return true
	}
	c.lose(1-dir, until-peer.next, first.time)
	return true
}

// giveUpHoles delivers all that waits, with gaps where something is missing.
func (c *conn) giveUpHoles(at time.Time) {
	c.pump(at)
	for c.giveUpHole(at) {
		c.pump(at)
	}
}

// close delivers all that waits and ends both directions.
func (c *conn) close(why ending, at time.Time) {
	if c.dead {
		return
	}
	c.giveUpHoles(at)
	for dir := range c.halves {
		h := &c.halves[dir]
		if h.ended {
			continue
		}
		received := h.acked
		if h.hasFIN {
			received = min(received, h.fin)
		}
		if received > h.next && received-h.next <= maxPendingBytes {
			c.lose(dir, received-h.next, at)
		}
		h.ended = true
		c.end(dir, why, at)
	}
	// What came behind an end is not delivered.
	for dir := range c.halves {
		*c.held -= c.halves[dir].bytes
		c.halves[dir].pending, c.halves[dir].bytes = nil, 0
	}
	c.dead = true
}
