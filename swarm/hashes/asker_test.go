package hashes

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

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
