package picker

import (
	"math"
	"time"
)

// SetCredit sets the back pressure. What is outstanding already is not taken back.
func (p *Picker) SetCredit(now time.Duration, c Credit) {
	p.clock(now)
	old := p.credit
	p.credit = c
	if c.Background > old.Background || c.ReadAhead > old.ReadAhead {
		p.wake = true
	}
	if c.Urgent > old.Urgent {
		p.plan.stale = true
	}
}

// mayRequest reports whether another block may be outstanding under a class's limit.
func (all *peers) mayRequest(limit int64) bool { return int64(all.inflight+1)*BlockSize <= limit }

// creditRoom is how many more blocks may be outstanding under a class's limit.
func (all *peers) creditRoom(limit int64) int {
	return int(min(max(limit/BlockSize-int64(all.inflight), 0), math.MaxInt32))
}
