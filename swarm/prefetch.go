package swarm

import (
	"sync/atomic"

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
func (r *Reader) WillNeed(off int64, n int) {
	t := r.t
	if n <= 0 || t.allHeld.Load() {
		return
	}
	id := hintID(r.id, (r.hints.given.Add(1)-1)%hintsPerReader)
	select {
	case t.hintings <- hinting{id, off, int64(n)}:
	default:
	}
}

// hinting is a hint on its way to the loop.
type hinting struct {
	id     picker.ReaderID
	off, n int64
}

// closeHints forgets a reader's hints; the loop calls it.
func (t *Torrent) closeHints(r *Reader) {
	for slot := range min(r.hints.given.Load(), hintsPerReader) {
		t.picker.ReaderClose(t.now(), hintID(r.id, slot))
	}
}
