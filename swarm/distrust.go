package swarm

import (
	"time"

	"torrentfs/swarm/wire"
)

// What was verified can go wrong later: the disk fails, or somebody changes a
// file. Whoever notices, a reader or a peer's writer, has the store withdraw
// its trust and tells the loop, which has the pieces hashed again and fetched
// where they are wrong.

const (
	// maxDistrust is how often one read puts in doubt what it cannot read at
	// one place before it fails.
	maxDistrust = 3
	// diskWarning is how often the log hears of pieces that cannot be read.
	diskWarning = time.Minute
)

// distrust is called where a committed piece could not be read. It returns
// when the loop knows.
func (t *Torrent) distrust(piece int, reason error) {
	doubtful := t.store.Doubt(piece, reason)
	if len(doubtful) == 0 {
		return
	}
	select {
	case t.calls <- func() { t.doubtPieces(doubtful, piece, reason) }:
	case <-t.done:
	}
}

// doubtPieces takes pieces that the store trusts no more out of what we have,
// and has them checked. The one that the disk did not give waits for that, if it
// is not the first time.
func (t *Torrent) doubtPieces(pieces []int, failed int, reason error) {
	for _, p := range pieces {
		t.unhold(p)
		if p == failed && unreadable(reason) && t.unread.fault(t.now(), p, t.rand.Float64()) > 1 {
			t.setAside(p)
			continue
		}
		t.doubt.add(p)
	}
}

// recheck has those pieces checked again that the disk may have lost.
func (t *Torrent) recheck() {
	if pieces := t.store.Recheck(); len(pieces) > 0 {
		t.doubtPieces(pieces, -1, nil)
	}
}

// losePieces takes pieces that the store gave up out of what we have.
func (t *Torrent) losePieces(pieces []int) {
	for _, p := range pieces {
		t.unhold(p)
		t.picker.Lost(t.now(), p)
	}
}

// unhold notes that a piece is not committed any more, and tells those peers
// who can be told (BEP 54).
func (t *Torrent) unhold(piece int) {
	if !t.held.Clear(piece) {
		return
	}
	t.nHeld.Add(-1)
	wasFull := t.allHeld.Swap(false)
	if wasFull {
		t.shortage.since, t.shortage.told = t.now(), false
		t.needSeeds()
	}
	if t.cfg.NoUpload {
		return
	}
	for _, c := range t.peers {
		if c != nil && wasFull && c.ext { // we no longer upload only (BEP 21)
			t.post(c, func(b []byte) []byte { return t.appendExtHandshake(b, c) })
		}
		if c != nil && c.extIDs.DontHave != 0 {
			t.post(c, func(b []byte) []byte { return wire.AppendDontHave(b, c.extIDs.DontHave, uint32(piece)) })
		}
	}
}

// needSeeds calls those back that we let go because both sides had everything.
func (t *Torrent) needSeeds() {
	now := t.now()
	for _, a := range t.known.list {
		if a.seed && !a.banned {
			a.due = min(a.due, now)
		}
	}
	t.hungryDue = 0
	t.tendWebSeeds(now)
	t.connectPeers()
}

// shed bounds the memory that waits for a disk that takes nothing: the
// oldest pieces go. Until the disk has taken half of what is left, nothing is
// fetched in the background, only to be given up again.
func (t *Torrent) shed() {
	dirty := t.store.Dirty()
	switch {
	case dirty > t.cfg.Memory:
		if lost := t.store.Shed(t.cfg.Memory * 3 / 4); len(lost) > 0 {
			t.shedding = true
			t.losePieces(lost)
		}
	case dirty <= t.cfg.Memory*3/8:
		t.shedding = false
	}
}
