package swarm

import "math"

// meterTime is the time constant of measured rates, in seconds.
const meterTime = 5.0

// meter measures a rate of bytes. The loop owns it.
type meter struct {
	bytes int64 // since the last measure
	rate  float64
}

func (m *meter) add(n int64) { m.bytes += n }

// measure ends an interval of the given length in seconds.
func (m *meter) measure(seconds float64) {
	if seconds <= 0 {
		return
	}
	now := float64(m.bytes) / seconds
	m.bytes = 0
	m.rate += (now - m.rate) * (1 - math.Exp(-seconds/meterTime))
	if m.rate < 1 {
		m.rate = 0
	}
}
