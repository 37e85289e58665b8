package swarm

import "time"

// never is later than anything that is due.
const never = time.Duration(1<<63 - 1)

// idle says whether nothing happens that the clock moves on: then the torrent
// has no timer, and costs nothing until an event comes.
func (t *Torrent) idle() bool {
	return t.pool.Live()+t.pool.Dialing() == 0 && !t.web.busy() && len(t.reads.waiting) == 0 && len(t.reads.rechecking) == 0 && !t.pressure.dropping &&
		t.traffic.down.rate == 0 && t.traffic.up.rate == 0
}

// nextHouse is when housekeeping is due again.
func (t *Torrent) nextHouse(now time.Duration) time.Duration {
	if !t.idle() {
		return now + houseInterval
	}
	at := t.pieces.NextDeadline()
	if !t.pieces.allHeld.Load() {
		at = min(at, max(t.web.due(), now+houseInterval))
	}
	return at
}
