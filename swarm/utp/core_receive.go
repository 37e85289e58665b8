package utp

import (
	"math/bits"
	"time"
)

// receive takes a packet whose connection id was right.
func (c *core) receive(now time.Duration, p *packet) {
	if c.state == stateClosed {
		return
	}
	if p.kind == typeReset {
		c.reset(p)
		return
	}
	if p.kind == typeSyn {
		if c.state != stateSynSent && p.seq == c.ackNr && c.delivered == 0 {
			c.ackNow = true // our answer was lost
		}
		return
	}
	// How many segments this acknowledges; before una: it was overtaken.
	acked := p.ack - (c.una - 1)
	stale := int16(acked) < 0
	if (!stale && int(acked) > c.outstanding()) || (stale && -int16(acked) > maxReorder) {
		return // not an answer to a packet of ours: a forged packet
	}
	switch c.state {
	case stateSynSent:
		if acked != 1 || (p.kind != typeState && p.kind != typeData) {
			return
		}
		c.state = stateConnected
		c.ackNr = p.seq - 1 // an answer has the number of the first data packet
		c.ackLater(now)     // lets the peer know that we are here, should the application not write
	case stateSynReceived:
		if stale {
			return
		}
		c.state, c.lingerEnd, c.rtoAt, c.rtt.timeout = stateConnected, 0, 0, initialRTO
		if c.closing {
			c.lingerEnd = now + lingerFor
		}
	}
	c.replyDelay = micros(now) - p.timestamp
	c.cc.theirSample(now, c.replyDelay)
	if p.delay != 0 {
		c.cc.sample(now, p.delay)
	}
	if !stale {
		c.acknowledge(now, p, int(acked))
		c.heardWindow(now, int(min(p.window, 1<<30)))
	}
	switch {
	case p.kind == typeData || p.kind == typeFin:
		c.heard = true
		c.accept(now, p)
	case c.dialed && !c.heard && acked == 0 && c.outstanding() == 0:
		c.ackLater(now) // the answer to our SYN once more: it is not known that we have it
	}
	c.finish(now)
}

// reset is believed if it answers a packet that we may have sent.
func (c *core) reset(p *packet) {
	if d := p.ack - c.una + maxReorder; d > maxReorder+uint16(c.outstanding())+1 {
		return
	}
	switch {
	case c.state == stateSynSent:
		c.fail(errRefused)
	case c.closing && c.outstanding() == 0 && c.sendBuf.size == 0, c.eof && c.closing:
		c.fail(nil) // the peer is through before we are
	default:
		c.fail(errReset)
	}
}

// acknowledge applies a packet's acknowledgements of ours.
func (c *core) acknowledge(now time.Duration, p *packet, acked int) {
	flight := c.flight
	bytes := 0
	var elapsed time.Duration
	newest := c.newestAcked
	for range acked {
		s := c.segment(c.una)
		if !s.sacked {
			bytes += c.arrived(now, s, &elapsed)
		}
		c.sendBuf.skip(int(s.size))
		c.base += uint64(s.size)
		c.una++
	}
	for i, m := range p.sack {
		for ; m != 0; m &= m - 1 {
			off := 1 + i*8 + bits.TrailingZeros8(m) // from una, if the ack is current
			if off += int(int16(p.ack + 1 - c.una)); off < c.outstanding() {
				if s := c.segment(c.una + uint16(off)); !s.sacked && s.times > 0 {
					bytes += c.arrived(now, s, &elapsed)
					s.sacked = true
				}
			}
		}
	}
	if bytes > 0 || acked > 0 {
		if rtt := roundTrip(now, p, elapsed); rtt > 0 {
			c.sampleRTT(rtt)
		}
		c.progress(now)
		c.cc.acked(bytes, flight+2*c.cc.mss >= c.cc.window())
	} else if p.kind == typeState && c.outstanding() > 0 && len(p.sack) == 0 {
		c.duplicate(now)
	}
	if len(p.sack) > 0 || c.newestAcked != newest {
		c.detectLoss(now)
	}
}

// heardWindow notes how much the peer can take. A peer with a closed window is alive; when it has
// room again, the packets that it dropped go out again at once.
func (c *core) heardWindow(now time.Duration, window int) {
	if c.peerWindow < c.cc.mss && window >= c.cc.mss && c.outstanding() > 0 {
		if s := c.segment(c.una); s.times > 1 {
			c.loseSegment(now, s)
		}
	}
	if window < c.cc.mss && c.retries > 0 {
		c.retries = 1 // goes on trying, at the pace it has come to
	}
	c.peerWindow = window
}

// arrived notes that a segment is with the peer, and returns its size. elapsed
// becomes the time since it was sent, if it was sent only once.
func (c *core) arrived(now time.Duration, s *segment, elapsed *time.Duration) int {
	if s.lost {
		s.lost = false
		c.lostCount--
	} else {
		c.flight -= int(s.size)
	}
	// What was sent twice may be acknowledged for the first time it was sent.
	if s.times == 1 {
		*elapsed = now - s.sentAt
	}
	if s.times == 1 || now-s.sentAt >= c.rtt.least {
		c.newestAcked = max(c.newestAcked, s.order)
	}
	if s.probe {
		s.probe = false
		c.probed(now, s.times == 1)
	}
	return int(s.size)
}

// progress is for when the peer has received something new.
func (c *core) progress(now time.Duration) {
	c.dupAcks = 0
	if c.retries > 0 {
		c.retries, c.rtt.timeout = 0, c.plainRTO()
	}
	c.rtoAt, c.tail.at = 0, 0
	if c.outstanding() > 0 {
		c.rtoAt = now + c.rtt.timeout
		if c.rtt.smoothed > 0 && c.lostCount == 0 {
			c.tail.at = now + c.tailTimeout()
		}
	}
}

// duplicate counts acks that bring nothing new, for peers without selective ack.
func (c *core) duplicate(now time.Duration) {
	if c.dupAcks++; c.dupAcks != dupThreshold {
		return
	}
	s := c.segment(c.una)
	if s.times == 1 {
		c.loseSegment(now, s)
		c.lossEvent(s.order)
	}
}

// detectLoss finds packets that were overtaken: by three packets that were sent later (as RFC 9002,
// 6.1 counts them), or by one and some time. Counting transmissions and not sequence numbers lets
// it see a retransmission that was lost too.
func (c *core) detectLoss(now time.Duration) {
	patience := c.rtt.smoothed + max(c.rtt.smoothed/8, time.Millisecond)
	for q := c.una; q != c.seq; q++ {
		s := c.segment(q)
		if s.sacked || s.lost || s.times == 0 || s.order >= c.newestAcked {
			continue
		}
		if c.newestAcked < s.order+dupThreshold && now-s.sentAt < patience {
			continue
		}
		probe, order := s.probe, s.order
		c.loseSegment(now, s)
		if !probe { // which may be lost for its size, and says nothing about the path
			c.lossEvent(order)
		}
	}
}

func (c *core) lossEvent(order uint64) {
	if order > c.recovery {
		c.recovery = c.order
		c.cc.lost()
	}
}

// accept takes a packet with data, or the FIN.
func (c *core) accept(now time.Duration, p *packet) {
	ahead := p.seq - c.ackNr - 1
	if int16(ahead) < 0 {
		c.ackNow = true // our ack was lost, or it was sent in vain
		return
	}
	if ahead >= maxReorder-1 || c.eof || (c.fin.known && before(c.fin.seq, p.seq)) {
		return
	}
	if !c.hasRoom(p, ahead == 0) {
		c.ackNow = true // the peer tries whether there is room again
		return
	}
	if p.kind == typeFin {
		c.fin.seq, c.fin.known = p.seq, true
		c.ackNow = true
	}
	if ahead > 0 {
		c.keepEarly(p)
		c.ackNow = true
		return
	}
	c.deliver(p.payload)
	for c.ackNr++; c.early.count > 0; c.ackNr++ {
		slot := &c.early.packets[int(c.ackNr+1)%maxReorder]
		if *slot == nil {
			break
		}
		c.deliver(*slot)
		c.early.count--
		c.early.bytes -= len(*slot)
		*slot = nil
	}
	if c.fin.known && c.ackNr == c.fin.seq {
		c.eof = true
	}
	if c.unacked++; c.unacked >= ackEvery || c.early.count > 0 {
		c.ackNow = true
	}
	c.ackLater(now)
}

// hasRoom bounds what a peer can make us keep, even if it ignores our window. One packet more is
// taken, as the peer may try a closed window. The next one in order has a right to the room that
// early ones take: without it they are of no use.
func (c *core) hasRoom(p *packet, inOrder bool) bool {
	held := c.recvBuf.size + len(p.payload)
	if !inOrder {
		held += c.early.bytes
	}
	return held <= c.recvLimit+maxDatagram
}

func (c *core) ackLater(now time.Duration) {
	if c.ackAt == 0 {
		c.ackAt = now + ackDelay
	}
}

// keepEarly keeps a copy of a packet that came before its turn.
func (c *core) keepEarly(p *packet) {
	if c.early.packets == nil {
		c.early.packets = make([][]byte, maxReorder)
	}
	slot := &c.early.packets[int(p.seq)%maxReorder]
	if *slot != nil {
		return
	}
	*slot = append(make([]byte, 0, len(p.payload)+1), p.payload...)
	c.early.count++
	c.early.bytes += len(p.payload)
}

func (c *core) deliver(b []byte) {
	if c.discard {
		c.delivered += int64(len(b))
		return
	}
	c.recvBuf.write(b)
}

// finish ends a connection on which both sides have said all, or which the
// application has left.
func (c *core) finish(now time.Duration) {
	if c.state != stateConnected || !c.finSent || c.outstanding() > 0 {
		return
	}
	if c.eof {
		c.lingerEnd = min(c.lingerEnd, now+timeWait)
		return
	}
	// The peer knows that we are gone; what it still sends is not read.
	c.fail(nil)
}
