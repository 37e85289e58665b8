package utp

import "time"

// Figures of the congestion control. Windows are in bytes of payload.
const (
	targetDelay = 100 * time.Millisecond // BEP 29: what we may add to the delay of the path
	gainPerRTT  = 3000                   // the window grows by this much in a round trip without delay, as libutp's does

	initialPackets = 10 // window at first (RFC 6928)
	minPackets     = 2
	maxPackets     = 1000 // receivers keep about a thousand packets in disorder

	baseMinutes = 10 // history of the base delay
	filterLen   = 4  // the current delay is the least of so many samples
)

// delayHistory finds the delay of the path itself: the least that was seen in
// the last minutes. Delays are µs between two clocks that have nothing to do
// with each other, so only differences mean anything, and they wrap around.
type delayHistory struct {
	minutes [baseMinutes]uint32 // the least of each minute
	used    int
	at      int           // index of the current minute
	begun   time.Duration // of the current minute
}

func lessDelay(a, b uint32) bool { return int32(a-b) < 0 }

// add notes a sample and returns how much it is above the base.
func (h *delayHistory) add(now time.Duration, sample uint32) time.Duration {
	switch {
	case h.used == 0:
		h.minutes[0], h.used, h.begun = sample, 1, now
	case now-h.begun >= time.Minute:
		h.at = (h.at + 1) % baseMinutes
		h.used = min(h.used+1, baseMinutes)
		h.minutes[h.at], h.begun = sample, now
	case lessDelay(sample, h.minutes[h.at]):
		h.minutes[h.at] = sample
	}
	return time.Duration(sample-h.base()) * time.Microsecond
}

// base is the least sample; there must be one.
func (h *delayHistory) base() uint32 {
	least := h.minutes[h.at]
	for _, m := range h.minutes[:h.used] {
		if lessDelay(m, least) {
			least = m
		}
	}
	return least
}

// shift moves the history by a change of the clocks.
func (h *delayHistory) shift(by uint32) {
	for i := range h.minutes {
		h.minutes[i] += by
	}
}

// ledbat is the congestion window of one connection (RFC 6817): it aims at a fixed delay that it
// adds to the path's own, so that it fills an unused link and gives way to flows that fill the
// queue. It differs from the RFC as the draft "LEDBAT++" does: above the target it shrinks in
// proportion, because a window that overshot in slow start would take minutes to come down by one
// packet per round trip.
type ledbat struct {
	mss      int     // payload of a full packet
	cwnd     float64 // bytes
	ssthresh float64 // slow start goes up to here

	ours   delayHistory // of what we send, as the peer measures it
	theirs delayHistory // of what the peer sends
	recent [filterLen]time.Duration
	seen   int
}

func newLedbat(mss int) ledbat {
	return ledbat{mss: mss, cwnd: float64(initialPackets * mss), ssthresh: maxPackets * float64(mss)}
}

// window is how many bytes may be in flight.
func (l *ledbat) window() int { return int(l.cwnd) }

// sample notes the one-way delay of a packet of ours.
func (l *ledbat) sample(now time.Duration, delay uint32) {
	l.recent[l.seen%filterLen] = l.ours.add(now, delay)
	l.seen++
}

// theirSample notes the one-way delay of a packet of the peer's. Where its base
// falls within a few minutes, one of the clocks runs faster, and ours rises by
// as much without any queue: the history is moved along.
func (l *ledbat) theirSample(now time.Duration, delay uint32) {
	if l.theirs.used == 0 {
		l.theirs.add(now, delay)
		return
	}
	old := l.theirs.base()
	l.theirs.add(now, delay)
	if fell := old - l.theirs.base(); lessDelay(l.theirs.base(), old) && fell <= 10_000 && l.ours.used > 0 {
		l.ours.shift(fell)
	}
}

// delay is the delay that we currently add to the path's.
func (l *ledbat) delay() time.Duration {
	n := min(l.seen, filterLen)
	if n == 0 {
		return 0
	}
	least := l.recent[0]
	for _, d := range l.recent[1:n] {
		least = min(least, d)
	}
	return least
}

// acked changes the window after so many bytes have newly arrived. limited means that the window,
// and not the application, has held us back: otherwise the window tells nothing about the path, and
// must not grow.
func (l *ledbat) acked(bytes int, limited bool) {
	delay := float64(l.delay()) / float64(targetDelay)
	switch {
	case l.cwnd < l.ssthresh:
		if delay > 0.75 {
			l.ssthresh = l.cwnd
		} else if limited {
			l.cwnd += float64(bytes)
		}
	case delay > 1:
		l.cwnd -= float64(bytes) * min((delay-1)/2, 0.5)
	case limited:
		l.cwnd += gainPerRTT * (1 - delay) * min(float64(bytes)/l.cwnd, 1)
	}
	l.clamp()
}

// lost halves the window; for once in a round trip at most.
func (l *ledbat) lost() {
	l.cwnd /= 2
	l.clamp()
	l.ssthresh = l.cwnd
}

// timeout starts again from the least window.
func (l *ledbat) timeout() {
	l.ssthresh = max(l.cwnd/2, float64(minPackets*l.mss))
	l.cwnd = 0
	l.clamp()
}

func (l *ledbat) clamp() {
	l.cwnd = min(max(l.cwnd, float64(minPackets*l.mss)), float64(maxPackets*l.mss))
}
