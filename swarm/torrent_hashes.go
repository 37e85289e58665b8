package swarm

import (
	"fmt"
	"math/bits"
	"net/netip"
	"time"

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
	idleProofs    = 256                    // pieces whose leaves are remembered although nothing is under way
)

// blockProofs is what the loop knows of the proofs of one piece's blocks.
type blockProofs struct {
	file   *v2File
	wanted bitfield // blocks that a reader needs
	came   bitfield // received
	good   bitfield // committed by themselves
	known  bitfield // whose leaf is known
	asked  bitfield // whose leaf somebody was asked for, and may still tell
	jobs   int      // proofs at a hash worker
	whole  bool     // nobody can prove its leaves: the reader waits for the whole piece
}

func (b *blockProofs) idle() bool {
	if b.jobs > 0 {
		return false
	}
	for i := range b.came {
		if b.came[i]&^b.good[i] != 0 {
			return false
		}
	}
	return true
}

// hashAsk is a request for hashes that a peer has not answered.
type hashAsk struct {
	wire.HashRange
	file  *v2File
	piece int // of leaves; -1: nodes of the piece layer
	sent  time.Duration
	again bool // it was rejected once
	wait  bool // rejected, and to be asked again when a block of the range came
	late  bool // given up; a late answer is as good as any
}

// covers reports whether the answer tells the leaf of a block.
func (a *hashAsk) covers(t *Torrent, piece, block int) bool {
	if a.piece != piece {
		return false
	}
	i := a.file.leafIndex(piece, t.info.BlocksPerPiece()) + block - int(a.Index)
	return i >= 0 && i < int(a.Length)
}

// proofsOf returns what is known of a piece's proofs, made when it is first asked for.
func (t *Torrent) proofsOf(piece int) *blockProofs {
	if b := t.proofs[piece]; b != nil {
		return b
	}
	f := t.trees.at(piece)
	if f == nil {
		return nil
	}
	n := t.info.NumBlocks(piece)
	b := &blockProofs{
		file: f, wanted: newBitfield(n), came: newBitfield(n), good: newBitfield(n), known: newBitfield(n), asked: newBitfield(n),
	}
	if h := t.hashing[piece]; h != nil { // the worker's bits are not ours: ask the store
		for i := range f.leaves(piece, t.info.PieceLength()) {
			if t.store.HasBlock(piece, i) {
				b.good.set(i)
			}
		}
		for i, s := range t.blame.senders[piece] {
			if s.IsValid() {
				b.came.set(i)
			}
		}
	}
	t.proofs[piece] = b
	return b
}

// requested follows a request for a block from c. Where a reader needs it, or
// its piece was wrong before, c itself is asked for its leaf if it can prove
// that, so that the proof comes with the block; else another is, else the
// reader has to wait for the piece. All leaves of a piece that a reader will
// come to are asked for at once.
func (t *Torrent) requested(c *peerConn, piece, block int, wanted bool) {
	if _, bad := t.suspicious[piece]; !wanted && !bad {
		return
	}
	b := t.proofsOf(piece)
	if b == nil || b.whole || b.known.has(block) || block >= b.file.leaves(piece, t.info.PieceLength()) {
		return
	}
	if b.file.level == 0 {
		return // one block is the piece, and verifies with it
	}
	b.wanted.set(block)
	n := 2
	if !t.awaitedBlock(piece, block) {
		if b.asked.has(block) {
			return
		}
		n = min(1<<b.file.level, maxAsk)
	}
	switch {
	case t.canProve(c, piece):
		t.askLeaves(c, b, piece, block, n)
	case b.asked.has(block):
	case !t.askAnother(b, piece, block, n):
		t.fetchWhole(b, piece)
	}
}

// proveDemands asks for the leaves of what new reads wait for and nobody was
// just asked for: blocks that had been requested or were here before.
func (t *Torrent) proveDemands() {
	for _, d := range t.fresh {
		if t.waiting[d.id] == d {
			t.proveDemand(d)
		}
	}
	clear(t.fresh)
	t.fresh = t.fresh[:0]
}

func (t *Torrent) proveDemand(d *demand) {
	last := t.info.PieceOf(d.off + int64(d.n) - 1)
	for piece := t.info.PieceOf(d.off); piece <= last; piece++ {
		if t.held.has(piece) {
			continue
		}
		b := t.proofsOf(piece)
		if b == nil || b.whole || b.file.level == 0 {
			continue
		}
		start := int64(piece) * t.info.PieceLength()
		from := int(max(d.off-start, 0) / blockSize)
		end := min(int((d.off+int64(d.n)-start+blockSize-1)/blockSize), b.file.leaves(piece, t.info.PieceLength()))
		for i := from; i < end && !b.whole; i++ {
			if b.good.has(i) || b.known.has(i) {
				continue
			}
			b.wanted.set(i)
			if !b.asked.has(i) && !t.askAnother(b, piece, i, 2) && b.came.has(i) {
				t.fetchWhole(b, piece)
			}
		}
	}
}

// canProve reports whether a peer may be asked for the leaves of a piece.
func (t *Torrent) canProve(c *peerConn, piece int) bool {
	return c.v2 && c.remote.has(piece) && t.now() >= c.proveAgain && len(c.asks) < maxAsks
}

// askLeaves sends one request, unless the peer was asked for the same already.
func (t *Torrent) askLeaves(c *peerConn, b *blockProofs, piece, block, n int) {
	for i := range c.asks {
		if a := &c.asks[i]; !a.late && a.covers(t, piece, block) {
			return
		}
	}
	ask := hashAsk{HashRange: t.leafAsk(b.file, piece, block, n), file: b.file, piece: piece, sent: t.now()}
	t.eachBlock(&ask, func(i int) { b.asked.set(i) })
	t.sendAsk(c, ask)
}

func (t *Torrent) sendAsk(c *peerConn, ask hashAsk) {
	c.asks = append(c.asks, ask)
	t.post(c, func(b []byte) []byte { return wire.AppendHashRequest(b, ask.HashRange) })
}

// eachBlock calls f for the blocks whose leaves a request for leaves covers.
func (t *Torrent) eachBlock(a *hashAsk, f func(block int)) {
	first := int(a.Index) - a.file.leafIndex(a.piece, t.info.BlocksPerPiece())
	for i := max(first, 0); i < first+int(a.Length) && i < t.info.NumBlocks(a.piece); i++ {
		f(i)
	}
}

// askAnother asks whoever can prove a block's leaf soonest, and says whether
// there was anybody.
func (t *Torrent) askAnother(b *blockProofs, piece, block, n int) bool {
	var best *peerConn
	for _, c := range t.peers {
		if c == nil || !t.canProve(c, piece) || t.isAsked(c, piece, block) {
			continue
		}
		if best == nil || c.proves && !best.proves || c.proves == best.proves && c.rtt < best.rtt {
			best = c
		}
	}
	if best == nil {
		return false
	}
	t.askLeaves(best, b, piece, block, n)
	return true
}

func (t *Torrent) isAsked(c *peerConn, piece, block int) bool {
	for i := range c.asks {
		if c.asks[i].covers(t, piece, block) {
			return true
		}
	}
	return false
}

// fetchWhole gives up on the leaves of a piece.
func (t *Torrent) fetchWhole(b *blockProofs, piece int) {
	if !b.whole {
		b.whole = true
		t.picker.Whole(t.now(), piece)
	}
}

// handleHashes takes a peer's answer. One that was not asked for is ignored: it
// may be late.
func (t *Torrent) handleHashes(c *peerConn, e peerEvent) {
	i := c.findAsk(e.ask)
	if i < 0 {
		c.strikes++
		return
	}
	a := c.takeAsk(i)
	pr := &proof{ask: a.HashRange, hashes: e.hashes, from: c}
	if len(pr.hashes) != a.NumHashes() {
		t.wrongHashes(c, &a)
		return
	}
	if a.piece < 0 {
		t.handleLayer(c, a, pr)
		return
	}
	h := t.hashing[a.piece]
	if h == nil {
		if t.held.has(a.piece) || t.proofs[a.piece] == nil {
			return
		}
		h = newPieceHash(t, a.piece)
		t.hashing[a.piece] = h
	}
	t.proofsOf(a.piece).jobs++
	t.hashJobs.Add(1)
	t.s.hashers.submit(hashJob{p: h, proof: pr})
}

// handleProof takes a hash worker's word on a proof.
func (t *Torrent) handleProof(r hashResult) {
	c := r.proof.from
	b := t.proofs[r.piece]
	if b != nil {
		b.jobs--
	}
	a := hashAsk{HashRange: r.proof.ask, piece: r.piece}
	if b != nil {
		a.file = b.file
	}
	if !r.valid {
		t.wrongHashes(c, &a)
		return
	}
	c.proves, c.proveAgain = true, 0
	if b != nil {
		t.eachBlock(&a, func(i int) { b.known.set(i) })
	}
	t.judgeWaiting() // a proof to the root may have told a piece's node
}

// wrongHashes deals with an answer that proves nothing. Some clients return
// other layers' hashes: leaves are not supported there, and that is no fault.
func (t *Torrent) wrongHashes(c *peerConn, a *hashAsk) {
	t.log.Debug("peer proves no hashes: wrong answer", "addr", c.addr, "client", c.client)
	if a.piece < 0 {
		c.layerAgain = t.now() + proofPause
		return
	}
	t.notProver(c)
	t.proofFailed(a, true)
}

// handleHashReject takes a peer's refusal. A seed that has not hashed its own
// data rejects leaves until it has read the block: it is asked again after it
// sent one of the range.
func (t *Torrent) handleHashReject(c *peerConn, e peerEvent) {
	i := c.findAsk(e.ask)
	if i < 0 {
		return
	}
	a := c.takeAsk(i)
	switch {
	case a.piece < 0:
		c.layerAgain = t.now() + proofPause
		return
	case a.late:
		return
	}
	if !a.again {
		a.again = true
		came := false
		if b := t.proofs[a.piece]; b != nil {
			t.eachBlock(&a, func(i int) { came = came || b.came.has(i) })
		}
		if came {
			a.sent = t.now()
			t.sendAsk(c, a)
		} else {
			a.wait = true
			c.asks = append(c.asks, a)
			t.askProver(&a)
		}
		return
	}
	t.notProver(c)
	t.proofFailed(&a, true)
}

// notProver leaves a peer alone that was of no use for hashes.
func (t *Torrent) notProver(c *peerConn) {
	c.proves = false
	c.proveAgain = t.now() + proofPause
	asks := c.asks
	c.asks = nil
	for _, a := range asks {
		if a.piece < 0 || a.late {
			continue
		}
		late := a
		late.late = true
		c.asks = append(c.asks, late)
		t.proofFailed(&a, true)
	}
}

// proofFailed asks others for leaves that a peer did not prove. Where nobody is
// left who could, and resign says so, the piece is fetched as a whole.
func (t *Torrent) proofFailed(a *hashAsk, resign bool) {
	b := t.proofs[a.piece]
	if b == nil || b.whole {
		return
	}
	t.eachBlock(a, func(i int) {
		if !t.anyAsked(a.piece, i) {
			b.asked.clear(i)
		}
	})
	t.eachBlock(a, func(i int) {
		if b.wanted.has(i) && !b.known.has(i) && !b.asked.has(i) && !b.whole {
			if !t.askAnother(b, a.piece, i, 2) && resign {
				t.fetchWhole(b, a.piece)
			}
		}
	})
}

// askProver asks a peer that has proven leaves before, if there is one, for
// what another refused for now.
func (t *Torrent) askProver(a *hashAsk) {
	b := t.proofs[a.piece]
	if b == nil || b.whole {
		return
	}
	for _, c := range t.peers {
		if c == nil || !c.proves || !t.canProve(c, a.piece) {
			continue
		}
		t.eachBlock(a, func(i int) {
			if b.wanted.has(i) && !b.known.has(i) {
				t.askLeaves(c, b, a.piece, i, 2)
			}
		})
		return
	}
}

// findAsk is the place of the request that an answer is for, or -1.
func (c *peerConn) findAsk(r wire.HashRange) int {
	for i := range c.asks {
		if c.asks[i].HashRange == r {
			return i
		}
	}
	return -1
}

func (c *peerConn) takeAsk(i int) hashAsk {
	a := c.asks[i]
	c.asks = append(c.asks[:i], c.asks[i+1:]...)
	return a
}

// forgetLate drops requests whose answer is not expected any more.
func (c *peerConn) forgetLate(now time.Duration) {
	kept := c.asks[:0]
	for _, a := range c.asks {
		if !a.late || now-a.sent < proofPause {
			kept = append(kept, a)
		}
	}
	c.asks = kept
}

// anyAsked reports whether some peer may still tell a block's leaf.
func (t *Torrent) anyAsked(piece, block int) bool {
	for _, c := range t.peers {
		if c == nil {
			continue
		}
		for i := range c.asks {
			if a := &c.asks[i]; !a.late && a.covers(t, piece, block) {
				return true
			}
		}
	}
	return false
}

// blockCame sends again what was rejected because its block had not been read.
func (t *Torrent) blockCame(c *peerConn, piece, block int) {
	if b := t.proofs[piece]; b != nil {
		b.came.set(block)
	}
	for i := range c.asks {
		if a := &c.asks[i]; a.wait && a.covers(t, piece, block) {
			a.wait, a.sent = false, t.now()
			t.post(c, func(b []byte) []byte { return wire.AppendHashRequest(b, a.HashRange) })
		}
	}
}

// leafVerdicts takes what hash workers found of single blocks.
func (t *Torrent) leafVerdicts(r hashResult) {
	b, now := t.proofs[r.piece], t.now()
	for _, block := range r.good {
		if b != nil {
			b.good.set(block)
		}
		t.picker.LeafVerified(now, t.blockID(r.piece, block), true)
	}
	for _, block := range r.bad {
		if b != nil {
			b.came.clear(block)
		}
		t.wasted += int64(t.info.BlockLen(r.piece, block))
		if liar := t.blame.sender(r.piece, block); liar.IsValid() {
			t.banLiars([]netip.AddrPort{liar}) // also where he has left
		}
		t.picker.LeafVerified(now, t.blockID(r.piece, block), false)
	}
}

func (t *Torrent) blockID(piece, block int) picker.BlockID {
	return picker.BlockID(piece*t.info.BlocksPerPiece() + block)
}

// hurryProofs looks for proofs that are overdue although their block is here,
// and asks somebody else as well. It runs with the picker's ticks while a read
// is blocked.
func (t *Torrent) hurryProofs(now time.Duration) {
	for _, c := range t.peers {
		if c == nil {
			continue
		}
		for i := 0; i < len(c.asks); i++ {
			a := c.asks[i]
			if a.late || a.piece < 0 || now-a.sent < proofPatience+3*c.rtt {
				continue
			}
			b := t.proofs[a.piece]
			if b == nil || b.whole {
				continue
			}
			t.eachBlock(&a, func(k int) {
				if b.wanted.has(k) && b.came.has(k) && !b.known.has(k) && now-t.askedLast(a.piece, k) >= proofPatience {
					t.askAnother(b, a.piece, k, 2)
				}
			})
		}
	}
}

// askedLast is when a block's leaf was last asked for.
func (t *Torrent) askedLast(piece, block int) (at time.Duration) {
	for _, c := range t.peers {
		if c == nil {
			continue
		}
		for i := range c.asks {
			if a := &c.asks[i]; a.covers(t, piece, block) {
				at = max(at, a.sent)
			}
		}
	}
	return at
}

// reviewAsks is the once-a-second round: who does not answer is left alone, and
// what is missing of piece layers is asked for.
func (t *Torrent) reviewAsks(now time.Duration) {
	if t.trees == nil {
		return
	}
	for _, c := range t.peers {
		if c == nil {
			continue
		}
		for i := range c.asks {
			if a := &c.asks[i]; !a.late && !a.wait && now-a.sent > proofTimeout+3*c.rtt {
				if a.piece < 0 {
					c.layerAgain = now + proofPause
				}
				t.log.Debug("peer proves no hashes: no answer", "addr", c.addr, "client", c.client)
				t.notProver(c)
				break
			}
		}
		c.forgetLate(now)
	}
	t.fetchLayers(now)
	for piece, b := range t.proofs {
		t.reviewProofs(b, piece)
	}
	if len(t.proofs) > idleProofs {
		for piece, b := range t.proofs {
			if b.idle() && !t.awaited(piece) {
				delete(t.proofs, piece)
				t.hashing[piece] = nil
				delete(t.blame.senders, piece)
			}
		}
	}
}

// reviewProofs asks for leaves of blocks that are here and that nobody is
// asked for any more: their prover has left.
func (t *Torrent) reviewProofs(b *blockProofs, piece int) {
	for w := range b.wanted {
		for missing := b.wanted[w] & b.came[w] &^ (b.known[w] | b.asked[w] | b.good[w]); missing != 0 && !b.whole; missing &= missing - 1 {
			if block := 64*w + bits.TrailingZeros64(missing); !t.askAnother(b, piece, block, 2) && t.live > 0 {
				t.fetchWhole(b, piece)
			}
		}
	}
}

// awaited reports whether a blocked read needs a piece.
func (t *Torrent) awaited(piece int) bool {
	for _, d := range t.waiting {
		if piece >= t.info.PieceOf(d.off) && piece <= t.info.PieceOf(d.off+int64(d.n)-1) {
			return true
		}
	}
	return false
}

// awaitedBlock reports whether a blocked read needs a block.
func (t *Torrent) awaitedBlock(piece, block int) bool {
	from := int64(piece)*t.info.PieceLength() + int64(block)*blockSize
	for _, d := range t.waiting {
		if d.off < from+blockSize && from < d.off+int64(d.n) {
			return true
		}
	}
	return false
}

// fetchLayers asks peers for what is missing of piece layers.
func (t *Torrent) fetchLayers(now time.Duration) {
	if t.trees == nil || !t.trees.lacks() {
		return
	}
	asked := map[wire.HashRange]bool{}
	for _, c := range t.peers {
		if c != nil {
			for i := range c.asks {
				if a := &c.asks[i]; a.piece < 0 && !a.late {
					asked[a.HashRange] = true
				}
			}
		}
	}
	for _, c := range t.peers {
		if c == nil || !c.v2 || now < c.layerAgain || len(c.asks) >= maxAsks {
			continue
		}
		n := 0
		for i := range c.asks {
			if c.asks[i].piece < 0 {
				n++
			}
		}
		t.fetchLayersFrom(c, asked, layerAsks-n)
	}
}

func (t *Torrent) fetchLayersFrom(c *peerConn, asked map[wire.HashRange]bool, n int) {
	for i := range t.trees.files {
		f := &t.trees.files[i]
		for at := 0; n > 0; {
			if at = t.trees.gapFrom(f, at); at < 0 {
				break
			}
			ask := layerAsk(f, at)
			if !asked[ask] {
				asked[ask] = true
				t.sendAsk(c, hashAsk{HashRange: ask, file: f, piece: -1, sent: t.now()})
				n--
			}
			at = int(ask.Index + ask.Length)
		}
		if n <= 0 {
			return
		}
	}
}

// handleLayer takes nodes of a piece layer, and has the pieces judged that
// waited for them.
func (t *Torrent) handleLayer(c *peerConn, a hashAsk, pr *proof) {
	if !pr.layerHolds(t.trees, a.file) {
		t.wrongHashes(c, &a)
		return
	}
	t.judgeWaiting()
	t.fetchLayers(t.now())
}

// judgeWaiting has the pieces judged that are complete and whose hash has only
// now become known.
func (t *Torrent) judgeWaiting() {
	for piece := range t.unjudged {
		if _, known := t.trees.node(t.trees.at(piece), piece); known {
			delete(t.unjudged, piece)
			if h := t.hashing[piece]; h != nil {
				t.hashJobs.Add(1)
				t.s.hashers.submit(hashJob{p: h})
			}
		}
	}
}

// adoptBlocks tells the picker of a piece's blocks that are verified by themselves.
func (t *Torrent) adoptBlocks(piece int) {
	if t.trees == nil {
		return
	}
	for b := range t.info.NumBlocks(piece) {
		if t.store.HasBlock(piece, b) {
			t.picker.Adopt(t.now(), t.blockID(piece, b))
		}
	}
}

// clashError says that a hybrid torrent contradicts itself.
func clashError(piece int) error {
	return fmt.Errorf("%w: the v1 and the v2 hash of piece %d are of different data", ErrContradiction, piece)
}
