package capture

import (
	"bytes"
	"fmt"
)

// gap takes the news that n bytes are missing.
func (p *parser) gap(n uint64, at mark) {
	switch p.state {
	case stateDead, stateLost:
		return
	case stateBody, stateChunk:
		// The body's length is known: what follows it is not lost.
		p.fault(fmt.Sprintf("%d bytes of the body were lost by the capture", min(n, p.left)))
		p.msg.broken = true
		if n <= p.left {
			p.msg.End = at.time
			if p.left -= n; p.left == 0 {
				p.bodyRead(at)
			}
			return
		}
	case stateUntilClose:
		p.fault(fmt.Sprintf("%d bytes of the body were lost by the capture", n))
		p.msg.broken = true
		return
	}
	if p.state == stateHead && len(p.buf) > 0 {
		at = p.bufAt
	}
	if p.msg != nil && p.state != stateBody && p.state != stateChunk {
		p.fault("bytes between chunks were lost by the capture")
	}
	p.giveUp(at)
}

// giveUp ends a message that cannot be followed, and looks for the start of another.
func (p *parser) giveUp(at mark) {
	if p.msg != nil {
		p.messageRead(at)
	}
	if p.state != stateDead {
		p.state, p.lostFrom = stateLost, at.off
		p.dropBuf()
	}
}

// resync looks for a message's start where a segment starts; elsewhere a body may look like one.
func (p *parser) resync(b []byte, at mark) bool {
	if p.dir == 0 && !looksLikeRequest(b) || p.dir == 1 && !bytes.HasPrefix(b, []byte("HTTP/1.")) {
		return false
	}
	p.found(at)
	p.state = stateHead
	return true
}

// found ends the range in which messages may have begun unseen.
func (p *parser) found(at mark) {
	if len(p.lost) == maxLostSpans {
		p.lost = p.lost[1:]
	}
	p.lost = append(p.lost, span{p.lostFrom, at.off})
}

// garbage takes bytes that are not HTTP/1.x. It drops a connection that never was HTTP, and otherwise looks for the next message.
func (p *parser) garbage(at mark, err error) {
	if p.conn.parsers[0].seen+p.conn.parsers[1].seen == 0 {
		p.conn.tunnel(at, "this is no HTTP/1.x")
		return
	}
	if p.msg != nil {
		p.fault(err.Error())
	}
	p.conn.note(at, "damaged HTTP: "+err.Error())
	p.giveUp(at)
}
