package swarm

import (
	"fmt"
	"time"

	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/hashes"
	"torrentfs/swarm/pieces"
	"torrentfs/swarm/pieces/hashing"
	"torrentfs/swarm/pieces/smartban"
	"torrentfs/swarm/wire"
)

// handleBlock takes a block that came: into the store and to a hash worker, or
// to the waste where nobody waits for it.
func (t *Torrent) handleBlock(c *peerConn, e conn.Event) {
	t.down.add(int64(e.Length))
	c.down.add(int64(e.Length))
	c.waitingSince = 0
	block := e.Begin / blockSize
	switch t.picker.Received(t.now(), c.id, metainfo.Block{Piece: e.Piece, Index: block}) {
	case picker.NewBlock:
		b := metainfo.Block{Piece: e.Piece, Index: block}
		t.takeBlock(smartban.Sender{Peer: c.Addr}, b, e.Data)
		t.hashes.blockCame(c.id, b)
	case picker.Duplicate:
		t.wasted += int64(e.Length)
	case picker.Unrequested:
		t.wasted += int64(e.Length)
		if c.strikes++; c.strikes > maxStrikes {
			c.Close(wire.ErrProtocol)
		}
	}
}

// maxStrikes is how many blocks nobody asked for, or requests while choked, a
// peer may send. Some are honest: messages cross on the wire.
const maxStrikes = 300

// takeBlock takes a block that somebody waits for, and the ownership of data.
func (t *Torrent) takeBlock(by smartban.Sender, b metainfo.Block, data []byte) {
	t.hasher.Begin(b.Piece)
	t.ledger.Received(b, by)
	t.store.Put(b, data)
	t.hasher.Add(b, data)
}

// handleHashed takes what a hash worker found out.
func (t *Torrent) handleHashed(r hashing.Result) {
	if r.Proof != nil {
		t.hashes.tell(func(k *hashes.Asker, now time.Duration) { k.Checked(now, r.Prover, r.Piece, r.Proof.Ask, r.Valid) })
	}
	if len(r.Good)+len(r.Bad) > 0 {
		t.leafVerdicts(r)
	}
	switch {
	case r.Waits:
		t.ledger.Complete(r.Piece)
		t.apply(t.ledger.HashesCame())
		t.hashes.tell((*hashes.Asker).FetchLayers)
	case r.Done && (t.hasher.Current(&r) || r.OK && t.store.Has(r.Piece)): // else it is of blocks that were dropped since
		if r.Err != nil && !r.Contradiction {
			t.log.Error("verify piece: "+r.Err.Error(), "piece", r.Piece)
		}
		t.apply(t.ledger.Hashed(r.Verdict, t.readBack(r.Piece)))
		t.noteProgress()
	}
}

// checkQueue is the checkers' channel while there is something to check, else nil.
func (t *Torrent) checkQueue() chan<- pieces.Check {
	if _, any := t.ledger.NextCheck(); !any {
		return nil
	}
	return t.hasher.Checks()
}

// nextCheck is the checkers' next piece, which the select in run then has them take.
func (t *Torrent) nextCheck() pieces.Check {
	c, _ := t.ledger.NextCheck()
	return c
}

// handleChecked takes a checker's verdict; reads that waited for it go on.
func (t *Torrent) handleChecked(r hashing.Result) {
	t.apply(t.ledger.Checked(t.now(), r.Verdict))
	readers := t.reads.rechecking
	t.reads.rechecking = nil
	for _, d := range readers {
		t.admitRead(d) // waits on, if another of its pieces is in doubt
	}
	t.noteProgress()
}

// leafVerdicts takes what hash workers found of single blocks.
func (t *Torrent) leafVerdicts(r hashing.Result) {
	now := t.now()
	tell := func(b metainfo.Block, right bool) {
		t.hashes.tell(func(k *hashes.Asker, _ time.Duration) { k.BlockJudged(b, right) })
		t.picker.LeafVerified(now, b, right)
	}
	for _, i := range r.Good {
		tell(metainfo.Block{Piece: r.Piece, Index: i}, true)
	}
	for _, i := range r.Bad {
		b := metainfo.Block{Piece: r.Piece, Index: i}
		t.wasted += int64(t.info.BlockLen(r.Piece, i))
		t.apply(t.ledger.BlockFailed(b))
		tell(b, false)
	}
}

// adoptBlocks tells the picker of a piece's blocks that are verified by themselves.
func (t *Torrent) adoptBlocks(piece metainfo.Piece) {
	if t.trees == nil {
		return
	}
	for b := range t.info.NumBlocks(piece) {
		if t.store.HasBlock(metainfo.Block{Piece: piece, Index: b}) {
			t.picker.Adopt(t.now(), metainfo.Block{Piece: piece, Index: b})
		}
	}
}

// clashError says that a hybrid torrent contradicts itself.
func clashError(piece metainfo.Piece) error {
	return fmt.Errorf("%w: the v1 and the v2 hash of piece %d are of different data", ErrContradiction, piece)
}

// newLedger makes the ledger of the torrent's pieces, with what the store has at the start.
func (t *Torrent) newLedger() *pieces.Ledger {
	cfg := pieces.Config{
		Pieces: t.info.NumPieces(), Held: t.store.Held(), InDoubt: t.store.Doubtful(), Leaves: t.trees != nil, Rand: t.rand,
		Blocks: t.info.NumBlocks, Committed: t.store.Has, Stored: t.stored,
	}
	if t.trees != nil {
		cfg.Known = func(piece metainfo.Piece) bool {
			if t.info.Hash.HasV1 {
				return true
			}
			_, known := t.trees.Node(t.trees.File(piece), piece)
			return known
		}
		cfg.Bytes = func(piece metainfo.Piece) int64 { return t.trees.File(piece).Bytes(piece) }
	}
	if t.cfg.Prefetch {
		cfg.Wanted = t.wants
	}
	return pieces.New(cfg)
}

// apply carries out what the ledger asks for.
func (t *Torrent) apply(actions []pieces.Action) {
	for i := range actions {
		a, now := &actions[i], t.now()
		switch a.Kind {
		case pieces.Held:
			t.picker.Verified(now, a.Piece, true)
		case pieces.Have:
			t.tellHave(a.Piece)
		case pieces.DontHave:
			t.tellDontHave(a.Piece)
		case pieces.Failed:
			t.wasted += t.info.PieceSize(a.Piece)
			t.log.Warn("piece failed its hash", "piece", a.Piece)
			t.picker.Verified(now, a.Piece, false)
			t.adoptBlocks(a.Piece)
		case pieces.Lost:
			t.picker.Lost(now, a.Piece)
			t.adoptBlocks(a.Piece)
		case pieces.Discard:
			t.store.Discard(a.Piece)
		case pieces.Forget:
			t.hasher.Forget(a.Piece)
			t.hashes.tell(func(k *hashes.Asker, _ time.Duration) { k.Forgotten(a.Piece) })
		case pieces.Judge:
			t.hasher.Judge(a.Piece)
		case pieces.Ban:
			t.banSender(a.Piece, a.Sender)
		case pieces.Credit:
			t.webSeeds[a.Sender.Web-1].faults.passed(t.info, a.Piece)
		case pieces.Contradiction:
			t.fail(clashError(a.Piece))
		default:
			t.logPieces(a)
		}
	}
}

// logPieces tells the log of what the ledger wants to be known.
func (t *Torrent) logPieces(a *pieces.Action) {
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
func (t *Torrent) tellHave(piece metainfo.Piece) {
	t.nHeld.Store(int32(t.ledger.Count()))
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
	if t.ledger.Doubtful() == 0 {
		closeOnce(t.settled)
	}
	if t.ledger.Count() < t.info.NumPieces() {
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
				c.Close(errBothSeeds)
			} else if c.Extended() {
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
	return func(block int) ([]byte, error) {
		return t.store.Unverified(metainfo.Block{Piece: piece, Index: block}, scratch)
	}
}

// banSender bans who sent a wrong block of a piece.
func (t *Torrent) banSender(piece metainfo.Piece, by smartban.Sender) {
	if by.Web > 0 {
		t.webSeedLied(t.webSeeds[by.Web-1], piece)
		return
	}
	t.banAddr(by.Peer)
	for _, c := range t.peers {
		if c != nil && c.Addr == by.Peer {
			t.ban(c)
		}
	}
}

// stored reports whether any block of a piece is verified by itself.
func (t *Torrent) stored(piece metainfo.Piece) bool {
	for b := range t.info.NumBlocks(piece) {
		if t.store.HasBlock(metainfo.Block{Piece: piece, Index: b}) {
			return true
		}
	}
	return false
}
