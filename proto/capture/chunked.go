package capture

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// line gathers a line of the chunked coding.
func (p *parser) line(b []byte, at mark) int {
	i := bytes.IndexByte(b, '\n')
	n := i + 1
	if i < 0 {
		n = len(b)
	}
	p.msg.End = at.time
	p.buf = append(p.buf, b[:n]...)
	if len(p.buf) > maxHeadBytes || !p.loan.hold(p.conn.out, len(p.buf)) {
		p.garbage(at, fmt.Errorf("a line of more than %d bytes", maxHeadBytes))
		return n
	}
	if i < 0 {
		return n
	}
	line := strings.TrimSpace(string(p.buf))
	p.buf = p.buf[:0]
	p.lineRead(line, at)
	return n
}

func (p *parser) lineRead(line string, at mark) {
	switch p.state {
	case stateChunkSize:
		size, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 62)
		switch {
		case err != nil:
			p.garbage(at, fmt.Errorf("%q is not a chunk size", clip([]byte(line))))
		case n == 0:
			p.state = stateTrailer
		default:
			p.state, p.left = stateChunk, n
		}
	case stateChunkEnd:
		p.state = stateChunkSize
		if line != "" {
			p.garbage(at, fmt.Errorf("%q where a chunk should end", clip([]byte(line))))
		}
	case stateTrailer:
		if line == "" { // others are trailers, which nobody reads
			p.messageRead(at)
		}
	}
}
