package webseed

import (
	"math"
	"time"
)

// Stats is a snapshot of a seed.
type Stats struct {
	RTT       time.Duration // from a request to the first byte of its answer, smoothed; 0 before the first
	Rate      float64       // bytes per second, over the last seconds
	Received  int64         // bytes of blocks
	Requested int           // blocks that are queued or being fetched
	Conns     int           // ranges being fetched
	Choked    bool
	Missing   int // files that the server does not have
}

// Stats takes a snapshot.
func (s *Seed) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	requested := len(s.queue)
	for f := range s.runs {
		requested += len(f.blocks) - f.next
	}
	return Stats{
		RTT:       s.stats.rtt,
		Rate:      s.stats.rate(time.Now()),
		Received:  s.stats.total,
		Requested: requested,
		Conns:     len(s.runs),
		Choked:    s.choked,
		Missing:   len(s.missing),
	}
}

const rateMemory = 5 * time.Second

// meter measures a server. Its owner has the lock.
type meter struct {
	rtt    time.Duration
	total  int64
	recent float64 // bytes, fading with rateMemory
	at     time.Time
}

func (m *meter) answered(d time.Duration) {
	if m.rtt == 0 {
		m.rtt = d
		return
	}
	m.rtt += (d - m.rtt) / 8
}

func (m *meter) received(n int) {
	now := time.Now()
	m.recent = m.faded(now) + float64(n)
	m.at = now
	m.total += int64(n)
}

func (m *meter) faded(now time.Time) float64 {
	if m.at.IsZero() {
		return 0
	}
	return m.recent * math.Exp(-now.Sub(m.at).Seconds()/rateMemory.Seconds())
}

func (m *meter) rate(now time.Time) float64 { return m.faded(now) / rateMemory.Seconds() }
