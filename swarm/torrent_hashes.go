package swarm

import (
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/hashes"
	"torrentfs/swarm/pieces/smartban"
	"torrentfs/swarm/wire"
)

// maxQuestions is how many requests for hashes wait, of all peers.
const maxQuestions = 256

// hashExchange joins a torrent with package hashes: it tells the asker what
// happens, looks facts up for it, and does what it says. The loop owns it, but for
// the goroutine that answers. A nil one is that of a v1 torrent: nothing is asked,
// and nothing answered.
type hashExchange struct {
	t         *Torrent
	asker     *hashes.Asker
	spare     []hashes.Action // for the next actions
	fresh     []*blockedRead  // admitted since the last flush
	questions chan question   // to the goroutine that answers
}

// question is a hash request that a peer is waiting to have answered.
type question struct {
	c   *peer
	ask wire.HashRange
}

// newHashExchange returns that of a torrent, nil if it is of v1 alone.
func newHashExchange(t *Torrent) *hashExchange {
	if t.trees == nil {
		return nil
	}
	x := &hashExchange{t: t, questions: make(chan question, maxQuestions)}
	x.asker = hashes.NewAsker(t.trees, x)
	return x
}

// tell gives the asker an input and does what it then asks for.
func (x *hashExchange) tell(input func(k *hashes.Asker, now time.Duration)) {
	if x == nil {
		return
	}
	input(x.asker, x.t.now())
	actions := x.asker.Drain(x.spare[:0])
	x.spare = nil // what is done may give it another input
	for _, a := range actions {
		x.do(a)
	}
	clear(actions)
	x.spare = actions
}

// do carries out one action of the asker.
func (x *hashExchange) do(a hashes.Action) {
	t := x.t
	switch a.Kind {
	case hashes.Ask:
		t.post(t.peer(a.Peer), func(b []byte) []byte { return wire.AppendHashRequest(b, a.Range) })
	case hashes.Check:
		t.pieces.Begin(a.Piece)
		t.pieces.hasher.Prove(a.Piece, a.Proof, a.Peer)
	case hashes.Learned:
		t.pieces.apply(t.pieces.HashesCame())
	case hashes.Whole:
		t.picker.Whole(t.now(), a.Piece)
	case hashes.Forget:
		t.pieces.hasher.Forget(a.Piece)
		t.pieces.Abandon(a.Piece)
	case hashes.GaveUp:
		c := t.peer(a.Peer)
		t.log.Debug("peer proves no hashes: "+a.Reason, "addr", c.Addr, "client", c.client)
	}
}

// handleHashes takes a peer's answer. One that was not asked for may be late.
func (t *Torrent) handleHashes(c *peer, e conn.Event) {
	asked := false
	t.hashes.tell(func(k *hashes.Asker, now time.Duration) { asked = k.Answered(now, c.id, e.Hash, e.Hashes) })
	if !asked {
		if c.strikes++; c.strikes > maxStrikes {
			c.Close(conn.ErrNoise)
		}
	}
}

// requested follows a request for a block from a connection or a web seed. A
// reader needs the block, if wanted.
func (x *hashExchange) requested(from picker.PeerID, b metainfo.Block, wanted bool) {
	if x != nil && (wanted || x.t.pieces.Suspicious(b.Piece)) {
		x.tell(func(k *hashes.Asker, now time.Duration) { k.Requested(now, from, b) })
	}
}

// blockCame follows a block that was taken.
func (x *hashExchange) blockCame(from picker.PeerID, b metainfo.Block) {
	x.tell(func(k *hashes.Asker, now time.Duration) { k.BlockCame(now, from, b) })
}

// readBlocked notes a new blocked read.
func (x *hashExchange) readBlocked(d *blockedRead) {
	if x != nil {
		x.fresh = append(x.fresh, d)
	}
}

// flush has the leaves asked for that new reads wait for, after those that go
// with requests for blocks.
func (x *hashExchange) flush() {
	if x == nil {
		return
	}
	for _, d := range x.fresh {
		if x.t.reads.waiting[d.id] == d {
			x.tell(func(k *hashes.Asker, now time.Duration) {
				k.ReadBlocked(now, metainfo.ByteRange{Off: d.off, Len: int64(d.n)})
			})
		}
	}
	clear(x.fresh)
	x.fresh = x.fresh[:0]
}

// nextDeadline is when the asker's Tick is due.
func (x *hashExchange) nextDeadline() time.Duration {
	if x == nil {
		return never
	}
	return x.asker.NextDeadline()
}

// What follows is what the asker looks up: see [hashes.Facts].

func (x *hashExchange) Has(p picker.PeerID, piece metainfo.Piece) bool {
	return x.t.peer(p).remote.Has(piece)
}

func (x *hashExchange) Owes(p picker.PeerID, piece metainfo.Piece) bool {
	for i := range x.t.info.NumBlocks(piece) {
		if x.t.picker.Owes(p, metainfo.Block{Piece: piece, Index: i}) {
			return true
		}
	}
	return false
}

func (x *hashExchange) Sent(p picker.PeerID, piece metainfo.Piece) bool {
	return x.t.pieces.Evidence().Sent(piece, smartban.Sender{Peer: x.t.peer(p).Addr})
}

func (x *hashExchange) Held(piece metainfo.Piece) bool     { return x.t.pieces.Has(piece) }
func (x *hashExchange) UnderWay(piece metainfo.Piece) bool { return x.t.pieces.UnderWay(piece) }

// Blocks asks the store for what is verified: the hash worker's bits are not the loop's.
func (x *hashExchange) Blocks(piece metainfo.Piece, came, good bitset.Set) {
	for i := range x.t.trees.File(piece).Leaves(piece) {
		if x.t.store.HasBlock(metainfo.Block{Piece: piece, Index: i}) {
			good.Set(i)
		}
	}
	for i, s := range x.t.pieces.Evidence().Senders(piece) {
		if s.Known() {
			came.Set(i)
		}
	}
}

func (x *hashExchange) Awaits(r metainfo.ByteRange) bool {
	for _, d := range x.t.reads.waiting {
		if d.off < r.Off+r.Len && r.Off < d.off+int64(d.n) {
			return true
		}
	}
	return false
}

// maxUnsent is how many bytes of messages may wait for a peer whose requests for hashes are answered. It is well under
// what an honest peer leaves unread ([conn.ErrUnread]).
const maxUnsent = 128 << 10

// handleHashRequest queues a request for hashes, or refuses it. Peers that we
// choke are answered, too.
func (t *Torrent) handleHashRequest(c *peer, ask wire.HashRange) {
	if t.hashes != nil && !t.cfg.NoUpload && c.Unsent() <= maxUnsent &&
		t.trees.Admit(time.Now(), &c.answers, ask, c.Sent()) {
		select {
		case t.hashes.questions <- question{c, ask}:
			return
		default:
		}
	}
	t.post(c, func(b []byte) []byte { return wire.AppendHashReject(b, ask) })
	if err := c.flood.Add(1); err != nil {
		c.Close(err)
	}
}

// answer answers requests until the torrent ends. It has a goroutine of its own,
// because whole pieces may have to be read and hashed.
func (x *hashExchange) answer() {
	t := x.t
	a := hashes.NewAnswerer(t.trees, t.store, t.cfg.MaxPeers)
	for {
		select {
		case q := <-x.questions:
			answer, err := a.Answer(t.ctx, time.Now(), q.c.id, q.ask)
			if err != nil {
				t.log.Debug("refuse hashes: "+err.Error(), "addr", q.c.Addr)
				q.c.Send(func(b []byte) []byte { return wire.AppendHashReject(b, q.ask) })
			} else {
				q.c.Send(func(b []byte) []byte { return wire.AppendHashes(b, q.ask, answer) })
			}
			q.c.Flush()
		case <-t.done:
			return
		}
	}
}
