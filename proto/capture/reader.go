package capture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"isukit/input"
)

// Options are the keys and limits of a Reader; DefaultOptions gives the usual ones.
type Options struct {
	// Keys decrypt TLS; nil for none. Keys that the capture itself holds are added to them.
	Keys *KeyLog
	// OnNote, where set, is called for each note, from Next.
	OnNote func(Note)
	// Filter selects connections; its zero value accepts all.
	Filter Filter
	// BodyBytes is the largest body that is kept, before and after content decoding.
	BodyBytes int
	// TotalBodyBytes bounds the bodies, heads and TLS records under way of all connections together.
	TotalBodyBytes int
}

// DefaultOptions returns limits of 32 MiB a body and 256 MiB for all that is under way.
func DefaultOptions() Options {
	return Options{BodyBytes: 32 << 20, TotalBodyBytes: 256 << 20}
}

// Stats count what a Reader has met.
type Stats struct {
	Packets, Segments, Exchanges int
	// Fragments are IP packets that came in parts, which are left out.
	Fragments int
	// Cut are packets that the capture did not keep whole.
	Cut int
	// Last is the time of the last packet.
	Last time.Time
}

// Reader gives the exchanges of a capture in the order in which they were completed. It is for one goroutine.
type Reader struct {
	opts     Options
	packets  PacketSource
	table    *assembler
	stats    Stats
	done     []*Exchange
	reserved int
	// live says that the source may wait for packets; swept is when stuck connections were last looked for.
	live    bool
	swept   time.Time
	linkErr error
	err     error
	har     *harReader
}

// NewReader reads a capture file: pcap, pcapng or HAR, which may be compressed with gzip or zstd. It detects the format from the content.
func NewReader(r io.Reader, opts Options) (*Reader, error) {
	br, err := input.Unpack(r)
	if err != nil {
		return nil, fmt.Errorf("unpack the capture: %w", err)
	}
	if isHAR(br) {
		return &Reader{opts: opts, har: newHARReader(br, opts)}, nil
	}
	packets, err := openPackets(br)
	if err != nil {
		return nil, err
	}
	return NewPacketReader(packets, opts), nil
}

// NewPacketReader reads packets from any source, such as a live interface.
func NewPacketReader(packets PacketSource, opts Options) *Reader {
	if opts.Keys == nil {
		opts.Keys = NewKeyLog()
	}
	r := &Reader{opts: opts, packets: packets}
	_, isFile := packets.(fileSource)
	r.live = !isFile
	r.table = &assembler{conns: map[connKey]*conn{}, newSink: r.newSink}
	return r
}

// Next returns the next exchange, or io.EOF. Another error is the place where the capture is damaged, after the exchanges before it.
func (r *Reader) Next(ctx context.Context) (*Exchange, error) {
	if r.har != nil {
		e, err := r.har.next(ctx)
		if err == nil {
			r.stats.Exchanges++
		}
		return e, err
	}
	for len(r.done) == 0 && r.err == nil {
		if err := ctx.Err(); err != nil {
			r.finish(err)
			break
		}
		r.advance()
	}
	if len(r.done) == 0 {
		return nil, r.err
	}
	e := r.done[0]
	r.done[0] = nil
	r.done = r.done[1:]
	r.stats.Exchanges++
	// Not before: of many exchanges that wait here, all unpacked might be too much.
	e.complete(r.opts.BodyBytes)
	return e, nil
}

// Buffered returns how many exchanges Next has ready, without reading further.
func (r *Reader) Buffered() int { return len(r.done) }

// Stats returns the counts so far.
func (r *Reader) Stats() Stats { return r.stats }

// advance reads some packets, or the end of the capture.
func (r *Reader) advance() {
	for range 256 {
		p, err := r.packets.Next()
		switch {
		case errors.Is(err, ErrQuiet):
			if now := time.Now(); now.Sub(r.swept) > quietTime {
				r.swept = now
				r.table.sweep(now)
			}
			return
		case err != nil:
			r.finish(err)
			return
		}
		r.packet(p)
		if len(r.done) > 0 && !r.live {
			return // of a live capture, all that has come is taken before anything is handed on
		}
	}
}

// ErrQuiet is returned by a live PacketSource before it waits for more, and while none come, so that waiting data is released.
var ErrQuiet = errors.New("no packet has come")

// quietTime is how often what is stuck is looked for while no packets come.
const quietTime = 250 * time.Millisecond

func (r *Reader) packet(p Packet) {
	if file, ok := r.packets.(fileSource); ok {
		if secrets := file.takeSecrets(); len(secrets) > 0 {
			r.opts.Keys.add(secrets)
		}
	}
	r.stats.Packets++
	r.stats.Last = p.Time
	s, ok, err := parseSegment(p)
	switch {
	case errors.Is(err, errFragment):
		if r.stats.Fragments++; r.stats.Fragments == 1 {
			r.note(Note{Text: "IP fragments are in the capture; they are not put together, and what they carried counts as lost"})
		}
	case err != nil && r.linkErr == nil:
		r.linkErr = err
		r.note(Note{Text: err.Error()})
	}
	if !ok {
		return
	}
	if !r.opts.Filter.Match(s.src, s.dst) {
		return
	}
	r.stats.Segments++
	if s.cut > 0 {
		if r.stats.Cut++; r.stats.Cut == 1 {
			r.note(Note{Text: fmt.Sprintf("packets were cut by the capture's snap length (the first by %d bytes): capture with -s 0", s.cut)})
		}
	}
	r.table.segment(s, p.Time)
}

// finish ends the connections that are open; err is what Next returns after their exchanges.
func (r *Reader) finish(err error) {
	r.table.forget(0, r.stats.Last)
	r.err = err
	if err == io.EOF && r.linkErr != nil && r.stats.Segments == 0 { // the whole file is of such a link type
		r.err = r.linkErr
	}
}

// newSink decides by its first bytes what a connection speaks.
func (r *Reader) newSink(c *conn, first []byte) sink {
	if looksLikeTLS(first) {
		return newTLSConn(c.client, c.server, r.opts.Keys, r)
	}
	return newHTTPConn(c.client, c.server, "", c.whole, r)
}

func (r *Reader) exchange(e *Exchange) { r.done = append(r.done, e) }

func (r *Reader) note(n Note) {
	if r.opts.OnNote != nil {
		r.opts.OnNote(n)
	}
}

func (r *Reader) reserve(n int) bool {
	if r.reserved+n > r.opts.TotalBodyBytes {
		return false
	}
	r.reserved += n
	return true
}

func (r *Reader) release(n int) { r.reserved -= n }

// loan is memory that was reserved for something.
type loan struct{ n int }

// hold makes the loan n bytes large; false when the limit does not allow it.
func (l *loan) hold(out output, n int) bool {
	if n > l.n && !out.reserve(n-l.n) {
		return false
	}
	if n < l.n {
		out.release(l.n - n)
	}
	l.n = n
	return true
}

func (r *Reader) bodyLimit() int { return r.opts.BodyBytes }

// isHAR reports whether br holds JSON.
func isHAR(br *bufio.Reader) bool {
	head, _ := br.Peek(512)
	for _, b := range head {
		switch b {
		case ' ', '\t', '\r', '\n', 0xef, 0xbb, 0xbf:
		default:
			return b == '{'
		}
	}
	return false
}
