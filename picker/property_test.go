package picker

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// wire is what a peer was asked and told, as the other end sees it.
type wirePeer struct {
	fast, choked bool
	have         bitset.Set
	allowed      map[metainfo.Piece]bool
	reqq         int
	asked        map[metainfo.Block]bool // requested, not answered; true: cancelled
	ever         map[metainfo.Block]bool // requested at any time
	late         []metainfo.Block        // dropped by a choke: may still come
	interested   bool
}

// driver feeds a picker with random events that a swarm could cause and checks what it asks for.
type driver struct {
	t      *rapid.T
	g      metainfo.Geometry
	leaves bool
	p      *Picker
	now    time.Duration
	peers  map[PeerID]*wirePeer
	held   map[metainfo.Piece]bool
	got    map[metainfo.Block]bool
	leaf   map[metainfo.Block]bool
	wants  bitset.Set
	reads  map[ReadID]metainfo.ByteRange
	done   map[ReadID]bool
	log    []Action
}

func newDriver(t *rapid.T, leaf bool) *driver {
	bpp := rapid.SampledFrom([]int{1, 2, 5, 64, 70}).Draw(t, "blocks per piece")
	pieces := rapid.IntRange(1, 12).Draw(t, "pieces")
	length := int64(bpp) * BlockSize
	size := int64(pieces)*length - int64(rapid.IntRange(0, BlockSize-1).Draw(t, "short"))
	var pads []metainfo.ByteRange
	if bpp > 2 && rapid.Bool().Draw(t, "pads") { // all but two blocks of the first piece, and all of the last
		last := int64(pieces-1) * length
		pads = []metainfo.ByteRange{{Off: BlockSize, Len: length - 2*BlockSize}, {Off: last, Len: size - last}}
		pads = pads[:1+rapid.IntRange(0, min(1, pieces-1)).Draw(t, "whole")]
	}
	g := metainfo.NewGeometry(length, size, pads...)
	d := &driver{
		t: t, g: g, leaves: leaf, p: New(Config{LeafVerified: leaf}, g, 1), peers: map[PeerID]*wirePeer{}, held: map[metainfo.Piece]bool{}, got: map[metainfo.Block]bool{},
		leaf: map[metainfo.Block]bool{}, reads: map[ReadID]metainfo.ByteRange{}, done: map[ReadID]bool{}, wants: bitset.New(pieces),
	}
	return d
}

func (d *driver) virtual(b metainfo.Block) bool {
	for _, v := range d.g.VirtualBlocks() {
		if v.Piece == b.Piece && b.Index >= v.First && b.Index < v.First+v.Count {
			return true
		}
	}
	return false
}

// complete reports whether all blocks of a piece came.
func (d *driver) complete(piece metainfo.Piece) bool {
	for b := range d.g.NumBlocks(piece) {
		id := metainfo.Block{Piece: piece, Index: b}
		if !d.got[id] && !d.virtual(id) {
			return false
		}
	}
	return true
}

func (d *driver) step() {
	d.now += rapid.SampledFrom([]time.Duration{0, time.Millisecond, 30 * time.Millisecond, 150 * time.Millisecond, 3 * time.Second}).Draw(d.t, "pause")
	ops := []func(){
		d.opPeer, d.opPeer, d.opChoke, d.opHave, d.opAnswer, d.opAnswer, d.opAnswer, d.opAnswer, d.opAnswer, d.opAnswer,
		d.opRead, d.opRead, d.opHit, d.opCancel, d.opClose, d.opWant, d.opLost, d.opTick, d.opTick, d.opCredit, d.opVerify, d.opVerify, d.opVerify, d.opAdopt,
	}
	rapid.SampledFrom(ops).Draw(d.t, "op")()
	d.drain()
}

func (d *driver) peer() (PeerID, *wirePeer) {
	ids := make([]PeerID, 0, len(d.peers))
	for id := range d.peers {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return 0, nil
	}
	slices.Sort(ids)
	id := rapid.SampledFrom(ids).Draw(d.t, "peer")
	return id, d.peers[id]
}

func (d *driver) opPeer() {
	id := PeerID(rapid.IntRange(0, 5).Draw(d.t, "new peer"))
	if _, ok := d.peers[id]; ok && rapid.IntRange(0, 3).Draw(d.t, "go") == 0 {
		d.p.PeerGone(d.now, id)
		delete(d.peers, id)
		return
	} else if ok {
		return
	}
	w := &wirePeer{
		fast: rapid.Bool().Draw(d.t, "fast"), choked: true, have: bitset.New(d.g.NumPieces()), allowed: map[metainfo.Piece]bool{},
		reqq: rapid.SampledFrom([]int{1, 3, 250}).Draw(d.t, "reqq"), asked: map[metainfo.Block]bool{}, ever: map[metainfo.Block]bool{},
	}
	d.peers[id] = w
	d.p.PeerAdd(d.now, id, PeerInfo{RTT: 30 * time.Millisecond, Reqq: w.reqq, Fast: w.fast})
	if rapid.Bool().Draw(d.t, "seed") {
		w.have.SetRange(0, d.g.NumPieces())
		d.p.HaveAll(d.now, id)
	} else {
		for i := range d.g.NumPieces() {
			if rapid.Bool().Draw(d.t, "has") {
				w.have.Set(i)
			}
		}
		d.p.Bitfield(d.now, id, w.have)
	}
}

func (d *driver) opChoke() {
	id, w := d.peer()
	if w == nil {
		return
	}
	w.choked = rapid.IntRange(0, 3).Draw(d.t, "choke") == 0
	if w.choked && !w.fast {
		for b := range w.asked {
			w.late = append(w.late, b)
		}
		slices.SortFunc(w.late, compareBlocks)
		clear(w.asked)
	}
	d.p.Choke(d.now, id, w.choked)
}

func (d *driver) opHave() {
	id, w := d.peer()
	if w == nil {
		return
	}
	piece := rapid.IntRange(0, d.g.NumPieces()-1).Draw(d.t, "piece")
	switch rapid.IntRange(0, 4).Draw(d.t, "kind") {
	case 0:
		w.have.Clear(piece)
		d.p.Unhave(d.now, id, piece)
	case 1:
		if w.fast {
			w.allowed[piece] = true
			d.p.AllowedFast(d.now, id, piece)
		}
	default:
		w.have.Set(piece)
		d.p.Have(d.now, id, piece)
	}
}

// opAnswer has a peer answer one request, or send a block that it was asked for before a choke.
func (d *driver) opAnswer() {
	id, w := d.peer()
	if w == nil {
		return
	}
	var asked []metainfo.Block
	for b := range w.asked {
		asked = append(asked, b)
	}
	slices.SortFunc(asked, compareBlocks)
	asked = append(asked, w.late...)
	if len(asked) == 0 {
		if !w.ever[metainfo.Block{}] {
			if v := d.p.Received(d.now, id, metainfo.Block{}); v != Unrequested {
				d.t.Fatalf("block that nobody asked for: %v", v)
			}
		}
		return
	}
	i := rapid.IntRange(0, len(asked)-1).Draw(d.t, "which")
	b := asked[i]
	cancelled, open := w.asked[b]
	delete(w.asked, b)
	w.late = slices.DeleteFunc(w.late, func(x metainfo.Block) bool { return x == b })
	if open && w.fast && rapid.IntRange(0, 3).Draw(d.t, "reject") == 0 {
		if w.choked && !cancelled {
			delete(w.allowed, b.Piece) // a peer that chokes and rejects takes its promise back
		}
		d.p.Rejected(d.now, id, b)
		return
	}
	d.p.Progress(d.now, id, b, 4096)
	missing := !d.got[b] && !d.held[b.Piece]
	switch v := d.p.Received(d.now, id, b); {
	case v == NewBlock && missing:
		d.got[b] = true
		if d.leaves {
			ok := rapid.IntRange(0, 9).Draw(d.t, "leaf") > 0
			d.p.LeafVerified(d.now, b, ok)
			d.leaf[b] = ok
			if !ok {
				delete(d.got, b)
			}
		}
	case v == Duplicate && !missing:
	default:
		d.t.Fatalf("block %v from peer %d, missing %v: %v", b, id, missing, v)
	}
}

func (d *driver) opVerify() {
	for piece := range d.g.NumPieces() {
		if d.held[piece] || !d.complete(piece) {
			continue
		}
		ok := rapid.IntRange(0, 4).Draw(d.t, "hash") > 0
		d.p.Verified(d.now, piece, ok)
		if ok {
			d.held[piece] = true
		} else {
			d.forget(piece)
		}
		return
	}
}

func (d *driver) forget(piece metainfo.Piece) {
	for b := range d.g.NumBlocks(piece) {
		delete(d.got, metainfo.Block{Piece: piece, Index: b})
		delete(d.leaf, metainfo.Block{Piece: piece, Index: b})
	}
}

func (d *driver) opLost() {
	if piece := rapid.IntRange(0, d.g.NumPieces()-1).Draw(d.t, "lost"); d.held[piece] {
		delete(d.held, piece)
		d.forget(piece)
		d.p.Lost(d.now, piece)
	}
}

func (d *driver) opRead() {
	off := rapid.Int64Range(0, d.g.Size()).Draw(d.t, "off")
	n := rapid.Int64Range(0, 1<<20).Draw(d.t, "n")
	id := d.p.Read(d.now, ReaderID(rapid.IntRange(0, 2).Draw(d.t, "reader")), metainfo.ByteRange{Off: off, Len: n})
	d.reads[id] = metainfo.ByteRange{Off: off, Len: min(n, d.g.Size()-off)}
}

func (d *driver) opHit() {
	id := ReaderID(rapid.IntRange(0, 2).Draw(d.t, "reader"))
	d.p.ReadHit(d.now, id, metainfo.ByteRange{Off: rapid.Int64Range(0, d.g.Size()).Draw(d.t, "off"), Len: 256 << 10})
}

func (d *driver) opCancel() {
	var ids []ReadID
	for id := range d.reads {
		ids = append(ids, id)
	}
	if len(ids) > 0 {
		slices.Sort(ids)
		id := rapid.SampledFrom(ids).Draw(d.t, "read")
		delete(d.reads, id)
		d.p.ReadCancel(d.now, id)
	}
}

func (d *driver) opClose() {
	if rapid.IntRange(0, 4).Draw(d.t, "close") > 0 {
		return
	}
	for _, r := range d.p.readers.blocked {
		if r.reader.id == 0 {
			delete(d.reads, r.id)
		}
	}
	d.p.ReaderClose(d.now, 0)
}

func (d *driver) opWant() {
	clear(d.wants)
	var r []metainfo.ByteRange
	if rapid.Bool().Draw(d.t, "want") {
		from := rapid.IntRange(0, d.g.NumPieces()-1).Draw(d.t, "from")
		to := rapid.IntRange(from, d.g.NumPieces()-1).Draw(d.t, "to")
		d.wants.SetRange(from, to+1)
		r = []metainfo.ByteRange{{Off: int64(from) * d.g.PieceLength(), Len: int64(to-from)*d.g.PieceLength() + 1}}
	}
	d.p.SetWant(d.now, r)
}

func (d *driver) opCredit() {
	c := rapid.Int64Range(0, 64).Draw(d.t, "credit") * BlockSize
	d.p.SetCredit(d.now, Credit{Urgent: c + 128*BlockSize, ReadAhead: c, Background: c / 2})
}

// opAdopt finds a block on disk, or gives up on the leaves of its piece.
func (d *driver) opAdopt() {
	piece := rapid.IntRange(0, d.g.NumPieces()-1).Draw(d.t, "piece")
	b := metainfo.Block{Piece: piece, Index: rapid.IntRange(0, d.g.NumBlocks(piece)-1).Draw(d.t, "block")}
	if !d.leaves || rapid.Bool().Draw(d.t, "whole") {
		d.p.Whole(d.now, piece)
		return
	}
	if !d.held[piece] && !d.got[b] && !d.virtual(b) {
		d.got[b], d.leaf[b] = true, true
		d.p.Adopt(d.now, b)
	}
}

func (d *driver) opTick() {
	if at := d.p.NextDeadline(); at != Never && at < d.now+time.Second {
		d.now = max(d.now, at)
	}
	d.p.Tick(d.now)
}

func (d *driver) drain() {
	before := len(d.log)
	d.log = d.p.Drain(d.log)
	for _, a := range d.log[before:] {
		d.check(a)
	}
	if err := d.p.CheckInvariants(); err != nil {
		d.t.Fatal(err)
	}
	for id, r := range d.reads {
		if !d.done[id] && d.served(r) {
			d.t.Fatalf("read %d of %v is served but not done", id, r)
		}
	}
}

func (d *driver) served(r metainfo.ByteRange) bool {
	for off := r.Off; off < r.Off+r.Len; off = off/BlockSize*BlockSize + BlockSize {
		piece := d.g.PieceOf(off)
		b := metainfo.Block{Piece: piece, Index: int(off % d.g.PieceLength() / BlockSize)}
		if !d.held[piece] && !(d.leaves && (d.virtual(b) || d.got[b] && d.leaf[b])) {
			return false
		}
	}
	return true
}

func (d *driver) check(a Action) {
	w := d.peers[a.Peer]
	switch a.Kind {
	case Request:
		d.checkRequest(a, w)
	case Cancel:
		if cancelled, ok := w.asked[a.Block]; !ok || cancelled {
			d.t.Fatalf("%+v: not requested, or cancelled before", a)
		}
		w.asked[a.Block] = true
	case Interested:
		if w.interested == a.On {
			d.t.Fatalf("%+v: nothing changed", a)
		}
		w.interested = a.On
	case ReadDone:
		r, ok := d.reads[a.Read]
		if !ok || d.done[a.Read] || !d.served(r) {
			d.t.Fatalf("%+v: known %v, done before %v", a, ok, d.done[a.Read])
		}
		d.done[a.Read] = true
		delete(d.reads, a.Read)
	}
}

func (d *driver) checkRequest(a Action, w *wirePeer) {
	piece := a.Block.Piece
	_, twice := w.asked[a.Block]
	switch {
	case twice:
		// Without the Fast extension an obeyed CANCEL stays unanswered, so the picker gives such requests up by time.
		if !w.asked[a.Block] {
			d.t.Fatalf("%+v: requested twice", a)
		}
	case !w.have.Has(piece):
		d.t.Fatalf("%+v: a piece that the peer lacks", a)
	case w.choked && !w.allowed[piece]:
		d.t.Fatalf("%+v: the peer chokes", a)
	case d.held[piece] || d.got[a.Block]:
		d.t.Fatalf("%+v: held", a)
	case d.virtual(a.Block):
		d.t.Fatalf("%+v: zeros", a)
	}
	if !d.wants.Has(piece) && !d.p.readers.reserved(piece) {
		d.t.Fatalf("%+v: nobody wants it", a)
	}
	w.late = slices.DeleteFunc(w.late, func(x metainfo.Block) bool { return x == a.Block })
	w.asked[a.Block], w.ever[a.Block] = false, true
	live := 0
	for _, cancelled := range w.asked {
		if !cancelled {
			live++
		}
	}
	if live > w.reqq {
		d.t.Fatalf("%+v: %d requests, limit %d", a, live, w.reqq)
	}
}

func TestAnyEvents(t *testing.T) {
	for _, leaf := range []bool{false, true} {
		t.Run(fmt.Sprintf("leaf=%v", leaf), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				d := newDriver(t, leaf)
				for range rapid.SampledFrom([]int{10, 50, 400}).Draw(t, "steps") {
					d.step()
				}
			})
		})
	}
}

func compareBlocks(a, b metainfo.Block) int {
	return cmp.Or(cmp.Compare(a.Piece, b.Piece), cmp.Compare(a.Index, b.Index))
}

// A block and its number in the picker name each other, in every torrent that package metainfo lets pass; what is no block is told
// apart, and a range is cut to the torrent.
func TestGeometryNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.OneOf(rapid.Int64Range(1, 5*BlockSize), rapid.SampledFrom([]int64{BlockSize, 1 << 20, metainfo.MaxPieceLength})).Draw(t, "piece length")
		most := min(metainfo.MaxBlocks/((length+BlockSize-1)/BlockSize), metainfo.MaxPieces) * length
		g := geometry{Geometry: metainfo.NewGeometry(length, rapid.Int64Range(1, most).Draw(t, "size"))}
		b := metainfo.Block{Piece: metainfo.Piece(rapid.IntRange(0, int(g.NumPieces())-1).Draw(t, "piece"))}
		b.Index = rapid.IntRange(0, g.NumBlocks(b.Piece)-1).Draw(t, "block")
		if !g.hasBlock(b) || g.block(g.id(b.Piece, b.Index)) != b {
			t.Fatalf("%v is block %v", b, g.block(g.id(b.Piece, b.Index)))
		}
		for _, x := range []metainfo.Block{{Piece: -1}, {Piece: g.NumPieces()}, {Piece: b.Piece, Index: -1}, {Piece: b.Piece, Index: g.NumBlocks(b.Piece)}} {
			if g.hasBlock(x) {
				t.Fatalf("%v is a block", x)
			}
		}
		r := metainfo.ByteRange{Off: rapid.Int64().Draw(t, "off"), Len: rapid.Int64().Draw(t, "len")}
		if off, end := g.clip(r); off < 0 || off > end || end > g.Size() {
			t.Fatalf("%v is cut to [%d, %d)", r, off, end)
		}
		off := b.Begin()
		if at := g.pieceAfter(int64(b.Piece)*length + int64(off)); off == 0 && at != b.Piece || off > 0 && at != min(b.Piece+1, g.NumPieces()) {
			t.Fatalf("the piece after %v is %d", b, at)
		}
	})
}
