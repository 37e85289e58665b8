package hashes

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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

// Whatever happens, the Asker asks for what may be asked of whom it may ask, and does not contradict itself; and once a
// peer is there that proves everything, no block that came and is needed waits without end. Piece layers come, too, once no
// peers are left that keep silent.
func TestAnyEvents(t *testing.T) {
	const piece = 8 * blockSize
	hybrid := newTorrent(t, metainfo.Hybrid, piece, 5*piece+3*blockSize+1, 100, 2*piece+1)
	pure := newTorrent(t, metainfo.V2, piece, 5*piece+3*blockSize+1, piece, blockSize, 2*piece+1)
	rapid.Check(t, func(t *rapid.T) {
		o := pure
		if rapid.Bool().Draw(t, "hybrid") {
			o = hybrid
		}
		w := newAsking(t, o, rapid.Bool().Draw(t, "layers"))
		defer func() {
			if t.Failed() {
				t.Log(w.trace.String())
			}
		}()
		n := o.Info.NumPieces()
		next := picker.PeerID(1)
		drawPeer := func() picker.PeerID {
			return rapid.SampledFrom(slices.Sorted(maps.Keys(w.peers))).Draw(t, "peer")
		}
		drawBlock := func() metainfo.Block {
			p := rapid.IntRange(0, n-1).Draw(t, "piece")
			return metainfo.Block{Piece: p, Index: rapid.IntRange(0, o.Info.NumBlocks(p)-1).Draw(t, "block")}
		}
		join := func() {
			if rapid.IntRange(0, 3).Draw(t, "lacks") == 0 {
				o.lacks[next] = rapid.IntRange(0, n-1).Draw(t, "lacked")
			}
			w.join(next, Peer{
				V2: rapid.IntRange(0, 5).Draw(t, "v2") > 0, Shun: rapid.IntRange(0, 9).Draw(t, "shun") == 0,
				RTT: time.Duration(rapid.IntRange(0, 3).Draw(t, "rtt")) * 100 * ms,
			})
			next++
		}
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			what := rapid.IntRange(0, 13).Draw(t, "what")
			if len(w.peers) == 0 {
				what = 0
			}
			switch what {
			case 0:
				join()
			case 1:
				w.leave(drawPeer(), rapid.Bool().Draw(t, "web seeds"))
			case 2, 3, 4:
				id, b := drawPeer(), drawBlock()
				if rapid.IntRange(0, 9).Draw(t, "web seed") == 0 {
					id = NoPeer
				}
				if !o.Held(b.Piece) && !slices.Contains(o.came[b.Piece], b.Index) {
					w.request(id, b)
				}
			case 5:
				from := drawBlock()
				off := w.k.trees.blockRange(from).Off
				w.read(metainfo.ByteRange{Off: off, Len: rapid.Int64Range(1, min(3*blockSize, o.Info.Size()-off)).Draw(t, "bytes")})
			case 6:
				o.reads = nil
			case 7, 8:
				for _, id := range append(slices.Sorted(maps.Keys(w.peers)), NoPeer) {
					if owed := o.owed[id]; len(owed) > 0 {
						w.block(id, rapid.SampledFrom(owed).Draw(t, "owed"))
						break
					}
				}
			case 9, 10, 11:
				id := drawPeer()
				if len(w.asked[id]) == 0 {
					r := wire.HashRange{Root: w.k.trees.files[0].root, Length: 2}
					w.k.Rejected(w.now, id, r) // nobody asked
					w.drain()
					break
				}
				i := rapid.IntRange(0, len(w.asked[id])-1).Draw(t, "request")
				switch rapid.IntRange(0, 5).Draw(t, "answer") {
				case 0, 1:
					w.answer(id, i, nil)
				case 2:
					w.answer(id, i, flip)
				case 3:
					w.answer(id, i, cut)
				default:
					w.reject(id, i)
				}
			case 12:
				if len(w.checks) > 0 {
					w.check()
				}
			case 13:
				w.pass(time.Duration(rapid.SampledFrom([]int{10, 40, 300, 1500, 5000, 70000}).Draw(t, "ms"))*ms, len(o.reads) > 0)
			}
			if p := rapid.IntRange(0, 40).Draw(t, "judged"); p < n && o.UnderWay(p) {
				w.forget(p)
				w.k.Forgotten(p)
				if rapid.Bool().Draw(t, "right") {
					o.held = append(o.held, p)
				}
				w.drain()
			}
		}
		w.join(next, Peer{V2: true})
		settle := func(seconds int) {
			for range seconds {
				for len(w.asked[next]) > 0 {
					w.answer(next, 0, nil)
				}
				for len(w.checks) > 0 {
					w.check()
				}
				w.pass(time.Second, true)
			}
		}
		settle(80)
		for piece, l := range w.k.pieces {
			for i := range l.file.Leaves(piece) {
				if l.lacks(i) && l.came.Has(i) && !l.good.Has(i) && !l.whole && !o.Held(piece) {
					t.Fatalf("block %d of piece %d waits for its leaf without end", i, piece)
				}
			}
		}
		for _, id := range slices.Sorted(maps.Keys(w.peers)) { // silent ones are asked for layers in turns
			if id != next {
				w.leave(id, false)
			}
		}
		settle(5)
		if w.k.trees.lacks() {
			t.Fatal("layers are missing")
		}
	})
}

// Peers that do not speak v2 are not asked, nor those that do not have the piece; without others it is fetched whole.
func TestNobodyToAsk(t *testing.T) {
	const piece = 8 * blockSize
	w := newAsking(t, newTorrent(t, metainfo.V2, piece, 4*piece), true)
	w.join(1, Peer{})
	w.join(2, Peer{V2: true, Shun: true})
	w.join(3, Peer{V2: true})
	w.lacks[3] = 2
	w.request(1, metainfo.Block{Piece: 2, Index: 3})
	if len(w.asked) > 0 || !w.whole[2] {
		t.Errorf("asked %v, whole %v", w.asked, w.whole)
	}
	w.request(1, metainfo.Block{Piece: 1, Index: 3})
	if len(w.asked[3]) != 1 || w.whole[1] {
		t.Errorf("asked %v, whole %v", w.asked, w.whole)
	}
	if !w.leave(3, true) || w.leave(1, true) {
		t.Error("want that peer 3 was asked, and peer 1 was not")
	}
}

// What is remembered of pieces that were read in part stays bounded, and what is under way is kept.
func TestPiecesAreForgotten(t *testing.T) {
	const piece = 2 * blockSize
	w := newAsking(t, newTorrent(t, metainfo.V2, piece, 700*piece), true)
	w.join(1, Peer{V2: true})
	for p := range 500 {
		b := metainfo.Block{Piece: p}
		w.request(1, b)
		w.block(1, b)
		w.answer(1, 0, nil)
		if w.check(); p == 3 || p == 5 {
			w.block(1, metainfo.Block{Piece: p, Index: 1})
			w.good[p] = w.good[p][:1]
		}
	}
	w.read(w.k.trees.pieceRange(7))
	w.pass(2*time.Second, false)
	if n := len(w.k.pieces); n > idlePieces {
		t.Errorf("%d pieces are remembered", n)
	}
	for _, p := range []metainfo.Piece{5, 7} {
		if w.k.pieces[p] == nil {
			t.Errorf("piece %d is forgotten", p)
		}
	}
}

var update = flag.Bool("update", false, "write the golden traces anew")

// golden compares a trace with the one in testdata.
func (w *asking) golden(t *testing.T, name string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(w.trace.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if w.trace.String() != string(want) {
		t.Errorf("the trace changed (go test -update writes it anew):\n%s", w.trace.String())
	}
}

// A reader among a peer that proves at once, one that does when it has read, and one that never answers.
func TestGoldenReader(t *testing.T) {
	const piece = 8 * blockSize
	w := newAsking(t, newTorrent(t, metainfo.V2, piece, 40*piece), true)
	w.join(1, Peer{V2: true, RTT: 40 * ms})
	w.read(metainfo.ByteRange{Off: 0, Len: 2 * blockSize})
	w.request(1, metainfo.Block{Piece: 0, Index: 0}) // was asked for its leaf
	w.request(1, metainfo.Block{Piece: 0, Index: 1}) // likewise
	w.pass(40*ms, true)
	w.answer(1, 0, nil)
	w.check()
	w.block(1, metainfo.Block{Piece: 0, Index: 0})
	w.block(1, metainfo.Block{Piece: 0, Index: 1})
	w.reads = nil
	w.request(1, metainfo.Block{Piece: 1, Index: 0}) // read ahead: all leaves at once
	w.request(1, metainfo.Block{Piece: 1, Index: 1})
	w.pass(20*ms, false)
	w.answer(1, 0, nil)
	w.check()

	fmt.Fprintln(&w.trace, "\npeer 2 is libtorrent in seed mode")
	w.leave(1, false)
	w.join(2, Peer{V2: true, RTT: 40 * ms})
	w.request(2, metainfo.Block{Piece: 5, Index: 4})
	w.pass(20*ms, true)
	w.reject(2, 0) // it is sent again at once
	w.pass(20*ms, true)
	w.reject(2, 0) // it waits for the block
	w.block(2, metainfo.Block{Piece: 5, Index: 4})
	w.pass(20*ms, true)
	w.answer(2, 0, nil)
	w.check()
	w.request(2, metainfo.Block{Piece: 6, Index: 0}) // it is known to be lazy: it is given time
	w.pass(40*ms, true)
	w.answer(2, 0, nil)
	w.check()

	fmt.Fprintln(&w.trace, "\npeer 3 never answers, and peer 4 helps out")
	w.leave(2, false)
	w.join(3, Peer{V2: true, RTT: 10 * ms})
	w.join(4, Peer{V2: true, RTT: 90 * ms})
	w.request(3, metainfo.Block{Piece: 9, Index: 2})
	w.block(3, metainfo.Block{Piece: 9, Index: 2})
	w.pass(400*ms, true)
	w.now += 1 // a tick of the picker, not ours
	w.k.Tick(w.now, true)
	w.drain()
	w.pass(5*time.Second, true)
	w.answer(4, 0, flip)
	w.check()
	w.golden(t, "reader.txt")
}

// A magnet link brings no piece layers: they are fetched in parts, and reads do not wait for them.
func TestGoldenMagnet(t *testing.T) {
	w := newAsking(t, newTorrent(t, metainfo.V2, 2*blockSize, 2400*blockSize, 5*blockSize), false)
	w.join(1, Peer{V2: true})
	w.request(1, metainfo.Block{Piece: 600, Index: 1}) // proven to the root
	w.pass(time.Second, false)
	w.join(2, Peer{V2: true, RTT: 5 * ms})
	w.reject(1, 1)
	w.answer(1, 1, flip)
	w.pass(time.Second, false)
	for len(w.asked[2]) > 0 {
		w.answer(2, 0, nil)
	}
	for len(w.asked[1]) > 0 {
		w.answer(1, 0, nil)
	}
	w.check()
	if w.k.trees.lacks() {
		t.Error("layers are missing")
	}
	w.golden(t, "magnet.txt")
}

// BenchmarkAsker is what a piece of 64 blocks costs that is read in order from eight peers.
func BenchmarkAsker(b *testing.B) {
	const piece = 64 * blockSize
	o := newTorrent(b, metainfo.V2, piece, 16*piece)
	k := NewAsker(NewTrees(o.Info, o.PieceLayers), o)
	for id := range picker.PeerID(8) {
		k.Joined(id, Peer{V2: true})
	}
	var actions []Action
	now := time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		now += 100 * ms
		p := int(now/(100*ms)) % 16
		for i := range 64 {
			k.Requested(now, picker.PeerID(i%8), metainfo.Block{Piece: p, Index: i})
		}
		actions = k.Drain(actions[:0])
		for _, a := range actions {
			k.Answered(now, a.Peer, a.Range, make([]metainfo.SHA256, a.Range.NumHashes()))
			k.Checked(now, a.Peer, p, a.Range, true)
		}
		for i := range 64 {
			k.BlockCame(now, picker.PeerID(i%8), metainfo.Block{Piece: p, Index: i})
			k.BlockJudged(metainfo.Block{Piece: p, Index: i}, true)
		}
		k.Forgotten(p)
		actions = k.Drain(actions[:0])
	}
}
