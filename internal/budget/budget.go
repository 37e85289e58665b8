package budget

import "time"

// Budget is a token bucket. The zero value is full.
type Budget struct {
	left float64
	at   time.Time
}

// Take takes n tokens together and reports whether there were enough. The bucket holds burst tokens
// and gains rate of them per second.
func (b *Budget) Take(now time.Time, n, rate, burst float64) bool {
	if b.at.IsZero() {
		b.left = burst
	} else {
		b.left = min(burst, b.left+rate*now.Sub(b.at).Seconds())
	}
	b.at = now
	if n > b.left {
		return false
	}
	b.left -= n
	return true
}

// Add puts n tokens into the bucket. The next Take leaves no more than burst of all.
func (b *Budget) Add(n float64) { b.left += n }
