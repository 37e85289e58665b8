package swarm

import (
	"torrentfs/metainfo"
	"torrentfs/swarm/pieces"
	"torrentfs/swarm/wire"
)

// What was verified can go wrong later: the disk fails, or somebody changes a
// file. Whoever notices, a reader or a peer's writer, has the store withdraw
// its trust and tells the loop, which has the pieces hashed again and fetched
// where they are wrong.

// maxInvalidations is how often one read puts in doubt what it cannot read at one
// place before it fails.
const maxInvalidations = 3

// invalidate is called when a committed piece could not be read. It returns
// when the loop knows.
func (t *Torrent) invalidate(piece int, reason error) {
	doubtful := t.store.Invalidate(piece, reason)
	if len(doubtful) == 0 {
		return
	}
	select {
	case t.calls <- func() { t.apply(t.ledger.Invalidate(t.now(), doubtful, piece, pieces.Unreadable(reason))) }:
	case <-t.done:
	}
}

// recheck has those pieces checked again that the disk may have lost.
func (t *Torrent) recheck() {
	if doubtful := t.store.Recheck(); len(doubtful) > 0 {
		t.apply(t.ledger.Invalidate(t.now(), doubtful, -1, false))
	}
}

// tellDontHave tells those peers who can be told that we lack a piece which we
// had (BEP 54).
func (t *Torrent) tellDontHave(piece metainfo.Piece) {
	t.nHeld.Store(int32(t.ledger.Count()))
	wasFull := t.allHeld.Swap(false)
	if wasFull {
		t.shortage.since, t.shortage.told = t.now(), false
		t.needSeeds()
	}
	if t.cfg.NoUpload {
		return
	}
	for _, c := range t.peers {
		if c != nil && wasFull && c.Extended() { // we no longer upload only (BEP 21)
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
		if lost := t.store.Drop(t.cfg.Memory * 3 / 4); len(lost) > 0 {
			t.shedding = true
			t.apply(t.ledger.Dropped(lost))
		}
	case dirty <= t.cfg.Memory*3/8:
		t.shedding = false
	}
}
