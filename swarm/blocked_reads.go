package swarm

import (
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

// blockedReads are the reads of a torrent that wait. The loop owns them.
type blockedReads struct {
	waiting    map[picker.ReadID]*blockedRead // for the picker
	rechecking []*blockedRead                 // for the checks of pieces in doubt

	refused  map[metainfo.Piece]time.Time // pieces of which a read failed lately
	due      time.Duration                // when they are looked at; never: none waits
	reportAt time.Duration                // the owner hears of the oldest when it has waited so long
	reported bool                         // it did
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

// admitRead hands a blocked read to the picker; one that touches bytes in
// doubt waits for their check first.
func (t *Torrent) admitRead(d *blockedRead) {
	if err := t.Err(); err != nil {
		d.finish(err)
		return
	}
	t.takeHints()
	t.pieces.storeChanged() // the reader may have put a piece in doubt
	first, last := t.info.PieceOf(d.off), t.info.PieceOf(d.off+int64(d.n)-1)
	if t.refuses(d, first, last) {
		return
	}
	t.pieces.apply(t.pieces.Claim(first, last))
	if t.pieces.Hurry(first, last) {
		t.reads.rechecking = append(t.reads.rechecking, d)
		return
	}
	t.await(d)
}

// await hands a read to the picker whose bytes are not in doubt.
func (t *Torrent) await(d *blockedRead) {
	if bytes := (metainfo.ByteRange{Off: d.off, Len: int64(d.n)}); d.expected {
		d.id = t.picker.PrefetchUrgent(t.now(), d.reader, bytes)
	} else {
		d.id = t.picker.Read(t.now(), d.reader, bytes)
	}
	t.reads.waiting[d.id] = d
	t.hashes.readBlocked(d)
}

// finishRead wakes the reader of a read whose bytes are all verified.
func (t *Torrent) finishRead(id picker.ReadID) {
	if d := t.reads.waiting[id]; d != nil {
		delete(t.reads.waiting, id)
		d.finish(nil)
	}
}

// dropRead forgets a read whose reader went away.
func (t *Torrent) dropRead(d *blockedRead) {
	if t.reads.waiting[d.id] == d {
		delete(t.reads.waiting, d.id)
		t.picker.ReadCancel(t.now(), d.id)
		return
	}
	for i, x := range t.reads.rechecking {
		if x == d {
			t.reads.rechecking = append(t.reads.rechecking[:i], t.reads.rechecking[i+1:]...)
			return
		}
	}
}
