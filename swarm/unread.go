package swarm

import (
	"errors"
	"io"
	"io/fs"
	"time"
)

// Pauses before a disk that did not read is tried again, and how often a
// check tries each block: once more for each failure of the piece before.
const (
	rereadFirst = 2 * time.Second
	rereadMost  = 30 * time.Second
	rereadTries = 4
)

// unreadPieces are pieces that may be right on disk, which did not give them
// back. They are fetched like any that lack; but the disk may work again
// before somebody sends them, and nobody else may have them. So one is tried
// with growing pauses, and all the others once that can be read.
//
// A piece that fails again and again is left alone for longer each time, also
// where its checks succeed in between: else a peer that asks again, and is
// served again, would keep step with a disk that fails now and then. All
// pauses vary by chance. The loop owns it.
type unreadPieces struct {
	pieces map[int]struct{}
	trying bool
	trial  int           // piece, while trying
	next   time.Duration // when one is tried
	pause  time.Duration
	faults map[int]readFault // of pieces that failed not long ago
	review time.Duration     // when those that are long past are forgotten
}

// readFault is what is remembered of a piece that the disk did not give.
type readFault struct {
	times int           // that it failed, with no long time in between
	due   time.Duration // when the disk may be asked for it again
}

// fault notes that the disk did not give a piece, and returns how often it has
// not of late. chance is in [0, 1).
func (u *unreadPieces) fault(now time.Duration, piece int, chance float64) (times int) {
	f := u.faults[piece]
	if now-f.due > 2*rereadMost {
		f.times = 0
	}
	f.times++
	f.due = now + jitter(min(rereadFirst<<min(f.times-1, 5), rereadMost), chance)
	if u.faults == nil {
		u.faults = make(map[int]readFault)
		u.review = now + 2*rereadMost
	}
	u.faults[piece] = f
	return f.times
}

// jitter makes a pause a quarter shorter to a quarter longer.
func jitter(d time.Duration, chance float64) time.Duration {
	return time.Duration(float64(d) * (0.75 + chance/2))
}

// tries is how often a check of a piece tries each block.
func (u *unreadPieces) tries(piece int) int { return min(2+u.faults[piece].times, rereadTries) }

// add has a piece tried again that could not be read.
func (u *unreadPieces) add(now time.Duration, piece int, chance float64) {
	if u.pieces == nil {
		u.pieces = make(map[int]struct{})
	}
	if failed := u.trying && u.trial == piece; failed || !u.trying && len(u.pieces) == 0 {
		if now-u.next > 2*rereadMost {
			u.pause = 0 // another trouble
		}
		u.trying = false
		u.pause = min(max(2*u.pause, rereadFirst), rereadMost)
		u.next = now + jitter(u.pause, chance)
	}
	u.pieces[piece] = struct{}{}
}

// due is when one is to be tried.
func (u *unreadPieces) due() time.Duration {
	if u.trying || len(u.pieces) == 0 {
		return never
	}
	return u.next
}

// take takes a piece out that may be tried now, or all of them; where there
// is none, next is when there will be.
func (u *unreadPieces) take(now time.Duration, all bool, f func(piece int)) (taken int) {
	soonest := never
	for piece := range u.pieces {
		if due := u.faults[piece].due; due > now {
			soonest = min(soonest, due)
			continue
		}
		delete(u.pieces, piece)
		f(piece)
		if taken++; !all {
			return taken
		}
	}
	u.next = max(u.next, min(soonest, now+rereadMost))
	return taken
}

// forget drops what is long past.
func (u *unreadPieces) forget(now time.Duration) {
	if len(u.faults) == 0 || now < u.review {
		return
	}
	u.review = now + 2*rereadMost
	for piece, f := range u.faults {
		if now-f.due > 2*rereadMost {
			delete(u.faults, piece)
		}
	}
}

// unreadable says whether a check failed for the disk's sake: there may be
// bytes that could not be read.
func unreadable(err error) bool {
	return err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, io.ErrUnexpectedEOF)
}

// tryUnread has one of the pieces checked that could not be read, when its
// time has come.
func (t *Torrent) tryUnread(now time.Duration) {
	u := &t.unread
	u.forget(now)
	for now >= u.due() {
		n := u.take(now, false, func(piece int) {
			if t.lacks(piece) {
				u.trying, u.trial = true, piece
				t.doubt.add(piece)
			}
		})
		if n == 0 {
			return
		}
	}
}

// unreadVerdict takes the verdict on a piece that was read.
func (t *Torrent) unreadVerdict(piece int) {
	u := &t.unread
	if !u.trying || u.trial != piece {
		return
	}
	u.trying, u.pause = false, 0
	u.take(t.now(), true, func(piece int) {
		if t.lacks(piece) {
			t.doubt.add(piece)
		}
	})
}

// setAside leaves a piece alone that the disk does not give: it is fetched,
// and the disk is tried again later.
func (t *Torrent) setAside(piece int) {
	t.unread.add(t.now(), piece, t.rand.Float64())
	t.refetch(piece)
}

// refetch has a piece fetched that was held or in doubt.
func (t *Torrent) refetch(piece int) {
	t.hashing[piece] = nil // it may know of blocks that are gone
	delete(t.proofs, piece)
	t.picker.Lost(t.now(), piece)
	t.adoptBlocks(piece)
}

// lacks says whether nothing of a piece has come since it could not be read.
func (t *Torrent) lacks(piece int) bool { return !t.held.Has(piece) && t.hashing[piece] == nil }
