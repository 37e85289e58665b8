package swarm

import (
	"errors"
	"io"
	"io/fs"
	"time"
)

// Pauses before a disk that did not read is tried again.
const (
	rereadFirst = 2 * time.Second
	rereadMost  = 30 * time.Second
)

// unreadPieces are pieces that may be right on disk, which did not give them
// back. They are fetched like any that lack; but the disk may work again
// before somebody sends them, and nobody else may have them. So one is tried
// with growing pauses, and all the others once that can be read. The loop owns it.
type unreadPieces struct {
	pieces map[int]struct{}
	trying bool
	trial  int           // piece, while trying
	next   time.Duration // when one is tried
	pause  time.Duration
}

// add notes a piece that could not be read.
func (u *unreadPieces) add(now time.Duration, piece int) {
	if u.pieces == nil {
		u.pieces = make(map[int]struct{})
	}
	if failed := u.trying && u.trial == piece; failed || !u.trying && len(u.pieces) == 0 {
		if now-u.next > 2*rereadMost {
			u.pause = 0 // another trouble
		}
		u.trying = false
		u.pause = min(max(2*u.pause, rereadFirst), rereadMost)
		u.next = now + u.pause
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

// unreadable says whether a check failed for the disk's sake: there may be
// bytes that could not be read.
func unreadable(err error) bool {
	return err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, io.ErrUnexpectedEOF)
}

// tryUnread has one of the pieces checked that could not be read, when its
// time has come.
func (t *Torrent) tryUnread(now time.Duration) {
	u := &t.unread
	if now < u.due() {
		return
	}
	for piece := range u.pieces {
		delete(u.pieces, piece)
		if t.lacks(piece) {
			u.trying, u.trial = true, piece
			t.doubt.add(piece)
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
	u.trying = false
	for piece := range u.pieces {
		if t.lacks(piece) {
			t.doubt.add(piece)
		}
	}
	clear(u.pieces)
}

// lacks says whether nothing of a piece has come since it could not be read.
func (t *Torrent) lacks(piece int) bool { return !t.held.has(piece) && t.hashing[piece] == nil }
