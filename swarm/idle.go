package swarm

import "time"

// never is later than anything that is due.
const never = time.Duration(1<<63 - 1)

// idle says whether nothing happens that the clock moves on: then the torrent
// has no timer, and costs nothing until an event comes.
func (t *Torrent) idle() bool {
	return t.live+t.dialing == 0 && !t.webSeedsBusy() && len(t.reads.waiting) == 0 && len(t.reads.rechecking) == 0 && !t.pieces.dropping &&
		t.down.rate == 0 && t.up.rate == 0
}

// nextHouse is when housekeeping is due again.
func (t *Torrent) nextHouse(now time.Duration) time.Duration {
	if !t.idle() {
		return now + houseInterval
	}
	full := int(t.pieces.nHeld.Load()) == t.info.NumPieces()
	at := t.pieces.NextDeadline()
	if !full {
		at = min(at, max(min(t.hungryDue, t.webSeedDue()), now+houseInterval))
	}
	if full && t.cfg.NoUpload {
		return at
	}
	if due, ok := t.known.soonest(full); ok {
		at = min(at, max(due, now+houseInterval)) // it may be due, and there be no place for a dial
	}
	return at
}

// soonest is when the next address may be dialled, if any may ever.
func (b *addressBook) soonest(skipSeeds bool) (due time.Duration, ok bool) {
	due = never
	for _, a := range b.list {
		if !a.inUse && !a.banned && !(skipSeeds && a.seed) && a.due < due {
			due, ok = a.due, true
		}
	}
	return due, ok
}
