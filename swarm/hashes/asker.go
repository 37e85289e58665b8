package hashes

import (
	"slices"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

// How peers are asked for hashes (BEP 52).
const (
	proofPatience = 250 * time.Millisecond // plus three round trips: after that another peer is asked as well
	proofTimeout  = 4 * time.Second        // plus three round trips; after that a peer counts as one that proves nothing
	proofPause    = time.Minute            // for so long it is then left alone
	maxAsks       = 400                    // requests for hashes that one peer is to answer; libtorrent takes 500
	layerAsks     = 4                      // of them for piece layers
	lazyPause     = 30 * time.Millisecond  // after the request for its block a lazy peer is asked for a leaf
)

// never is later than anything that is due.
const never = time.Duration(1<<63 - 1)

// NoPeer stands for the sender of a block that cannot be asked for hashes, as a
// web seed.
const NoPeer picker.PeerID = -1

// Facts is what an Asker looks up, because others own it. The answers are those
// of the moment.
type Facts interface {
	Has(p picker.PeerID, piece metainfo.Piece) bool  // the peer has the piece
	Owes(p picker.PeerID, piece metainfo.Piece) bool // it is to send a block of it
	Sent(p picker.PeerID, piece metainfo.Piece) bool // a block of the piece, which is under way, came from it

	Held(piece metainfo.Piece) bool     // the piece is verified
	UnderWay(piece metainfo.Piece) bool // blocks of it are with a hash worker
	// Blocks marks the blocks of a piece under way that came, and those that are verified by themselves.
	Blocks(piece metainfo.Piece, came, good bitset.Set)
	Awaits(r metainfo.ByteRange) bool // a blocked read waits for some of the range
}

// Peer is what an Asker needs to know of a connection.
type Peer struct {
	V2  bool          // both sides speak BEP 52
	RTT time.Duration // 0: not known
	// Shun: it is not to be asked. Being asked ended the last connection to it.
	Shun bool
}

// Kind says what an [Action] is.
type Kind uint8

const (
	Ask     Kind = iota // ask Peer for Range
	Check               // have a hash worker check Proof by Peer, and the blocks of Piece by it; [Asker.Checked] takes the verdict
	Learned             // more of the piece layers is known: pieces that waited for their hash may be judged
	Whole               // nobody can prove leaves of Piece: reads wait for all of it
	Forget              // what is remembered of the blocks of Piece may be forgotten; they are asked for no more
	GaveUp              // Peer is asked for no leaves for a while, and Reason is why; for the log
)

// Action is one thing for the torrent's loop to do.
type Action struct {
	Kind   Kind
	Peer   picker.PeerID
	Piece  metainfo.Piece
	Range  wire.HashRange
	Proof  *Proof
	Reason string
}

// Asker decides which peer is asked for which hashes. It belongs to the
// torrent's loop. After each input, [Asker.Drain] returns what it asks for.
type Asker struct {
	trees *Trees
	facts Facts

	peers    []*peer // nil: free, and taken by the next
	byID     map[picker.PeerID]*peer
	pieces   map[metainfo.Piece]*leaves // those of whose leaves some are needed
	checking map[metainfo.Piece]int     // proofs with a hash worker
	due      time.Duration              // when the first request that is held is to be sent, at the earliest
	actions  []Action
}

// peer is a connection.
type peer struct {
	Peer
	id       picker.PeerID
	asks     []ask         // in the order in which they were last sent or rejected
	proves   bool          // its last answer was right
	lazy     bool          // it proves only when it has read of the piece, see transitions
	leavesAt time.Duration // it is not to be asked for leaves before
	layersAt time.Duration // nor for piece layers
}

// NewAsker returns an Asker for a torrent without peers.
func NewAsker(trees *Trees, facts Facts) *Asker {
	return &Asker{
		trees: trees, facts: facts, due: never,
		byID: map[picker.PeerID]*peer{}, pieces: map[metainfo.Piece]*leaves{}, checking: map[metainfo.Piece]int{},
	}
}

// Drain appends the actions since the last call to out.
func (k *Asker) Drain(out []Action) []Action {
	out = append(out, k.actions...)
	clear(k.actions)
	k.actions = k.actions[:0]
	return out
}

func (k *Asker) act(a Action) { k.actions = append(k.actions, a) }

// NextDeadline returns when [Asker.Tick] is due; it may be in the past.
func (k *Asker) NextDeadline() time.Duration { return k.due }

// Joined tells of a new connection. A number is used once.
func (k *Asker) Joined(id picker.PeerID, about Peer) {
	p := &peer{Peer: about, id: id}
	if about.Shun {
		p.leavesAt, p.layersAt = never, never
	}
	k.byID[id] = p
	if i := slices.Index(k.peers, nil); i >= 0 {
		k.peers[i] = p
	} else {
		k.peers = append(k.peers, p)
	}
}

// Left tells that a connection has ended, and reports whether the peer had been
// asked for hashes and had not answered. webSeeds: blocks come from elsewhere.
func (k *Asker) Left(now time.Duration, id picker.PeerID, webSeeds bool) (wasAsked bool) {
	p := k.byID[id]
	if p == nil {
		return false
	}
	delete(k.byID, id)
	k.peers[slices.Index(k.peers, p)] = nil
	for i := range p.asks {
		if a := &p.asks[i]; a.piece != noPiece && !a.state.givenUp() {
			k.askOthers(now, a, len(k.byID) == 0 && webSeeds)
		}
	}
	return len(p.asks) > 0
}

// each calls f for the connected peers, in an order that does not vary.
func (k *Asker) each(f func(p *peer)) {
	for _, p := range k.peers {
		if p != nil {
			f(p)
		}
	}
}

// Tick sends what was held and is due. While reads are blocked it also looks
// for proofs that are overdue although their block is here, and asks another peer
// as well.
func (k *Asker) Tick(now time.Duration, blocked bool) {
	if now >= k.due {
		k.sendHeld(now)
	}
	if blocked {
		k.each(func(p *peer) { k.hurry(now, p) })
	}
}

// sendHeld sends the requests that were held and are due.
func (k *Asker) sendHeld(now time.Duration) {
	k.due = never
	k.each(func(p *peer) {
		for i := range p.asks {
			switch a := &p.asks[i]; {
			case a.state != held:
			case a.due <= now:
				k.advance(now, p, i, pauseOver)
			default:
				k.due = min(k.due, a.due)
			}
		}
	})
}

// Review is the round to call once a second while there are peers: one that does
// not answer is left alone, and what is missing of piece layers is asked for.
func (k *Asker) Review(now time.Duration) {
	k.each(func(p *peer) {
		k.reviewTimeouts(now, p)
		for i := range p.asks {
			if a := &p.asks[i]; a.state.unsent() && !k.facts.Owes(p.id, a.piece) {
				k.advance(now, p, i, notOwed)
			}
		}
		p.asks = slices.DeleteFunc(p.asks, func(a ask) bool { return a.state.givenUp() && now-a.sent >= proofPause })
	})
	k.FetchLayers(now)
	k.reviewLeaves(now)
}

// reviewTimeouts gives a peer up that has not answered in time.
func (k *Asker) reviewTimeouts(now time.Duration, p *peer) {
	for i := range p.asks {
		a := &p.asks[i]
		if a.state.givenUp() || a.state.unsent() || now-a.sent <= proofTimeout+3*p.RTT {
			continue
		}
		if a.state == layer {
			p.layersAt = now + proofPause
		}
		k.act(Action{Kind: GaveUp, Peer: p.id, Reason: "no answer"})
		k.giveUpPeer(now, p)
		return
	}
}

// Answered takes a peer's hashes, and reports whether it was asked for them.
// The Asker keeps them until they are checked.
func (k *Asker) Answered(now time.Duration, id picker.PeerID, r wire.HashRange, hashes []metainfo.SHA256) (wasAsked bool) {
	p := k.byID[id]
	if p == nil {
		return false
	}
	i := p.find(r)
	if i < 0 {
		return false
	}
	a := p.take(i)
	pr := &Proof{Ask: r, Hashes: hashes}
	switch {
	case len(hashes) != r.NumHashes():
		k.wrong(now, p, &a)
	case a.piece == noPiece:
		k.layerCame(now, p, &a, pr)
	default:
		p.lazy = p.lazy && (a.state != asked && a.state != overdue || k.facts.Sent(id, a.piece))
		if !k.facts.UnderWay(a.piece) && (k.facts.Held(a.piece) || k.pieces[a.piece] == nil) {
			break // it is of no use any more
		}
		k.leavesOf(a.piece)
		k.checking[a.piece]++
		k.act(Action{Kind: Check, Peer: id, Piece: a.piece, Proof: pr})
	}
	return true
}

// Checked takes a hash worker's verdict on a proof of leaves of a piece. The
// peer may have left.
func (k *Asker) Checked(now time.Duration, id picker.PeerID, piece metainfo.Piece, r wire.HashRange, valid bool) {
	if k.checking[piece]--; k.checking[piece] <= 0 {
		delete(k.checking, piece)
	}
	a := ask{HashRange: r, file: k.trees.File(piece), piece: piece}
	p := k.byID[id]
	if !valid {
		k.wrong(now, p, &a)
		return
	}
	if p != nil {
		p.proves, p.leavesAt = true, 0
	}
	if l := k.pieces[piece]; l != nil {
		a.blocks(func(b metainfo.Block) { l.known.Set(b.Index) })
	}
	k.act(Action{Kind: Learned}) // a proof to the root may have told a piece's node
}

// wrong deals with an answer that proves nothing. Some clients return other
// layers' hashes: leaves are not supported there, and that is no fault.
func (k *Asker) wrong(now time.Duration, p *peer, a *ask) {
	if p != nil {
		k.act(Action{Kind: GaveUp, Peer: p.id, Reason: "wrong answer"})
		if a.piece == noPiece {
			p.layersAt = now + proofPause
			return
		}
		k.giveUpPeer(now, p)
	}
	k.askOthers(now, a, true)
}

// Rejected takes a peer's refusal.
func (k *Asker) Rejected(now time.Duration, id picker.PeerID, r wire.HashRange) {
	p := k.byID[id]
	if p == nil {
		return
	}
	i := p.find(r)
	if i < 0 {
		return
	}
	a := p.take(i)
	e := rejectedIdle
	switch {
	case a.piece == noPiece:
	case k.facts.Sent(id, a.piece):
		e = rejectedRead
	case k.facts.Owes(id, a.piece):
		e = rejectedOwing
	}
	if transitions[a.state][e].do&send != 0 {
		p.dropGivenUp(r)
	}
	p.asks = append(p.asks, a)
	k.advance(now, p, len(p.asks)-1, e)
}

// advance takes a peer's i-th request a step on.
func (k *Asker) advance(now time.Duration, p *peer, i int, e event) {
	a := &p.asks[i]
	s := transitions[a.state][e]
	if s.next == none {
		return
	}
	a.state, a.due = s.next, 0
	if s.do&send != 0 {
		a.sent = now
		k.act(Action{Kind: Ask, Peer: p.id, Range: a.HashRange})
	}
	was := *a
	if s.next == gone {
		p.take(i)
	}
	if s.do&pauseLayers != 0 {
		p.layersAt = now + proofPause
	}
	if s.do&markLazy != 0 {
		p.lazy = true
	}
	if s.do&giveUpPeer != 0 {
		k.giveUpPeer(now, p)
	}
	if s.do&askOthers != 0 {
		k.askOthers(now, &was, true)
	}
	if s.do&askProver != 0 {
		k.askProver(now, &was)
	}
}
