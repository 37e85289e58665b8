package swarm

import (
	"sync/atomic"
	"time"

	"torrentfs/metainfo"
	"torrentfs/picker"
)

// blockedRead is a blocked read on its way through the loop.
type blockedRead struct {
	// Immutable.
	reader picker.ReaderID
	off    int64
	n      int
	label  any // the reader's, for whoever wants to see what waits
	since  time.Time
	done   chan error // gets exactly one value; buffered

	expected bool // nobody waits for it yet: see [Reader.PrefetchUrgent]

	// Owned by the loop.
	id      picker.ReadID // once admitted to the picker
	lacking time.Duration // since when nobody within reach has its bytes; 0: somebody may
}

func (d *blockedRead) finish(err error) { d.done <- err }

// blockedReads is what a torrent's readers wait for and tell. The loop owns it.
type blockedReads struct {
	t *Torrent

	// To the loop, from readers.
	blocked  chan *blockedRead
	dropped  chan *blockedRead
	hits     chan readHit
	hintings chan hinting
	readers  atomic.Int32 // ever opened

	waiting    map[picker.ReadID]*blockedRead // for the picker
	rechecking []*blockedRead                 // for the checks of pieces in doubt

	refused  map[metainfo.Piece]time.Time // pieces of which a read failed lately
	due      time.Duration                // when they are looked at; never: none waits
	reportAt time.Duration                // the owner hears of the oldest when it has waited so long
	reported bool                         // it did
}

func newBlockedReads(t *Torrent) *blockedReads {
	return &blockedReads{
		t: t, blocked: make(chan *blockedRead), dropped: make(chan *blockedRead), hits: make(chan readHit, 16), hintings: make(chan hinting, 16),
		waiting: map[picker.ReadID]*blockedRead{}, due: never,
	}
}

// failAll ends all reads of a torrent that is stopped.
func (rs *blockedReads) failAll(err error) {
	for id, d := range rs.waiting {
		delete(rs.waiting, id)
		rs.t.picker.ReadCancel(rs.t.now(), id)
		d.finish(err)
	}
	for _, d := range rs.rechecking {
		d.finish(err)
	}
	rs.rechecking = nil
}

// all yields the reads that somebody waits for.
func (rs *blockedReads) all(yield func(*blockedRead) bool) {
	for _, d := range rs.waiting {
		if !d.expected && !yield(d) {
			return
		}
	}
	for _, d := range rs.rechecking {
		if !yield(d) {
			return
		}
	}
}

// readHit tells the picker of bytes that a reader got without waiting.
type readHit struct {
	reader picker.ReaderID
	bytes  metainfo.ByteRange
}

// admit hands a blocked read to the picker; one that touches bytes in
// doubt waits for their check first.
func (rs *blockedReads) admit(d *blockedRead) {
	t := rs.t
	if err := t.Err(); err != nil {
		d.finish(err)
		return
	}
	rs.takeHints()
	t.pieces.storeChanged() // the reader may have put a piece in doubt
	first, last := t.info.PieceOf(d.off), t.info.PieceOf(d.off+int64(d.n)-1)
	if rs.refuses(d, first, last) {
		return
	}
	t.pieces.apply(t.pieces.Claim(first, last))
	if t.pieces.Hurry(first, last) {
		rs.rechecking = append(rs.rechecking, d)
		return
	}
	rs.await(d)
}

// await hands a read to the picker whose bytes are not in doubt.
func (rs *blockedReads) await(d *blockedRead) {
	t := rs.t
	if bytes := (metainfo.ByteRange{Off: d.off, Len: int64(d.n)}); d.expected {
		d.id = t.picker.PrefetchUrgent(t.now(), d.reader, bytes)
	} else {
		d.id = t.picker.Read(t.now(), d.reader, bytes)
	}
	rs.waiting[d.id] = d
	t.hashes.readBlocked(d)
}

// finish wakes the reader of a read whose bytes are all verified.
func (rs *blockedReads) finish(id picker.ReadID) {
	if d := rs.waiting[id]; d != nil {
		delete(rs.waiting, id)
		d.finish(nil)
	}
}

// drop forgets a read whose reader went away.
func (rs *blockedReads) drop(d *blockedRead) {
	if rs.waiting[d.id] == d {
		delete(rs.waiting, d.id)
		rs.t.picker.ReadCancel(rs.t.now(), d.id)
		return
	}
	for i, x := range rs.rechecking {
		if x == d {
			rs.rechecking = append(rs.rechecking[:i], rs.rechecking[i+1:]...)
			return
		}
	}
}
