package utp

import "time"

// roundTrip is the round-trip time that an acknowledgement shows, 0 for none. elapsed is the time
// since the newest segment that it acknowledges was sent, 0 if each of them was sent more than
// once.
//
// elapsed alone, as BEP 29 has it, is too long if acks were lost: the next one comes after a
// time-out, or with the peer's keep-alive, and makes the time-out longer, which makes the next such
// sample longer still. The delay of our packet that the peer tells of and that of its packet, which
// we see, add up to a round trip in which the clocks cancel out, and which belongs to just these
// two, even if packets were lost or sent twice before (as RFC 7323, 4 does it for TCP). Only how
// long the peer kept its ack back is not in it.
func roundTrip(now time.Duration, p *packet, elapsed time.Duration) time.Duration {
	measured := time.Duration(micros(now)-p.timestamp+p.delay) * time.Microsecond
	switch {
	case p.delay == 0, measured > maxRTO: // not known, or a clock was set in between
		return elapsed
	case elapsed == 0:
		return measured
	}
	return min(elapsed, measured+peerAckDelay)
}

// sampleRTT is RFC 6298, 2, as BEP 29 has it.
func (c *core) sampleRTT(rtt time.Duration) {
	if c.rtt.smoothed == 0 {
		c.rtt.smoothed, c.rtt.variance, c.rtt.least = rtt, rtt/2, rtt
	} else {
		c.rtt.variance += ((c.rtt.smoothed - rtt).Abs() - c.rtt.variance) / 4
		c.rtt.smoothed += (rtt - c.rtt.smoothed) / 8
		c.rtt.least = min(c.rtt.least, rtt)
	}
	c.rtt.timeout = c.plainRTO()
}

// plainRTO is the time-out without the doubling after each one that passed.
func (c *core) plainRTO() time.Duration {
	if c.rtt.smoothed == 0 {
		return initialRTO
	}
	return min(max(minRTO, c.rtt.smoothed+4*c.rtt.variance), maxRTO)
}

// tailTimeout is how long to wait before the last packet is sent once more: if
// it was lost no other packet can overtake it, and a time-out is expensive
// (RFC 8985, 7.2).
func (c *core) tailTimeout() time.Duration { return 2*c.rtt.smoothed + 2*ackDelay + 4*c.rtt.variance }
