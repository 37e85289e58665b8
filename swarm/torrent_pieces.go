package swarm

import (
	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/pieces/smartban"
	"torrentfs/swarm/wire"
)

// handleBlock takes a block that came: into the store and to a hash worker, or
// to the waste where nobody waits for it.
func (t *Torrent) handleBlock(e peerEvent) {
	c := e.c
	t.down.add(int64(e.n))
	c.down.add(int64(e.n))
	c.waitingSince = 0
	block := e.begin / blockSize
	id := picker.BlockID(e.piece*t.info.BlocksPerPiece() + block)
	switch t.picker.Received(t.now(), c.id, id) {
	case picker.NewBlock:
		t.takeBlock(smartban.Sender{Peer: c.addr}, metainfo.Block{Piece: e.piece, Index: block}, e.data)
		if t.trees != nil {
			t.blockCame(c, e.piece, block)
		}
	case picker.Duplicate:
		t.wasted += int64(e.n)
	case picker.Unrequested:
		t.wasted += int64(e.n)
		if c.strikes++; c.strikes > maxStrikes {
			c.close(wire.ErrProtocol)
		}
	}
}

// maxStrikes is how many blocks nobody asked for, or requests while choked, a
// peer may send. Some are honest: messages cross on the wire.
const maxStrikes = 300

// takeBlock takes a block that somebody waits for, and the ownership of data.
func (t *Torrent) takeBlock(by smartban.Sender, b metainfo.Block, data []byte) {
	h := t.hashing[b.Piece]
	if h == nil {
		h = newPieceHash(t, b.Piece)
		t.hashing[b.Piece] = h
	}
	t.evidence.Received(b, t.info.NumBlocks(b.Piece), by)
	t.store.Put(b.Piece, b.Index, data)
	t.hashBacklog.Add(int64(len(data)))
	t.hashJobs.Add(1)
	t.s.hashers.submit(hashJob{p: h, block: b.Index, data: data})
}

// handleHashed takes what a hash worker found out.
func (t *Torrent) handleHashed(r hashResult) {
	if r.proof != nil {
		t.handleProof(r)
	}
	if len(r.good)+len(r.bad) > 0 {
		t.leafVerdicts(r)
	}
	switch {
	case r.waits:
		t.unjudged[r.piece] = struct{}{}
		t.judgeWaiting()
		t.fetchLayers(t.now())
	case r.done:
		t.pieceVerdict(r)
	}
}

// pieceVerdict takes a hash worker's verdict on a piece.
func (t *Torrent) pieceVerdict(r hashResult) {
	t.hashing[r.piece] = nil
	delete(t.proofs, r.piece)
	delete(t.suspicious, r.piece)
	if r.clash {
		t.fail(clashError(r.piece))
		return
	}
	if r.ok {
		if by := t.evidence.Sole(r.piece); by.Web > 0 {
			t.webSeeds[by.Web-1].faults.passed(t.info, r.piece)
		}
		t.banSenders(r.piece, t.evidence.Passed(r.piece, t.readBack(r.piece)))
		t.hold(r.piece)
		t.picker.Verified(t.now(), r.piece, true)
		t.noteProgress()
		return
	}
	if r.err != nil {
		t.store.Discard(r.piece)
		t.log.Error("verify piece: "+r.err.Error(), "piece", r.piece)
		t.picker.Lost(t.now(), r.piece) // the disk's fault: nobody is blamed
		t.adoptBlocks(r.piece)
		return
	}
	liars := t.evidence.Failed(r.piece, t.readBack(r.piece))
	defer t.banSenders(r.piece, liars)
	t.store.Discard(r.piece)
	t.wasted += t.info.PieceSize(r.piece)
	t.log.Warn("piece failed its hash", "piece", r.piece)
	if t.trees != nil {
		t.suspicious[r.piece] = struct{}{}
	}
	t.picker.Verified(t.now(), r.piece, false)
	t.adoptBlocks(r.piece)
}

// hold notes a committed piece and tells the peers that lack it, or look for who got it.
func (t *Torrent) hold(piece int) {
	if !t.held.Set(piece) {
		return
	}
	t.nHeld.Add(1)
	if t.cfg.NoUpload {
		return
	}
	for _, c := range t.peers {
		if c != nil && (!c.remote.Has(piece) || c.maySuperSeed()) {
			t.post(c, func(b []byte) []byte { return wire.AppendHave(b, uint32(piece)) })
		}
	}
}

// noteProgress closes the channels that others wait on.
func (t *Torrent) noteProgress() {
	if t.doubt.n == 0 {
		closeOnce(t.settled)
	}
	if int(t.nHeld.Load()) < t.info.NumPieces() {
		return
	}
	if t.allHeld.CompareAndSwap(false, true) {
		closeOnce(t.complete)
		t.endWebSeeds()
		t.choker.ChangePolicy()
		for _, c := range t.peers {
			if c == nil {
				continue
			}
			if c.isSeed() || c.uploadOnly {
				c.close(errBothSeeds)
			} else if c.ext {
				t.post(c, func(b []byte) []byte { return t.appendExtHandshake(b, c) })
			}
		}
	}
}

func closeOnce(ch chan struct{}) {
	select {
	case <-ch:
	default:
		close(ch)
	}
}

// readBack returns a function that reads a piece's blocks as they came.
func (t *Torrent) readBack(piece metainfo.Piece) smartban.ReadBlock {
	scratch := make([]byte, blockSize)
	return func(block int) ([]byte, error) { return t.store.Unverified(piece, block, scratch) }
}

// banSenders bans those who sent wrong blocks of a piece.
func (t *Torrent) banSenders(piece metainfo.Piece, liars []smartban.Sender) {
	for _, by := range liars {
		if by.Web > 0 {
			t.webSeedLied(t.webSeeds[by.Web-1], piece)
			continue
		}
		t.banAddr(by.Peer)
		for _, c := range t.peers {
			if c != nil && c.addr == by.Peer {
				t.ban(c)
			}
		}
	}
}
