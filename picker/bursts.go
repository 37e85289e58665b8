package picker

const (
	minPause = 0.05 // s without a block, beyond the round trip, that end a burst
	maxPause = 1.5  // s; who pauses longer has stalled
	sureRow  = 3    // short bursts in a row that tell a peer that pauses from one that lost packets
	maxDeep  = 1024 // requests: 16 MiB
	deepGain = 2    // growth of the queue with each burst that drained it
	deepFade = 0.8  // what is left of it after each that did not, and after each second without a pause
)

// bursts tells a peer that waits for us from one that is slow. Transmission, for one, turns to new requests twice a second only,
// unless it is sending: it drains a short queue in a moment, then pauses, and however fast it is, the rate comes to a queue for each
// pause. The queue of such a peer grows until the peer sends for most of the time: then the link, not we, sets the pace.
//
// A retransmission looks alike, a pause and then all at once, but rarely several times in a row: as a rule the peer sends for
// longer than it paused.
type bursts struct {
	queue  int     // outstanding when the burst began
	count  int     // blocks of it so far
	began  float64 // its first block
	before float64 // s: the pause before it; 0: it followed none, or too long a one
	row    int     // bursts in a row that drained the queue in less time than the pause took
	pause  float64 // s: the last one for which the queue grew
	deep   float64 // requests that the peer is worth; 0: it does not pause
}

// followBursts takes a block that answers x, already out of the ring, before the model does.
func (pr *peer) followBursts(now float64, x *request) {
	b := &pr.bursts
	pause := now - max(pr.lastArr, x.sent+pr.rtt)
	switch {
	case pause > max(minPause, pr.rtt):
		b.end(pause, pr.lastArr-b.began)
	case now-b.began > 1:
		b.fade()
		pause = 0
	default:
		b.count++
		b.grow(now-b.began, pr.startup)
		return
	}
	if pause > maxPause {
		pause = 0
	}
	b.queue, b.count, b.began, b.before = pr.ring.n+1, 1, now, pause
}

// drained reports whether most of what was outstanding when the burst began has come. What is left may have been sent too late.
func (b *bursts) drained() bool { return b.count >= 2 && 4*b.count >= 3*b.queue }

// grow makes the queue longer where the burst that goes on for some seconds has drained it: in time for the next one.
func (b *bursts) grow(took float64, startup bool) {
	sure := took < b.before && b.row+1 >= sureRow
	if b.drained() && (sure || startup && 4*took < b.before) {
		b.pause = b.before
		b.deep = max(b.deep, min(float64(deepGain*b.queue), maxDeep))
	}
}

// end judges a burst of some seconds that a pause followed.
func (b *bursts) end(pause, took float64) {
	switch {
	case pause > maxPause || !b.drained():
		b.fade()
	case took > pause:
		b.row = 0
	default:
		b.row++
	}
}

// fade shrinks the queue slowly: one that is too short costs a pause at once.
func (b *bursts) fade() {
	b.row = 0
	if b.deep *= deepFade; b.deep < firstDepth {
		b.deep, b.pause = 0, 0
	}
}
