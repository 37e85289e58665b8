package swarm

import (
	"math"
	"sync/atomic"
	"time"
)

// meterTime is the time constant of measured rates, in seconds.
const meterTime = 5.0

// meter measures a rate of bytes. The loop owns it.
type meter struct {
	bytes  int64   // since the last measure
	rate   float64 // bytes per second, a mean that forgets with meterTime
	weight float64 // of what has been measured so far: a new meter is not held down by a zero that nobody saw
}

func (m *meter) add(n int64) { m.bytes += n }

// measure ends an interval of the given length in seconds.
func (m *meter) measure(seconds float64) {
	if seconds <= 0 {
		return
	}
	now := float64(m.bytes) / seconds
	m.bytes = 0
	keep := math.Exp(-seconds / meterTime)
	weight := m.weight*keep + 1 - keep
	m.rate = (m.rate*m.weight*keep + now*(1-keep)) / weight
	m.weight = weight
	if m.rate < 1 {
		m.rate = 0
	}
}

// traffic is a torrent's payload, of all kinds.
type traffic struct {
	received, sent atomic.Int64 // bytes, counted by connections and web seeds

	// Owned by the loop.
	down, up meter
	lastSent int64 // of sent, what up has
	measured time.Time
}

// measure ends an interval of the meters, and returns its length in seconds.
func (f *traffic) measure(now time.Time) (seconds float64) {
	seconds = now.Sub(f.measured).Seconds()
	f.measured = now
	f.down.measure(seconds)
	sent := f.sent.Load()
	f.up.add(sent - f.lastSent)
	f.lastSent = sent
	f.up.measure(seconds)
	return seconds
}
