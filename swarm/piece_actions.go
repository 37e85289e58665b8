package swarm

import (
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/hashes"
	"torrentfs/swarm/pieces"
	"torrentfs/swarm/pieces/smartban"
	"torrentfs/swarm/wire"
)

// apply carries out what the ledger asks for.
func (x *pieceWork) apply(actions []pieces.Action) {
	t := x.t
	for i := range actions {
		a, now := &actions[i], t.now()
		switch a.Kind {
		case pieces.Held:
			t.picker.Verified(now, a.Piece, true)
		case pieces.Have:
			x.tellHave(a.Piece)
		case pieces.DontHave:
			x.tellDontHave(a.Piece)
		case pieces.Failed:
			x.wasted += t.info.PieceSize(a.Piece)
			t.log.Warn("piece failed its hash", "piece", a.Piece)
			t.picker.Verified(now, a.Piece, false)
			x.adoptBlocks(a.Piece)
		case pieces.Lost:
			t.picker.Lost(now, a.Piece)
			x.adoptBlocks(a.Piece)
		case pieces.Discard:
			t.store.Discard(a.Piece)
		case pieces.Forget:
			x.hasher.Forget(a.Piece)
			t.hashes.tell(func(k *hashes.Asker, _ time.Duration) { k.Forgotten(a.Piece) })
		case pieces.Judge:
			x.hasher.Judge(a.Piece)
		case pieces.Ban:
			x.banSender(a.Piece, a.Sender)
		case pieces.Credit:
			t.web.list[a.Sender.Web-1].faults.Passed(t.info, a.Piece)
		case pieces.Contradiction:
			t.fail(clashError(a.Piece))
		default:
			x.report(a)
		}
	}
}

// report tells the log of what the ledger wants to be known.
func (x *pieceWork) report(a *pieces.Action) {
	t := x.t
	switch a.Kind {
	case pieces.Warn:
		t.log.Warn("check data on disk: "+a.Err.Error(), "piece", a.Piece)
	case pieces.DuplicateWrong:
		t.log.Warn("another torrent's file is not what it should be: the rest is downloaded", "file", a.Duplicate.Path, "piece", a.Piece, "err", a.Err)
	case pieces.DuplicateDone:
		t.log.Info("took what another torrent has already", "file", a.Duplicate.Path, "bytes", a.Bytes, "wrong_pieces", a.Wrong)
	}
}

// tellHave tells the peers that lack a piece, or look for who got it, that we have it.
func (x *pieceWork) tellHave(piece metainfo.Piece) {
	t := x.t
	x.nHeld.Store(int32(x.Count()))
	if t.cfg.NoUpload {
		return
	}
	for _, c := range t.peers {
		if c != nil && (!c.remote.Has(piece) || c.maySuperSeed()) {
			t.post(c, func(b []byte) []byte { return wire.AppendHave(b, uint32(piece)) })
		}
	}
}

// tellDontHave tells those peers who can be told that we lack a piece which we
// had (BEP 54).
func (x *pieceWork) tellDontHave(piece metainfo.Piece) {
	t := x.t
	x.nHeld.Store(int32(x.Count()))
	wasFull := x.allHeld.Swap(false)
	if wasFull {
		t.shortage.began(t)
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

// adoptBlocks tells the picker of a piece's blocks that are verified by themselves.
func (x *pieceWork) adoptBlocks(piece metainfo.Piece) {
	t := x.t
	if t.trees == nil {
		return
	}
	for b := range t.info.NumBlocks(piece) {
		if t.store.HasBlock(metainfo.Block{Piece: piece, Index: b}) {
			t.picker.Adopt(t.now(), metainfo.Block{Piece: piece, Index: b})
		}
	}
}

// banSender bans who sent a wrong block of a piece.
func (x *pieceWork) banSender(piece metainfo.Piece, by smartban.Sender) {
	t := x.t
	if by.Web > 0 {
		t.web.lied(t.web.list[by.Web-1], piece)
		return
	}
	t.pool.Ban(t.now(), by.Peer)
	for _, c := range t.peers {
		if c != nil && c.Addr == by.Peer {
			t.ban(c)
		}
	}
}

// readBack returns a function that reads a piece's blocks as they came.
func (x *pieceWork) readBack(piece metainfo.Piece) smartban.ReadBlock {
	scratch := make([]byte, blockSize)
	return func(block int) ([]byte, error) {
		return x.t.store.Unverified(metainfo.Block{Piece: piece, Index: block}, scratch)
	}
}
