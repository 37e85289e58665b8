package swarm

import (
	"time"

	"torrentfs/metainfo"
	"torrentfs/picker"
)

// demand is a blocked read on its way through the loop.
type demand struct {
	// Immutable.
	reader picker.ReaderID
	off    int64
	n      int
	label  any // the reader's, for whoever wants to see what waits
	since  time.Time
	done   chan error // gets exactly one value; buffered

	expected bool // nobody waits for it yet: see [Reader.Expect]

	// Owned by the loop.
	id picker.ReadID // once admitted to the picker
}

func (d *demand) finish(err error) { d.done <- err }

// readHit tells the picker of bytes that a reader got without waiting.
type readHit struct {
	reader picker.ReaderID
	bytes  metainfo.ByteRange
}

// admitDemand hands a blocked read to the picker; one that touches bytes in
// doubt waits for their check first.
func (t *Torrent) admitDemand(d *demand) {
	if err := t.Err(); err != nil {
		d.finish(err)
		return
	}
	t.takeHints()
	first, last := t.info.PieceOf(d.off), t.info.PieceOf(d.off+int64(d.n)-1)
	t.apply(t.ledger.Claim(first, last))
	if t.ledger.Hurry(first, last) {
		t.rechecking = append(t.rechecking, d)
		return
	}
	t.await(d)
}

// await hands a read to the picker whose bytes are not in doubt.
func (t *Torrent) await(d *demand) {
	if bytes := (metainfo.ByteRange{Off: d.off, Len: int64(d.n)}); d.expected {
		d.id = t.picker.Expect(t.now(), d.reader, bytes)
	} else {
		d.id = t.picker.Read(t.now(), d.reader, bytes)
	}
	t.waiting[d.id] = d
	t.hashes.readBlocked(d)
}

// finishRead wakes the reader of a read whose bytes are all verified.
func (t *Torrent) finishRead(id picker.ReadID) {
	if d := t.waiting[id]; d != nil {
		delete(t.waiting, id)
		d.finish(nil)
	}
}

// dropDemand forgets a read whose reader went away.
func (t *Torrent) dropDemand(d *demand) {
	if t.waiting[d.id] == d {
		delete(t.waiting, d.id)
		t.picker.ReadCancel(t.now(), d.id)
		return
	}
	for i, x := range t.rechecking {
		if x == d {
			t.rechecking = append(t.rechecking[:i], t.rechecking[i+1:]...)
			return
		}
	}
}
