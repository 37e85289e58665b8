package hashes

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

const ms = time.Millisecond

// asking is an Asker among peers. It checks what it asks for, and writes a trace of it.
type asking struct {
	*torrent
	t      rapid.TB
	k      *Asker
	now    time.Duration
	peers  map[picker.PeerID]Peer
	asked  map[picker.PeerID][]wire.HashRange // and not answered
	checks []Action
	whole  map[metainfo.Piece]bool
	trace  strings.Builder
}

func newAsking(t rapid.TB, o *torrent, layers bool) *asking {
	known := o.PieceLayers
	if !layers {
		known = nil
	}
	o.restart()
	return &asking{
		torrent: o, t: t, k: NewAsker(NewTrees(o.Info, known), o), peers: map[picker.PeerID]Peer{},
		asked: map[picker.PeerID][]wire.HashRange{}, whole: map[metainfo.Piece]bool{},
	}
}

func (w *asking) printf(format string, args ...any) {
	fmt.Fprintf(&w.trace, "%6d ms  ", w.now/ms)
	fmt.Fprintf(&w.trace, format+"\n", args...)
}

// drain does what the Asker asks for.
func (w *asking) drain() {
	w.t.Helper()
	for _, a := range w.k.Drain(nil) {
		switch a.Kind {
		case Ask:
			p, connected := w.peers[a.Peer]
			if !connected || !p.V2 || p.Shun || !a.Range.Valid() || a.Range.Length > 512 {
				w.t.Fatalf("peer %d, %+v, connected %v, is asked for %+v", a.Peer, p, connected, a.Range)
			}
			w.asked[a.Peer] = append(w.asked[a.Peer], a.Range)
			w.printf("  -> ask peer %d for %s", a.Peer, w.describe(a.Range))
		case Check:
			w.checks = append(w.checks, a)
			w.printf("  -> check what peer %d proves of piece %d", a.Peer, a.Piece)
		case Learned:
			w.printf("  -> judge what waits")
		case Whole:
			if w.whole[a.Piece] {
				w.t.Fatalf("piece %d is given up twice", a.Piece)
			}
			w.whole[a.Piece] = true
			w.printf("  -> nobody proves piece %d", a.Piece)
		case Forget:
			w.forget(a.Piece)
			w.printf("  -> forget piece %d", a.Piece)
		case GaveUp:
			w.printf("  -> peer %d proves nothing: %s", a.Peer, a.Reason)
		}
	}
	if err := w.k.CheckInvariants(); err != nil {
		w.t.Fatal(err)
	}
}

// describe is a range as a person reads it.
func (w *asking) describe(r wire.HashRange) string {
	what := "leaves"
	if r.Base > 0 {
		what = "nodes of the layer"
	}
	return fmt.Sprintf("%s %d to %d and %d uncles", what, r.Index, r.Index+r.Length-1, r.NumHashes()-int(r.Length))
}

func (w *asking) forget(piece metainfo.Piece) {
	delete(w.came, piece)
	delete(w.good, piece)
	delete(w.whole, piece)
	for p, pieces := range w.sent {
		w.sent[p] = slices.DeleteFunc(pieces, func(x metainfo.Piece) bool { return x == piece })
	}
}

func (w *asking) join(id picker.PeerID, p Peer) {
	w.printf("peer %d joins", id)
	w.peers[id] = p
	w.k.Joined(id, p)
	w.drain()
}

func (w *asking) leave(id picker.PeerID, webSeeds bool) (wasAsked bool) {
	w.printf("peer %d leaves", id)
	delete(w.peers, id)
	delete(w.asked, id)
	delete(w.owed, id)
	wasAsked = w.k.Left(w.now, id, webSeeds)
	w.drain()
	return wasAsked
}

func (w *asking) request(id picker.PeerID, b metainfo.Block) {
	w.printf("block %d of piece %d is requested from peer %d", b.Index, b.Piece, id)
	w.owed[id] = append(w.owed[id], b)
	w.k.Requested(w.now, id, b)
	w.drain()
}

func (w *asking) read(r metainfo.ByteRange) {
	w.printf("a read waits for %d bytes at %d", r.Len, r.Off)
	w.reads = append(w.reads, r)
	w.k.ReadBlocked(w.now, r)
	w.drain()
}

func (w *asking) block(id picker.PeerID, b metainfo.Block) {
	w.printf("block %d of piece %d comes from peer %d", b.Index, b.Piece, id)
	w.take(id, b)
	w.k.BlockCame(w.now, id, b)
	w.drain()
}

// reject has a peer reject the i-th request that it has not answered.
func (w *asking) reject(id picker.PeerID, i int) {
	r := w.asked[id][i]
	w.printf("peer %d rejects %s", id, w.describe(r))
	w.asked[id] = slices.Delete(w.asked[id], i, i+1)
	w.k.Rejected(w.now, id, r)
	w.drain()
}

// answer has a peer answer the i-th request, after spoil has had its way with the hashes.
func (w *asking) answer(id picker.PeerID, i int, spoil func(hashes []metainfo.SHA256) []metainfo.SHA256) (wasAsked bool) {
	r := w.asked[id][i]
	hashes, err := w.hashes(r)
	if err != nil {
		w.t.Fatalf("%+v is asked for: %v", r, err)
	}
	if len(hashes) != r.NumHashes() {
		w.t.Fatalf("%+v: %d hashes", r, len(hashes))
	}
	w.printf("peer %d answers %s", id, w.describe(r))
	w.asked[id] = slices.Delete(w.asked[id], i, i+1)
	if spoil != nil {
		hashes = spoil(slices.Clone(hashes))
	}
	wasAsked = w.k.Answered(w.now, id, r, hashes)
	w.drain()
	return wasAsked
}

// check has a hash worker check the oldest proof, and the blocks by it.
func (w *asking) check() {
	a := w.checks[0]
	w.checks = w.checks[1:]
	f := w.k.trees.File(a.Piece)
	valid := a.Proof.Holds(w.k.trees, f)
	w.printf("the proof of peer %d for piece %d holds: %v", a.Peer, a.Piece, valid)
	w.k.Checked(w.now, a.Peer, a.Piece, a.Proof.Ask, valid)
	w.drain()
	if !valid {
		return
	}
	first, leaves := a.Proof.Leaves(f, a.Piece)
	for i := first; i < first+len(leaves); i++ {
		if slices.Contains(w.came[a.Piece], i) && !slices.Contains(w.good[a.Piece], i) {
			w.good[a.Piece] = append(w.good[a.Piece], i)
			w.k.BlockJudged(metainfo.Block{Piece: a.Piece, Index: i}, true)
			w.drain()
		}
	}
}

// pass lets time go by; ticks and reviews come as from the loop.
func (w *asking) pass(d time.Duration, blocked bool) {
	for end := w.now + d; w.now < end; {
		second := (w.now/time.Second + 1) * time.Second
		w.now = min(end, second, max(w.k.NextDeadline(), w.now+1))
		w.k.Tick(w.now, blocked)
		w.drain()
		if w.now == second {
			w.k.Review(w.now)
			w.drain()
		}
	}
}

func flip(hashes []metainfo.SHA256) []metainfo.SHA256 {
	hashes[len(hashes)-1][0] ^= 1
	return hashes
}

func cut(hashes []metainfo.SHA256) []metainfo.SHA256 { return hashes[1:] }
