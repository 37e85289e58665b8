package picker

import (
	"math/bits"
	"slices"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

const defaultReqq = 250

// peer is one connection.
type peer struct {
	id   PeerID
	live int32 // place in peers.list

	have    bitset.Set // nil for a seed
	seed    bool
	missing int // pieces it has and we do not hold; not kept for seeds

	choked     bool
	interested bool // as told to the peer
	fast       bool
	allowed    []metainfo.Piece // pieces it serves although it chokes (BEP 6)
	reqq       int

	ring      ring
	cancelled int       // requests in ring that are cancelled
	requested uint32    // requests sent, modulo 2^32
	answered  uint32    // the latest request that was answered by its block, as counted by requested
	gone      []blockID // last requests that were dropped without an answer: their data may still come
	goneNext  int

	model
	suspect   bool
	probeAt   float64 // a suspect is probed from then on
	probeWait float64 // the next backoff, seconds

	affinity metainfo.Piece // piece that the background picker is on, or -1
	noneGen  uint32         // of pieces.fresh when nothing fresh was found for it
	noneAny  bool
	dirty    bool // in Picker.dirty
	refused  int  // rejects in a row
	rests    []rest
	starved  bool // had room and found nothing to request
	kept     bool // kept clear for an unissued urgent block
}

func (pr *peer) has(piece metainfo.Piece) bool { return pr.seed || pr.have.Has(piece) }

// outstanding is the number of requests that the peer still owes an answer or a block, cancelled ones aside.
func (pr *peer) outstanding() int { return pr.ring.n - pr.cancelled }

// serves reports whether the peer has a piece and would answer a request for it now.
func (pr *peer) serves(piece metainfo.Piece) bool {
	return pr.has(piece) && (!pr.choked || pr.allows(piece)) && (len(pr.rests) == 0 || !pr.resting(piece))
}

func (pr *peer) allows(piece metainfo.Piece) bool {
	return slices.Contains(pr.allowed, piece)
}

// mute reports that the peer answers no request at all.
func (pr *peer) mute() bool { return pr.choked && len(pr.allowed) == 0 }

// peerTable finds a peer by its ID: open addressing, since a map costs more than the rest of a lookup.
type peerTable struct {
	slots []*peer
	n     int
}

func (t *peerTable) slot(id PeerID) int { return int(uint32(id)*0x9e3779b1>>7) & (len(t.slots) - 1) }

func (t *peerTable) get(id PeerID) *peer {
	if t.n == 0 {
		return nil
	}
	for i := t.slot(id); ; i = (i + 1) & (len(t.slots) - 1) {
		if pr := t.slots[i]; pr == nil || pr.id == id {
			return pr
		}
	}
}

func (t *peerTable) put(pr *peer) {
	if 2*(t.n+1) > len(t.slots) {
		old := t.slots
		t.slots, t.n = make([]*peer, max(16, 2*len(old))), 0
		for _, o := range old {
			if o != nil {
				t.put(o)
			}
		}
	}
	i := t.slot(pr.id)
	for t.slots[i] != nil {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = pr
	t.n++
}

func (t *peerTable) del(id PeerID) {
	mask := len(t.slots) - 1
	i := t.slot(id)
	for t.slots[i].id != id {
		i = (i + 1) & mask
	}
	t.slots[i] = nil
	t.n--
	for j := (i + 1) & mask; t.slots[j] != nil; j = (j + 1) & mask {
		pr := t.slots[j]
		t.slots[j] = nil
		t.n--
		t.put(pr)
	}
}

// peers is the connections, and what they owe us in all.
type peers struct {
	list     []*peer
	table    peerTable
	inflight int // requests in all rings
	suspects int
	resting  int // pieces for which some peer is not asked yet, after a reject
}

func (all *peers) add(pr *peer) {
	pr.live = int32(len(all.list))
	all.list = append(all.list, pr)
	all.table.put(pr)
}

// remove takes out a peer that owes nothing.
func (all *peers) remove(pr *peer) {
	all.setSuspect(pr, false)
	for i := range pr.rests {
		if pr.rests[i].on {
			all.resting--
		}
	}
	all.table.del(pr.id)
	last := len(all.list) - 1
	all.list[pr.live] = all.list[last]
	all.list[pr.live].live = pr.live
	all.list[last] = nil
	all.list = all.list[:last]
}

// rate is the rate of the peers that serve a piece.
func (all *peers) rate(piece metainfo.Piece) float64 {
	s := 0.0
	for _, pr := range all.list {
		if pr.blocks > 0 && !pr.suspect && pr.serves(piece) {
			s += pr.rate
		}
	}
	return max(s, 50e3)
}

// PeerAdd adds a peer: choked, with nothing (unless i.Seed). A second PeerAdd of one ID forgets the first.
func (p *Picker) PeerAdd(now time.Duration, id PeerID, i PeerInfo) {
	p.clock(now)
	p.PeerGone(now, id)
	pr := &peer{id: id, choked: true, fast: i.Fast, affinity: -1, reqq: i.Reqq, probeWait: suspectBackoff}
	if pr.reqq <= 0 {
		pr.reqq = defaultReqq
	}
	pr.model.init(i.RTT)
	p.peers.add(pr)
	if i.Seed {
		pr.seed = true
	} else {
		pr.have = bitset.New(p.pieces.NumPieces())
	}
	p.updateInterest(pr)
}

// PeerGone forgets a peer; the blocks that it owed are free.
func (p *Picker) PeerGone(now time.Duration, id PeerID) {
	p.clock(now)
	pr := p.peers.table.get(id)
	if pr == nil {
		return
	}
	for pr.ring.n > 0 {
		p.drop(pr, 0)
	}
	p.uncount(pr)
	p.peers.remove(pr)
	if pr.dirty {
		i, last := slices.Index(p.dirty, pr), len(p.dirty)-1
		p.dirty[i] = p.dirty[last]
		p.dirty = p.dirty[:last]
	}
	for _, pt := range p.pieces.parts {
		if pt.owner == id {
			pt.owner = -1
		}
	}
	if len(p.pieces.failed) > 0 {
		p.reconsider()
	}
}

// SetReqq tells how many requests a peer queues (BEP 10 reqq); 0 or less: unknown.
func (p *Picker) SetReqq(id PeerID, n int) {
	if pr := p.peers.table.get(id); pr != nil {
		if n <= 0 {
			n = defaultReqq
		}
		pr.reqq = n
	}
}

// Have tells that a peer got a piece.
func (p *Picker) Have(now time.Duration, id PeerID, piece metainfo.Piece) {
	p.clock(now)
	pr := p.peers.table.get(id)
	if pr == nil || !p.pieces.hasPiece(piece) || pr.has(piece) {
		return
	}
	pr.have.Set(piece)
	p.pieces.fresh.more(piece)
	pr.noneAny = false
	if !p.pieces.held(piece) {
		pr.missing++
		p.updateInterest(pr)
		if !pr.mute() {
			p.touch(pr)
			p.plan.stale = true
		}
	}
}

// Bitfield replaces what a peer has. Bits past the last piece are ignored, missing words count as zeros; words is copied.
func (p *Picker) Bitfield(now time.Duration, id PeerID, words []uint64) {
	p.clock(now)
	pr := p.peers.table.get(id)
	if pr == nil {
		return
	}
	have := bitset.New(p.pieces.NumPieces())
	copy(have, words)
	if r := p.pieces.NumPieces() & 63; r != 0 {
		have[len(have)-1] &= 1<<uint(r) - 1
	}
	p.uncount(pr)
	pr.seed, pr.have, pr.missing, pr.noneAny = false, have, 0, false
	if have.Count() == p.pieces.NumPieces() {
		pr.seed, pr.have = true, nil
	}
	for w, word := range pr.have {
		pr.missing += bits.OnesCount64(word &^ p.pieces.heldSet[w])
		for ; word != 0; word &= word - 1 {
			p.pieces.fresh.more(w<<6 + bits.TrailingZeros64(word))
		}
	}
	p.cancelLacking(pr)
	p.updateInterest(pr)
	p.touch(pr)
	p.plan.stale = true
}

// uncount takes a peer's pieces out of the availability.
func (p *Picker) uncount(pr *peer) {
	for w, word := range pr.have {
		for ; word != 0; word &= word - 1 {
			p.pieces.fresh.less(w<<6 + bits.TrailingZeros64(word))
		}
	}
	pr.have = nil
}

// cancelLacking cancels requests for pieces that the peer turned out not to have.
func (p *Picker) cancelLacking(pr *peer) {
	for i := pr.ring.n - 1; i >= 0; i-- {
		piece, _ := p.pieces.split(pr.ring.at(i).block)
		if !pr.has(piece) {
			p.cancel(pr, i)
		}
	}
}

// HaveAll tells that a peer is a seed.
func (p *Picker) HaveAll(now time.Duration, id PeerID) {
	p.clock(now)
	if pr := p.peers.table.get(id); pr != nil && !pr.seed {
		p.uncount(pr)
		pr.seed, pr.noneAny = true, false
		p.updateInterest(pr)
		p.touch(pr)
		p.plan.stale = true
	}
}

// HaveNone tells that a peer has nothing.
func (p *Picker) HaveNone(now time.Duration, id PeerID) { p.Bitfield(now, id, nil) }

// Unhave tells that a peer no longer has a piece (BEP 54 lt_donthave).
func (p *Picker) Unhave(now time.Duration, id PeerID, piece metainfo.Piece) {
	p.clock(now)
	pr := p.peers.table.get(id)
	if pr == nil || !p.pieces.hasPiece(piece) || !pr.has(piece) {
		return
	}
	if pr.seed {
		all := bitset.New(p.pieces.NumPieces())
		all.SetRange(0, p.pieces.NumPieces())
		all.Clear(piece)
		p.Bitfield(now, id, all)
		return
	}
	pr.have.Clear(piece)
	p.pieces.fresh.less(piece)
	if !p.pieces.held(piece) {
		pr.missing--
	}
	p.cancelLacking(pr)
	p.updateInterest(pr)
	p.plan.stale = true
}

// Choke tells that a peer chokes or unchokes us. Without the Fast extension a choke drops all requests (BEP 3); with it each is
// still answered, by a piece or a reject (BEP 6).
func (p *Picker) Choke(now time.Duration, id PeerID, choked bool) {
	p.clock(now)
	pr := p.peers.table.get(id)
	if pr == nil || pr.choked == choked {
		return
	}
	pr.choked = choked
	p.plan.stale = true
	if !choked {
		p.recovered(pr)
		p.touch(pr)
		return
	}
	if !pr.fast {
		for pr.ring.n > 0 {
			p.drop(pr, 0)
		}
	}
}

// AllowedFast tells that a peer serves a piece even while it chokes (BEP 6).
func (p *Picker) AllowedFast(now time.Duration, id PeerID, piece metainfo.Piece) {
	const most = 64 // as a rule 10; more is a stranger's number
	p.clock(now)
	pr := p.peers.table.get(id)
	if pr == nil || !p.pieces.hasPiece(piece) || len(pr.allowed) >= most || pr.allows(piece) {
		return
	}
	pr.allowed = append(pr.allowed, piece)
	p.touch(pr)
	p.plan.stale = true
}

// updateInterest tells the peer where it gained the first piece that we lack, or lost the last. We stay interested in pieces that
// nobody reads or wants yet: a read then finds the peer unchoked instead of waiting for its next choke round.
func (p *Picker) updateInterest(pr *peer) {
	on := pr.missing > 0
	if pr.seed {
		on = p.pieces.nheld < p.pieces.NumPieces()
	}
	if on != pr.interested {
		pr.interested = on
		p.emit(Action{Kind: Interested, Peer: pr.id, On: on})
	}
}

// touch has the next Drain look for requests to send to a peer.
func (p *Picker) touch(pr *peer) {
	if !pr.dirty {
		pr.dirty = true
		p.dirty = append(p.dirty, pr)
	}
}
