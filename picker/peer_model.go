package picker

import (
	"math"
	"time"
)

const (
	priorRate       = 300e3 // bytes/s, until blocks tell
	priorWeight     = 2     // blocks that the prior counts for
	rateMemory      = 0.8   // s of busy time after which a sample has lost most of its weight
	minRate         = 500.0
	maxRate         = 2e9
	startupGain     = 2.5  // the rate is taken times this until it stops growing
	seekStartupGain = 1.25 // the same for the background while a reader seeks: what is queued then is in the way of its next read
	plateaus        = 3    // round trips without growth by 25 % that end the startup
	minPlateau      = 0.02 // s that count as a round trip where it is shorter: below, a busy machine's scheduler sets the pace

	fastRate  = 10e6 // bytes/s from which a peer's queue has at least fastDepth blocks: scheduling jitter, not the network, empties it
	fastDepth = 32

	firstDepth       = 2 // before the first block
	firstUrgentDepth = 4 // the same where the blocked reads have work for all

	unknownRTT = 0.1 // s

	initialWindow = 14600.0 // bytes that TCP sends in the first round trip (RFC 6928), twice as many in each further one
	minRTO        = 0.2     // s
	unknownRate   = 1.25e6  // bytes/s up to which slow start counts while the rate is not known
)

// model estimates what a peer will do with a request. Times are seconds, rates bytes/s. Rate is measured over the time in which
// the peer had something to send, so an idle peer's estimate does not fade.
type model struct {
	rate       float64
	accB, accT float64 // decayed bytes and busy time
	rtt        float64 // smallest seen; samples come from empty pipes only
	rttvar     float64
	dev        float64 // mean error of predictions
	lead       float64 // learned: CANCEL works for a block that is at least this far away
	lastArr    float64 // last block or reject
	lastByte   float64 // last sign of data
	blocks     int     // received

	epochAt     float64 // TCP slow start: when the first request after idling was sent
	epochBlocks int     // received since
	epoch       bool    // it may still hold blocks back

	startup bool
	grow    float64 // the rate's last plateau
	growAt  float64
	plateau int

	bursts

	progBlock blockID // of the last Progress
	progBytes float64
	progAt    float64
}

func (m *model) init(rtt time.Duration) {
	r := rtt.Seconds()
	if r <= 0 {
		r = unknownRTT
	}
	m.rate = priorRate
	m.accB = priorWeight * BlockSize
	m.accT = m.accB / m.rate
	m.rtt, m.rttvar, m.dev, m.lead = r, r/8, 0.02+r/8, r+0.15
	m.startup = true
}

// blockTime is how long the peer takes to send a block, seconds.
func (m *model) blockTime() float64 { return BlockSize / m.rate }

// observe takes a block that answers x.
func (m *model) observe(now float64, x *request) {
	bt := m.blockTime()
	dt := max(0, now-max(m.lastArr, x.sent+m.rtt))
	if m.blocks > 4 {
		dt = min(dt, max(8*bt, m.pause))
	}
	decay := math.Exp(-dt / max(rateMemory, 16*bt))
	m.accB = m.accB*decay + BlockSize
	m.accT = m.accT*decay + dt
	if m.blocks > 0 && m.blocks < 8 { // the prior is forgotten by the eighth block
		m.accB -= priorWeight * BlockSize / 8 * decay
		m.accT -= priorWeight * BlockSize / priorRate / 8 * decay
	}
	if m.accT > 1e-6 {
		m.rate = m.accB / m.accT
	}
	m.rate = min(max(m.rate, minRate), maxRate)
	if x.flags&flagEmpty != 0 {
		m.observeRTT(now - x.sent - m.blockTime())
	}
	m.dev += (min(math.Abs(now-x.pred), 1) - m.dev) / 8
	m.blocks++
	if m.epoch {
		m.epochBlocks++
		m.epoch = float64(m.epochBlocks)*BlockSize < 4*(m.rate*m.rtt+BlockSize)
	}
	if m.startup && now-m.growAt > max(m.rtt, minPlateau) {
		m.growAt = now
		if m.rate >= m.grow*1.25 {
			m.grow, m.plateau = m.rate, 0
		} else if m.plateau++; m.plateau >= plateaus {
			m.startup = false
		}
	}
}

func (m *model) observeRTT(sample float64) {
	if sample <= 0 {
		return
	}
	if d := math.Abs(sample - m.rtt); d < 1 {
		m.rttvar += (d - m.rttvar) / 8
	}
	m.rtt = min(m.rtt, sample)
}

// learnLead moves the lead towards that of a cancelled request: up where the block came all the same, down where it was rejected.
func (m *model) learnLead(x *request, came bool) {
	if l := float64(x.lead); l > 0 && came == (l > m.lead) {
		m.lead += 0.2 * (l - m.lead)
	}
}

// weight is the share of a block that a request will take from the pipe.
func (pr *peer) weight(x *request) float64 {
	if !x.live() && float64(x.lead) > pr.lead {
		return 0.1 // the CANCEL was most likely in time
	}
	return 1
}

// headArrival is when the first request's block will be complete, and how long each one behind it will take.
func (pr *peer) headArrival(now float64) (at, bt float64) {
	x := pr.ring.at(0)
	bt = pr.blockTime()
	next := max(max(pr.lastArr, x.sent+pr.rtt)+bt, pr.gate(0))
	if next >= now {
		return next, bt
	}
	// Overdue. A silence is expected to last as long again; trickling bytes are extrapolated.
	over := now - next
	if pr.progBlock == x.block && pr.progBytes > 0 && pr.progAt >= x.sent {
		spent := over + bt
		rest := spent * (BlockSize - pr.progBytes) / pr.progBytes
		bt = max(bt, spent*BlockSize/pr.progBytes)
		if now-pr.lastByte > max(0.05, 2*4096/pr.rate) {
			rest = max(rest, over)
		}
		over = rest
	}
	return now + over, bt
}

// arrival is when the block of request j will be complete.
func (pr *peer) arrival(now float64, j int) float64 {
	t, bt := pr.headArrival(now)
	if pr.cancelled == 0 {
		return max(t+float64(j)*bt, pr.gate(j))
	}
	for i := 1; i <= j; i++ {
		t += pr.weight(pr.ring.at(i)) * bt
	}
	return max(t, pr.gate(j))
}

// base is when the peer would begin to send us the block of a request made now.
func (pr *peer) base(now float64) float64 {
	t := now + pr.rtt
	if pr.suspect {
		return t + 10
	}
	if pr.ring.n > 0 {
		t = max(t, pr.arrival(now, pr.ring.n-1))
		return max(t, pr.gate(pr.ring.n)-pr.blockTime())
	}
	if pr.cold(now) {
		return max(t, now+pr.rtt+pr.slowStart(BlockSize)-pr.blockTime())
	}
	return t
}

// cold reports whether the peer's TCP has idled for so long that it starts slowly again (RFC 5681, section 4.1).
func (pr *peer) cold(now float64) bool {
	return pr.ring.n == 0 && (pr.lastByte == 0 || now-pr.lastByte > pr.rtt+minRTO)
}

// warmUp follows a slow start: begun by a request into a cold pipe, over when its window has outgrown the path.
func (pr *peer) warmUp(now float64) {
	if pr.cold(now) {
		pr.epoch, pr.epochAt, pr.epochBlocks = true, now, 0
	}
}

// gate is when slow start lets the block of request j come, at the earliest.
func (pr *peer) gate(j int) float64 {
	if !pr.epoch {
		return 0
	}
	return pr.epochAt + pr.rtt + pr.slowStart(float64(pr.epochBlocks+j+1)*BlockSize)
}

// slowStart is how long after the first byte of a slow start byte x comes.
func (pr *peer) slowStart(x float64) float64 {
	rate := pr.rate
	if pr.startup {
		rate = max(startupGain*rate, unknownRate)
	}
	sum, window, t := 0.0, initialWindow, 0.0
	for window < rate*pr.rtt && sum+window < x {
		sum += window
		window *= 2
		t += pr.rtt
	}
	return t + (x-sum)/rate
}

// depth is how many requests keep the peer busy for a round trip and slack seconds.
func (pr *peer) depth(now, slack, startup float64, first int) int {
	switch {
	case pr.suspect:
		if now < pr.probeAt || pr.ring.n > 0 {
			return 0
		}
		return 1
	case pr.blocks == 0:
		return first
	case pr.blockTime() > 1:
		return 1
	}
	gain := 1.0
	if pr.startup {
		gain = startup
	}
	d := int((gain*pr.rate*(pr.rtt+2*pr.rttvar)+slack*pr.rate)/BlockSize) + 2
	if pr.startup && first > firstDepth { // another with each block, as the peer's TCP window grows: it grows only while it is full
		d = max(d, first+int(pr.blocks))
	}
	if pr.rate > fastRate {
		d = max(d, fastDepth)
	}
	return max(d, int(pr.deep))
}

// room is how many requests may be sent at a depth; cancelled ones still take places in the peer's queue.
func (pr *peer) room(depth int) int {
	return min(depth-pr.outstanding(), pr.reqq-pr.ring.n)
}
