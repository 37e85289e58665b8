package utp

import "time"

// next appends the next packet to be sent to b, which should have room for a
// datagram. It reports false when nothing is to be sent now.
func (c *core) next(now time.Duration, b []byte) ([]byte, bool) {
	switch c.state {
	case stateClosed:
		return c.nextReset(now, b)
	case stateSynSent:
		return c.nextSyn(now, b)
	case stateSynReceived:
		return c.nextAck(now, b) // data must wait until the peer is known to receive at its address
	}
	if seq, ok := c.nextSegment(now); ok {
		return c.send(now, b, seq), true
	}
	return c.nextAck(now, b)
}

func (c *core) nextSyn(now time.Duration, b []byte) ([]byte, bool) {
	syn := c.segment(c.una)
	if syn.times > 0 && !syn.lost {
		return b, false
	}
	c.transmitted(now, syn)
	p := packet{kind: typeSyn, id: c.recvID, seq: c.una, window: uint32(c.recvWindow()), timestamp: micros(now)}
	return appendHeader(b, &p), true
}

func (c *core) nextReset(now time.Duration, b []byte) ([]byte, bool) {
	if !c.resetOut {
		return b, false
	}
	c.resetOut = false
	p := c.header(now, typeReset)
	return appendHeader(b, &p), true
}

// nextSegment chooses the next segment to send: a lost one, then new data, then the FIN.
func (c *core) nextSegment(now time.Duration) (seq uint16, ok bool) {
	window := min(c.cc.window(), c.peerWindow)
	if c.lostCount > 0 {
		for q := c.una; q != c.seq; q++ {
			if s := c.segment(q); s.lost {
				return q, c.flight == 0 || c.flight+int(s.size) <= c.cc.window()
			}
		}
	}
	if c.tail.probe {
		c.tail.probe = false
		for q := c.seq; q != c.una; q-- {
			if s := c.segment(q - 1); !s.sacked {
				return q - 1, true
			}
		}
	}
	if c.finSent || c.outstanding() >= maxPackets {
		return 0, false
	}
	if left := int(c.base + uint64(c.sendBuf.size) - c.cut); left > 0 {
		size := min(left, c.cc.mss)
		if c.flight+size > window && c.outstanding() > 0 {
			// A packet goes out even if the peer has no room, and again until it has.
			return 0, false
		}
		c.push(segment{at: c.cut, size: int32(size)})
		c.cut += uint64(size)
		return c.seq - 1, true
	}
	if !c.closing {
		return 0, false
	}
	c.finSent = true
	c.push(segment{at: c.cut, fin: true})
	return c.seq - 1, true
}

// send builds the packet of a segment.
func (c *core) send(now time.Duration, b []byte, seq uint16) []byte {
	s := c.segment(seq)
	p := c.header(now, typeData)
	p.seq = seq
	if s.fin {
		p.kind = typeFin
	}
	at := len(b)
	b = appendHeader(b, &p)
	if s.probe {
		s.probe = false
		c.probed(now, false) // so that an ack can be attributed
	}
	if pad := c.probePadding(now, s); pad > 0 {
		s.probe, c.sizes.out = true, true
		b = appendPadding(b, at, pad)
	}
	n := len(b)
	b = append(b, make([]byte, s.size)...)
	c.sendBuf.peek(b[n:], int(s.at-c.base))
	c.transmitted(now, s)
	c.ackSent(c.early.count == 0) // only a packet without data can tell of gaps
	return b
}

// probePadding is by how much a packet is to be padded, to try whether larger ones get through. The
// padding is an extension that the peer skips: so if the packet is lost, the same payload goes out
// again in the usual size, for which no fragmentation is needed.
func (c *core) probePadding(now time.Duration, s *segment) int {
	if c.sizes.out || c.sizes.next == len(probeSizes) || s.times > 0 || now < c.sizes.at ||
		int(s.size) < c.cc.mss || c.rtt.smoothed == 0 {
		return 0
	}
	return probeSizes[c.sizes.next] - c.overhead - headerLen - int(s.size)
}

// probed learns from the fate of a padded packet.
func (c *core) probed(now time.Duration, arrived bool) {
	c.sizes.out = false
	if arrived {
		c.cc.mss = probeSizes[c.sizes.next] - c.overhead - headerLen
		c.sizes.next = len(probeSizes)
		return
	}
	if c.sizes.next++; c.sizes.next == len(probeSizes) {
		c.sizes.next, c.sizes.at = 0, now+probeInterval
	}
}

// transmitted notes that a segment goes out.
func (c *core) transmitted(now time.Duration, s *segment) {
	if s.lost {
		s.lost = false
		c.lostCount--
		c.flight += int(s.size)
	} else if s.times == 0 {
		c.flight += int(s.size)
	}
	c.order++
	s.order, s.sentAt = c.order, now
	if s.times < 255 {
		s.times++
	}
	c.lastSent = now
	if c.rtoAt == 0 {
		c.rtoAt = now + c.rtt.timeout
	}
	if c.rtt.smoothed > 0 && c.retries == 0 && s.times == 1 {
		c.tail.at = now + c.tailTimeout()
	}
}

// timeout is for when nothing was acknowledged for long.
func (c *core) timeout(now time.Duration) {
	c.retries++
	limit := maxRetries
	if c.state == stateSynSent {
		limit = maxSynRetries
	}
	if c.retries > limit {
		c.fail(errTimeout)
		return
	}
	c.rtt.timeout = min(2*c.rtt.timeout, maxRTO)
	c.rtoAt, c.tail.at, c.tail.probe = now+c.rtt.timeout, 0, false
	for q := c.una; q != c.seq; q++ {
		c.loseSegment(now, c.segment(q))
	}
	if c.peerWindow > 0 { // otherwise the peer does not read
		c.cc.timeout()
	}
	c.recovery = c.order
}

// loseSegment marks a segment for another transmission.
func (c *core) loseSegment(now time.Duration, s *segment) {
	if s.sacked || s.lost || s.times == 0 {
		return
	}
	s.lost = true
	c.lostCount++
	c.flight -= int(s.size)
	if s.probe {
		s.probe = false
		c.probed(now, false)
	}
}

// header is common to all packets after the handshake.
func (c *core) header(now time.Duration, kind packetType) packet {
	c.lastWindow = c.recvWindow()
	seq := c.seq
	if c.finSent {
		seq-- // there is nothing after the FIN, and libtorrent ignores packets with a later number
	}
	return packet{
		kind: kind, id: c.sendID, seq: seq, ack: c.ackNr,
		timestamp: micros(now), delay: c.replyDelay, window: uint32(c.lastWindow),
	}
}

func (c *core) nextAck(now time.Duration, b []byte) ([]byte, bool) {
	if !c.ackNow {
		return b, false
	}
	p := c.header(now, typeState)
	var mask [maxReorder / 8]byte
	p.sack = c.appendSACK(mask[:0])
	c.lastSent = now
	c.ackSent(true)
	return appendPacket(b, &p), true
}

func (c *core) ackSent(all bool) {
	c.unacked, c.ackAt = 0, 0
	if all {
		c.ackNow = false
	}
}

// appendSACK tells of the packets that came early (BEP 29, "selective ack"): bit
// 0 is packet ackNr + 2, since ackNr + 1 is missing in any case.
func (c *core) appendSACK(b []byte) []byte {
	left := c.early.count
	for i := 0; left > 0 && i < maxReorder-2; i++ {
		if i%32 == 0 {
			b = append(b, 0, 0, 0, 0)
		}
		if c.early.packets[(int(c.ackNr)+2+i)%maxReorder] != nil {
			b[i/8] |= 1 << (i % 8)
			left--
		}
	}
	return b
}
