package pieces

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"slices"
	"time"

	"torrentfs/metainfo"
)

// Pauses before a disk that did not read is tried again, and how often a check tries each block: once more for each
// failure of the piece before.
const (
	FirstPause   = 2 * time.Second
	LongestPause = 30 * time.Second
	mostTries    = 4
)

// never is later than anything that is due.
const never = time.Duration(1<<63 - 1)

// Unreadable reports whether a read failed for the disk's sake: there may be bytes that could not be read.
func Unreadable(err error) bool {
	return err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, io.ErrUnexpectedEOF)
}

// unchecked is the set of pieces that may be right on disk, which did not give them back. One is tried with growing
// pauses, and all the others once that can be read.
//
// A piece that fails again and again is left alone for longer each time, also if its checks succeed in between: else a
// peer that asks again, and is served again, would keep step with a disk that fails now and then. All pauses vary by
// chance.
type unchecked struct {
	pieces map[metainfo.Piece]struct{}
	trying bool
	trial  metainfo.Piece // while trying
	next   time.Duration  // when one is tried
	pause  time.Duration
	faults map[metainfo.Piece]fault // of pieces that failed not long ago
	review time.Duration            // when those that are long past are forgotten
}

// fault is what is remembered of a piece that the disk did not give.
type fault struct {
	times int           // that it failed, with no long time in between
	due   time.Duration // when the disk may be asked for it again
}

// failed notes that the disk did not give a piece, and returns how often it has not of late. chance is in [0, 1).
func (u *unchecked) failed(now time.Duration, piece metainfo.Piece, chance float64) (times int) {
	f := u.faults[piece]
	if now-f.due > 2*LongestPause {
		f.times = 0
	}
	f.times++
	f.due = now + jitter(min(FirstPause<<min(f.times-1, 5), LongestPause), chance)
	if u.faults == nil {
		u.faults = make(map[metainfo.Piece]fault)
		u.review = now + 2*LongestPause
	}
	u.faults[piece] = f
	return f.times
}

// jitter makes a pause a quarter shorter to a quarter longer.
func jitter(d time.Duration, chance float64) time.Duration {
	return time.Duration(float64(d) * (0.75 + chance/2))
}

// tries is how often a check of a piece tries each block.
func (u *unchecked) tries(piece metainfo.Piece) int {
	return min(2+u.faults[piece].times, mostTries)
}

// add has a piece tried again that could not be read.
func (u *unchecked) add(now time.Duration, piece metainfo.Piece, chance float64) {
	if u.pieces == nil {
		u.pieces = make(map[metainfo.Piece]struct{})
	}
	if again := u.trying && u.trial == piece; again || !u.trying && len(u.pieces) == 0 {
		if now-u.next > 2*LongestPause {
			u.pause = 0 // another fault
		}
		u.trying = false
		u.pause = min(max(2*u.pause, FirstPause), LongestPause)
		u.next = now + jitter(u.pause, chance)
	}
	u.pieces[piece] = struct{}{}
}

// endTrial tells that the disk did not give the piece that was tried, which came otherwise meanwhile.
func (u *unchecked) endTrial(now time.Duration, piece metainfo.Piece) {
	if u.trying && u.trial == piece {
		u.trying, u.next = false, now+max(u.pause, FirstPause)
	}
}

// due is when one is to be tried.
func (u *unchecked) due() time.Duration {
	if u.trying || len(u.pieces) == 0 {
		return never
	}
	return u.next
}

// take takes a piece out that may be tried now, the one that is due longest, or all of them; if there is none, next is
// when there will be.
func (u *unchecked) take(now time.Duration, all bool) (taken []metainfo.Piece) {
	soonest := never
	for p := range u.pieces {
		if due := u.faults[p].due; due > now {
			soonest = min(soonest, due)
		} else {
			taken = append(taken, p)
		}
	}
	slices.SortFunc(taken, func(a, b metainfo.Piece) int {
		return cmp.Or(cmp.Compare(u.faults[a].due, u.faults[b].due), cmp.Compare(a, b))
	})
	if !all && len(taken) > 0 {
		delete(u.pieces, taken[0])
		return taken[:1]
	}
	for _, p := range taken {
		delete(u.pieces, p)
	}
	u.next = max(u.next, min(soonest, now+LongestPause))
	return taken
}

// forget drops what is long past.
func (u *unchecked) forget(now time.Duration) {
	if len(u.faults) == 0 || now < u.review {
		return
	}
	u.review = now + 2*LongestPause
	for p, f := range u.faults {
		if now-f.due > 2*LongestPause {
			delete(u.faults, p)
		}
	}
}
