package capture

import "encoding/binary"

func (t *tlsConn) gap(dir int, n uint64, at mark) {
	h := &t.halves[dir]
	if t.dead {
		return
	}
	if h.cipher == nil {
		t.giveUp(at, "TLS: a part of the handshake was lost by the capture")
		return
	}
	if !h.lost {
		h.lost, h.lostFrom = true, at.off
		if len(h.buf) > 0 {
			h.lostFrom = h.bufAt.off
		}
	}
	h.buf = nil
}

// resync looks in b for a record that decrypts with any number. It returns how many bytes before it are skipped.
func (t *tlsConn) resync(dir int, b []byte, at mark) int {
	h := &t.halves[dir]
	for i := 0; i+5 <= len(b); i++ {
		if b[i] < recordAlert || b[i] > recordData || b[i+1] != 3 || b[i+2] != 3 {
			continue
		}
		size := int(binary.BigEndian.Uint16(b[i+3:]))
		if size == 0 || size > maxRecordBytes {
			continue
		}
		if i+5+size > len(b) {
			// It may be an incomplete record, unless it is too long for one.
			if len(b)-i > maxRecordBytes+5 {
				continue
			}
			return i
		}
		off := at.off + uint64(i)
		if lost, ok := t.trySeqs(h, b[i:i+5+size], off); ok {
			h.lost, h.handshake = false, nil
			if lost > 0 {
				t.inner().gap(dir, lost, mark{at.time, h.lostFrom, at.ack})
			}
			return i
		}
		if t.trials > maxTrials {
			t.giveUp(at, "TLS: after a loss no record was found that decrypts")
			return len(b)
		}
	}
	return max(0, len(b)-4)
}

// trySeqs finds the number of a record after a loss, and its key if the handshake's end was lost. lost is the content before it.
func (t *tlsConn) trySeqs(h *tlsHalf, record []byte, off uint64) (lost uint64, ok bool) {
	distance := off - h.lostFrom
	swallowed := min(distance/22+1, maxResyncSeq)
	if seq, ok := t.tryKey(h.cipher, h.seq, swallowed, record); ok {
		lost = unknownGap
		if overhead, fixed := h.cipher.overhead(); fixed && (seq-h.seq)*overhead <= distance {
			lost = distance - (seq-h.seq)*overhead
		}
		h.seq = seq
		return lost, true
	}
	if h.cipher.version != version13 || h.pending == nil {
		return 0, false
	}
	seq, ok := t.tryKey(h.pending, 0, swallowed, record)
	if ok {
		h.cipher, h.pending, h.seq = h.pending, nil, seq
	}
	return unknownGap, ok
}

func (t *tlsConn) tryKey(c *recordCipher, from, count uint64, record []byte) (seq uint64, ok bool) {
	for seq := from; seq <= from+count && t.trials <= maxTrials; seq++ {
		t.trials++
		if _, _, err := c.open(seq, record[0], record[:5], record[5:]); err == nil {
			return seq, true
		}
	}
	return 0, false
}
