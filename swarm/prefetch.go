package swarm

import (
	"sync/atomic"
	"time"

	"torrentfs/metainfo"
	"torrentfs/picker"
)

// hintsPerReader is how many hints of one reader hold at a time; a new one replaces the oldest.
const hintsPerReader = 4

// hints counts the hints of a reader.
type hints struct{ given atomic.Int32 }

// hintID is under which the picker knows a hint: no reader has a negative number.
func hintID(reader picker.ReaderID, slot int32) picker.ReaderID {
	return -1 - reader*hintsPerReader - picker.ReaderID(slot)
}

// WillNeed says that n bytes at off, an offset in the piece space, will
// probably be read soon. They are fetched behind what readers wait for, until
// the reader is closed. It never blocks: where the torrent is busy the hint is
// lost.
func (r *Reader) WillNeed(off int64, n int) { r.hint(off, n, false) }

// PrefetchUrgent says that a program reads n bytes at off and has come to the first of
// them alone: a kernel that was refused a large read asks for its pages one by
// one. Where each block verifies by itself all of them leave at once, as urgent
// as the first; else they lie in the piece that it waits for, and what does not is
// a hint. It holds as WillNeed does.
func (r *Reader) PrefetchUrgent(off int64, n int) { r.hint(off, n, r.t.trees != nil) }

// hint hands a hint to the loop.
func (r *Reader) hint(off int64, n int, urgent bool) {
	t := r.t
	if n <= 0 || t.pieces.allHeld.Load() {
		return
	}
	id := hintID(r.id, (r.hints.given.Add(1)-1)%hintsPerReader)
	select {
	case t.reads.hintings <- hinting{id, off, n, urgent}:
	default:
	}
}

// hinting is a hint on its way to the loop.
type hinting struct {
	id     picker.ReaderID
	off    int64
	n      int
	urgent bool // as a blocked read is
}

// takeHint gives a hint to the picker; an urgent one as a read that nobody waits for.
func (rs *blockedReads) takeHint(h hinting) {
	t := rs.t
	rs.endExpected(h.id)
	if !h.urgent {
		t.picker.WillNeed(t.now(), h.id, metainfo.ByteRange{Off: h.off, Len: int64(h.n)})
		return
	}
	n := int(min(int64(h.n), t.info.Size()-h.off))
	if t.Err() != nil || h.off < 0 || n <= 0 || t.pieces.Hurry(t.info.PieceOf(h.off), t.info.PieceOf(h.off+int64(n)-1)) {
		return
	}
	rs.await(&blockedRead{reader: h.id, off: h.off, n: n, expected: true, since: time.Now(), done: make(chan error, 1)})
}

// takeHints takes all hints that were given before a read.
func (rs *blockedReads) takeHints() {
	for {
		select {
		case h := <-rs.hintings:
			rs.takeHint(h)
		default:
			return
		}
	}
}

// endExpected forgets what was expected under a hint's ID.
func (rs *blockedReads) endExpected(id picker.ReaderID) {
	for r, d := range rs.waiting {
		if d.expected && d.reader == id {
			delete(rs.waiting, r)
			rs.t.picker.ReadCancel(rs.t.now(), r)
		}
	}
}

// closeHints forgets a reader's hints; the loop calls it.
func (rs *blockedReads) closeHints(r *Reader) {
	for slot := range min(r.hints.given.Load(), hintsPerReader) {
		id := hintID(r.id, slot)
		rs.endExpected(id)
		rs.t.picker.ReaderClose(rs.t.now(), id)
	}
}
