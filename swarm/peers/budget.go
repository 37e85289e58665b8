package peers

import "time"

// budget is a token bucket. The zero value is full.
type budget struct {
	spent float64
	at    time.Duration
}

// take takes one token, and reports whether there was one. rate is in tokens per second.
func (b *budget) take(now time.Duration, rate, burst float64) bool {
	b.spent = max(0, b.spent-rate*(now-b.at).Seconds())
	b.at = now
	if b.spent+1 > burst {
		return false
	}
	b.spent++
	return true
}
