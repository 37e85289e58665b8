package sim

import (
	"math"
	"time"

	"torrentfs/metainfo"
	"torrentfs/picker"
)

// Kind is whose send buffer a remote peer imitates.
type Kind int

const (
	Libtorrent   Kind = iota // half a second of data, 10 to 500 KiB, is beyond a CANCEL
	Transmission             // 15 seconds of data, at least 56 KiB, are: it as good as ignores CANCEL; where it does not, it sends no reject
)

// PeerSpec describes a remote peer.
type PeerSpec struct {
	Rate     float64 // bytes/s it can send
	RTT      time.Duration
	Jitter   time.Duration // mean of an exponential delay of each block
	Sigma    float64       // deviation of the logarithm of its rate's noise
	StallPct float64       // share of time in which it sends nothing
	StallFor time.Duration // mean length of a stall
	Kind     Kind
	Reqq     int
	Avail    float64       // share of the pieces that it has; 1: a seed
	Dead     bool          // takes requests, sends nothing
	Slow     bool          // without the Fast extension
	Loss     float64       // share of the blocks that a retransmission holds up by RTT + 200 ms, and those behind with them
	Pulse    time.Duration // how often it turns to new requests, apart from when it has just sent something; 0: at once
	ChokeOn  time.Duration
	ChokeOff time.Duration // mean times unchoked and choked; 0: never chokes
}

const (
	initialWindow = 14600.0 // bytes, TCP
	kernelBuffer  = 32 << 10
)

// wireItem is data or a reject that the remote has committed to send.
type wireItem struct {
	block  metainfo.Block
	reject bool
}

// remote is a simulated peer.
type remote struct {
	PeerSpec
	w    *World
	id   picker.PeerID
	have []uint64

	choked bool             // it chokes us
	seen   bool             // the client knows that it is unchoked
	queue  []metainfo.Block // requests that a CANCEL still reaches
	wire   []wireItem
	wireB  int // bytes of data in wire

	sending bool
	rest    float64 // bytes of the block on the wire
	rate    float64 // now, bytes/s
	at      time.Duration
	version uint64 // of the rate; scheduled completions of older ones are void

	stalled     bool
	noise, wave float64
	lastArrival time.Duration
	lastSent    time.Duration
	everSent    bool
	sentRate    float64 // the remote's own measure, sizes its send buffer

	slowStart   bool
	slowStartAt time.Duration
	slowStartB  float64

	reported      int // progress of the current block last told, bytes
	reportedBlock metainfo.Block
}

func (r *remote) has(piece int) bool { return r.have[piece>>6]&(1<<(uint(piece)&63)) != 0 }

func (r *remote) capacity() float64 {
	if r.stalled {
		return 0
	}
	return r.Rate * r.noise
}

// start schedules the remote's own life.
func (r *remote) start() {
	w := r.w
	w.after(time.Duration(w.rng.Float64()*float64(20*time.Millisecond)), func() { r.setChoked(false) })
	if r.Sigma > 0 {
		r.wander()
	}
	if r.StallPct > 0 {
		r.scheduleStall()
	}
	if r.Pulse > 0 {
		w.after(time.Duration(w.rng.Float64()*float64(r.Pulse)), r.pulse)
	}
}

// pulse is how Transmission uploads: what comes while it sends joins the queue, what comes later waits for the next pulse.
func (r *remote) pulse() {
	r.pump()
	r.w.after(r.Pulse, r.pulse)
}

// wander moves the rate's noise, an AR(1) process, every half second.
func (r *remote) wander() {
	const rho = 0.8
	r.wave = rho*r.wave + math.Sqrt(1-rho*rho)*r.w.rng.NormFloat64()
	r.noise = math.Exp(r.Sigma*r.wave - r.Sigma*r.Sigma/2)
	r.w.share(r)
	r.w.after(500*time.Millisecond, r.wander)
}

func (r *remote) scheduleStall() {
	w := r.w
	up := r.StallFor.Seconds() * (1 - r.StallPct) / r.StallPct
	w.after(w.exp(up), func() {
		r.stalled = true
		w.share(r)
		w.after(w.exp(r.StallFor.Seconds())+50*time.Millisecond, func() {
			r.stalled = false
			w.share(r)
			r.scheduleStall()
		})
	})
}

// setChoked chokes or unchokes the client; with the Fast extension a choke rejects what is not on its way yet.
func (r *remote) setChoked(choked bool) {
	w := r.w
	r.choked = choked
	dropped := r.queue
	if choked {
		r.queue = nil
	}
	w.after(r.RTT/2, func() {
		r.seen = !choked
		w.client.choke(r, choked)
		if choked && !r.Slow {
			for _, b := range dropped {
				w.client.rejected(r, b)
			}
		}
	})
	next := r.ChokeOn
	if choked {
		next = r.ChokeOff
	}
	if r.ChokeOn > 0 && next > 0 {
		w.after(w.exp(next.Seconds()), func() { r.setChoked(!choked) })
	}
}

func (r *remote) onRequest(b metainfo.Block) {
	switch {
	case r.Dead || r.Slow && r.choked:
	case r.choked || len(r.queue)+len(r.wire) >= r.Reqq:
		r.w.after(r.RTT/2, func() { r.w.client.rejected(r, b) })
	default:
		r.queue = append(r.queue, b)
		if r.Pulse == 0 {
			r.pump()
		}
	}
}

func (r *remote) onCancel(b metainfo.Block) {
	for i, q := range r.queue {
		if q == b {
			r.queue = append(r.queue[:i], r.queue[i+1:]...)
			r.w.CancelsObeyed++
			if !r.Slow && r.Kind != Transmission { // the reject is written behind all that is in the send buffer
				r.wire = append(r.wire, wireItem{b, true})
				r.flush()
			}
			return
		}
	}
}

// watermark is how many bytes the remote keeps in its send buffer and the kernel's.
func (r *remote) watermark() float64 {
	app := min(max(r.sentRate/2, 10<<10), 500<<10)
	if r.Kind == Transmission {
		app = max(r.sentRate*15, 56<<10)
	}
	return app + max(r.sentRate*r.RTT.Seconds(), kernelBuffer)
}

func (r *remote) pump() {
	for len(r.queue) > 0 && float64(r.wireB) < r.watermark() {
		r.wire = append(r.wire, wireItem{r.queue[0], false})
		r.queue = r.queue[1:]
		r.wireB += picker.BlockSize
	}
	r.flush()
}

func (r *remote) flush() {
	if !r.sending && len(r.wire) > 0 {
		r.send()
	}
}

// deliver schedules what reaches the client next, in order.
func (r *remote) deliver(at time.Duration, run func()) {
	r.lastArrival = max(r.lastArrival, at)
	r.w.at(r.lastArrival, run)
}

// send puts the next block on the wire.
func (r *remote) send() {
	w := r.w
	for len(r.wire) > 0 && r.wire[0].reject {
		b := r.wire[0].block
		r.wire = r.wire[1:]
		r.deliver(w.now+r.RTT/2, func() { w.client.rejected(r, b) })
	}
	if len(r.wire) == 0 {
		return
	}
	if !r.everSent || w.now-r.lastSent > r.RTT+200*time.Millisecond {
		r.slowStart, r.slowStartAt, r.slowStartB = true, w.now, 0
	}
	r.sending, r.rest, r.rate, r.at = true, picker.BlockSize, 0, w.now
	w.share(r)
}

// setRate settles what was sent so far and schedules the end of the block at the new rate.
func (r *remote) setRate(rate float64) {
	if !r.sending || rate == r.rate && r.at != r.w.now {
		return
	}
	r.rest = max(0, r.rest-r.rate*(r.w.now-r.at).Seconds())
	r.at, r.rate = r.w.now, rate
	r.version++
	if rate > 0 {
		v := r.version
		r.w.after(time.Duration(r.rest/rate*1e9), func() { r.sent(v) })
	}
}

// windowGate is when byte x of a slow start can have left, at the earliest.
func windowGate(start time.Duration, x float64, rtt time.Duration, rate float64) time.Duration {
	sum, window := 0.0, initialWindow
	for window < rate*rtt.Seconds() && sum+window < x {
		sum += window
		window *= 2
		start += rtt
	}
	return start + time.Duration((x-sum)/rate*1e9)
}

func (r *remote) sent(version uint64) {
	if version != r.version || !r.sending {
		return
	}
	if r.slowStart {
		gate := windowGate(r.slowStartAt, r.slowStartB+picker.BlockSize, r.RTT, r.Rate)
		if r.slowStartB > 4*(r.Rate*r.RTT.Seconds()+picker.BlockSize) {
			r.slowStart = false
		} else if gate > r.w.now {
			r.version++
			r.rest, r.rate, r.at = 0, 0, r.w.now
			v := r.version
			r.w.at(gate, func() {
				if v == r.version || r.sending && r.rest <= 0 {
					r.finish()
				}
			})
			return
		}
	}
	r.finish()
}

// finish ends a block's transmission and begins the next.
func (r *remote) finish() {
	w := r.w
	b := r.wire[0].block
	r.wire = r.wire[1:]
	r.wireB -= picker.BlockSize
	r.sending, r.rate = false, 0
	r.version++
	if r.slowStart {
		r.slowStartB += picker.BlockSize
	}
	dt := (w.now - r.lastSent).Seconds()
	if !r.everSent || dt > 5 {
		r.sentRate = r.Rate / 2
	} else if dt > 0 {
		r.sentRate += (1 - math.Exp(-dt/2)) * (picker.BlockSize/dt - r.sentRate)
	}
	r.lastSent, r.everSent = w.now, true
	at := w.now + r.RTT/2
	if r.Loss > 0 && w.rng.Float64() < r.Loss {
		at += r.RTT + 200*time.Millisecond
	}
	if w.saturated {
		at += bufferBloat
	}
	if r.Jitter > 0 {
		at += w.exp(r.Jitter.Seconds())
	}
	r.deliver(at, func() { w.client.received(r, b) })
	r.pump()
	if !r.sending {
		r.send()
	}
	if !r.sending && w.saturated {
		w.share(r)
	}
}

// progress is how many bytes of the block on the wire have reached the client, about.
func (r *remote) progress() (metainfo.Block, int) {
	if !r.sending || len(r.wire) == 0 {
		return metainfo.Block{}, 0
	}
	rest := r.rest - r.rate*(r.w.now-r.RTT/2-r.at).Seconds()
	return r.wire[0].block, picker.BlockSize - int(min(max(rest, 0), picker.BlockSize))
}
