package swarm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"torrentfs/internal/fakepeer"
	"torrentfs/internal/simnet"
	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// inV2World is inWorld for a v2 or hybrid torrent of files of these sizes.
func inV2World(t *testing.T, v metainfo.Version, pieceLength int64, sizes []int64, cfg Config, f func(w *world)) {
	t.Helper()
	mi, data := content(t, v, pieceLength, sizes...)
	w := &world{info: mi.Info, data: data, layers: mi.PieceLayers, trees: map[[32]byte]*metainfo.Tree{}}
	for i := range mi.Info.Files {
		if f := &mi.Info.Files[i]; f.Length > 0 && !f.Pad {
			w.trees[f.PiecesRoot] = leafTree(data[f.Offset : f.Offset+f.Length])
		}
	}
	runWorld(t, w, cfg, f)
}

func leafTree(data []byte) *metainfo.Tree {
	var leaves []metainfo.SHA256
	for len(data) > 0 {
		n := min(len(data), blockSize)
		leaves = append(leaves, sha256.Sum256(data[:n]))
		data = data[n:]
	}
	return metainfo.NewTree(leaves, 0)
}

// hashes is the right answer to a hash request.
func (w *world) hashes(ask wire.HashRange) ([][32]byte, bool) {
	tree := w.trees[ask.Root]
	if tree == nil {
		return nil, false
	}
	hashes, uncles, err := tree.Hashes(int(ask.Base), int(ask.Index), int(ask.Length), int(ask.Proof))
	var all [][32]byte
	for _, h := range append(hashes, uncles...) {
		all = append(all, h)
	}
	return all, err == nil
}

var v2Versions = []metainfo.Version{metainfo.V2, metainfo.Hybrid}

// A small read in a large piece costs a round trip and its own blocks, also
// while the background download runs, and nothing else is fetched without it.
func TestSmallReadIsVerifiedByItself(t *testing.T) {
	for _, v := range v2Versions {
		for _, piece := range []int64{256 << 10, 4 << 20, 16 << 20} {
			t.Run(fmt.Sprintf("%v/%d", v, piece), func(t *testing.T) {
				inV2World(t, v, piece, []int64{32<<20 + 12345, 5<<20 + 1}, Config{}, func(w *world) {
					var all []*fakepeer.Peer
					for range 5 {
						all = append(all, w.serve(wan(20, 40*ms), w.options("seed")))
					}
					tor := w.add(TorrentConfig{})
					time.Sleep(time.Second) // everybody is connected
					r := tor.NewReader(nil)
					defer r.Close()
					read := 0
					for i := range 12 {
						off := int64(i*2_741_123) % (32 << 20)
						if took := w.read(r, off, 64<<10, time.Minute); took > 130*ms {
							t.Errorf("read %d took %v, a round trip and five blocks from five peers need 50 ms", i, took)
						}
						read += 64 << 10
					}
					got := tor.Stats().Downloaded
					if got > 2*int64(read) {
						t.Errorf("%d bytes came for %d read", got, read)
					}
					asks := 0
					for _, p := range all {
						rec := p.Record()
						asks += len(rec.HashRequests)
						if len(rec.Errors) != 0 {
							t.Errorf("errors %v", rec.Errors)
						}
						if rec.Handshakes[0].InfoHash != w.info.Hash.Wire() || !rec.Handshakes[0].Features().Has(wire.FeatureV2) {
							t.Errorf("handshake %+v", rec.Handshakes[0])
						}
						for _, a := range rec.HashRequests {
							if !a.Valid() || a.Length > 512 {
								t.Errorf("asked for %+v", a.HashRange)
							}
						}
					}
					if asks == 0 {
						t.Error("nobody was asked for hashes")
					}
				})
			})
		}
	}
}

// The request for a block and that for its leaf leave at the same moment.
func TestLeafIsAskedWithItsBlock(t *testing.T) {
	inV2World(t, metainfo.V2, 4<<20, []int64{8 << 20}, Config{}, func(w *world) {
		p := w.serve(wan(100, 40*ms), w.options("seed"))
		tor := w.add(TorrentConfig{})
		time.Sleep(time.Second)
		r := tor.NewReader(nil)
		defer r.Close()
		w.read(r, 5<<20, 16<<10, time.Minute)
		rec := p.Record()
		if len(rec.Requests) != 1 || len(rec.HashRequests) != 1 || !rec.Requests[0].At.Equal(rec.HashRequests[0].At) {
			t.Fatalf("requests %+v, hash requests %+v", rec.Requests, rec.HashRequests)
		}
		want := wire.HashRange{Root: w.info.Files[0].PiecesRoot, Index: 320, Length: 2, Proof: 7}
		if rec.HashRequests[0].HashRange != want {
			t.Errorf("asked for %+v, want %+v", rec.HashRequests[0].HashRange, want)
		}
	})
}

// Leaves of what a sequential reader comes to are asked for by the piece.
func TestSequentialReaderAsksByThePiece(t *testing.T) {
	inV2World(t, metainfo.V2, 1<<20, []int64{24 << 20}, Config{}, func(w *world) {
		for range 3 {
			w.serve(wan(40, 40*ms), w.options("seed"))
		}
		tor := w.add(TorrentConfig{})
		r := tor.NewReader(nil)
		defer r.Close()
		for off := int64(0); off < 24<<20; off += 128 << 10 {
			w.read(r, off, 128<<10, time.Minute)
		}
		asks, hashes := 0, 0
		for _, p := range w.fakes {
			for _, a := range p.Record().HashRequests {
				asks++
				hashes += a.NumHashes()
			}
		}
		if asks > 24*12 || hashes > 3*24*64 {
			t.Errorf("%d requests for %d hashes for 24 pieces of 64", asks, hashes)
		}
	})
}

// With peers that do not prove leaves, whatever they do instead, reads get the
// right bytes, nobody is banned, and honest peers are used.
func TestPeersThatDoNotProve(t *testing.T) {
	for name, spoil := range map[string][]fakepeer.HashBehaviour{
		"wrong hashes":  {fakepeer.WrongHashes()},
		"wrong uncles":  {fakepeer.WrongUncles()},
		"short":         {fakepeer.ShortHashes()},
		"unaligned":     {fakepeer.UnalignedHashes()},
		"other range":   {fakepeer.OtherHashes()},
		"late":          {fakepeer.LateHashes(30 * time.Second)},
		"silent":        {fakepeer.NoHashes()},
		"rejects":       {fakepeer.RejectHashes(-1)},
		"rejects first": {fakepeer.RejectHashes(1)},
	} {
		for _, c := range []struct {
			v     metainfo.Version
			alone bool
		}{{metainfo.V2, true}, {metainfo.V2, false}, {metainfo.Hybrid, true}} {
			v, alone := c.v, c.alone
			t.Run(fmt.Sprintf("%s/%v/alone=%v", name, v, alone), func(t *testing.T) {
				inV2World(t, v, 1<<20, []int64{6<<20 + 777, 40_000}, Config{}, func(w *world) {
					opt := w.options("bad")
					opt.HashBehaviours = spoil
					bad := w.serve(wan(20, 40*ms), opt)
					if !alone {
						w.serve(wan(20, 40*ms), w.options("good"))
					}
					tor := w.add(TorrentConfig{})
					time.Sleep(time.Second)
					r := tor.NewReader(nil)
					defer r.Close()
					for _, off := range []int64{3 << 20, 5<<20 + 100, 1<<20 + 5, 7 << 20} {
						w.read(r, off, 30_000, 20*time.Second)
					}
					conns := 1
					if name == "short" || name == "unaligned" {
						conns = 2 // a message that contradicts itself ends the connection; the next is used without hashes
					}
					if rec := bad.Record(); rec.Conns > conns || rec.Open != 1 {
						t.Errorf("%d connections to the peer, %d open: %v", rec.Conns, rec.Open, rec.Errors)
					}
					if name == "rejects first" {
						if n := tor.Stats().Downloaded; alone && n > 4*64<<10 {
							t.Errorf("%d bytes came: pieces were fetched as a whole, the peer proves after the first block", n)
						}
					}
				})
			})
		}
	}
}

// lazyHashes is libtorrent in seed mode: it knows the leaves of a piece only
// from when it has read of it, some time after it was asked for a block, or
// (reading < 0) has sent of it.
func (w *world) lazyHashes(reading time.Duration) fakepeer.HashBehaviour {
	return func(a *fakepeer.HashAnswer) {
		for i := range w.info.Files {
			if f := &w.info.Files[i]; [32]byte(f.PiecesRoot) == a.Ask.Root && a.Ask.Base == 0 {
				piece := w.info.PieceOf(f.Offset) + int(a.Ask.Index)/w.info.BlocksPerPiece()
				knows := a.Sent(piece)
				if at := a.Asked(piece); reading >= 0 && !at.IsZero() {
					knows = knows || time.Since(at) >= reading
				}
				a.Reject = a.Reject || !knows
			}
		}
	}
}

// Peers that prove the leaves of a piece only when they have read of it are
// asked when they have: a read costs little more than a round trip then, and two
// where they read late. Nobody is given up, no piece is fetched for a block, and
// no read waits for proofs that nobody can give.
func TestSeedModePeers(t *testing.T) {
	for _, c := range []struct {
		v        metainfo.Version
		prefetch bool
		reading  time.Duration
		most     time.Duration // for a read, at a round trip of 200 ms
	}{
		{metainfo.V2, false, -1, 700 * ms},
		{metainfo.V2, true, -1, 1000 * ms},
		{metainfo.V2, false, 20 * ms, 370 * ms},
		{metainfo.Hybrid, true, 20 * ms, 700 * ms},
	} {
		t.Run(fmt.Sprintf("%v/prefetch=%v/%v", c.v, c.prefetch, c.reading), func(t *testing.T) {
			inV2World(t, c.v, 4<<20, []int64{96 << 20}, Config{}, func(w *world) {
				for range 5 {
					opt := w.options("lazy")
					opt.HashBehaviours = []fakepeer.HashBehaviour{w.lazyHashes(c.reading)}
					w.serve(wan(20, 200*ms), opt)
				}
				tor := w.add(TorrentConfig{Prefetch: c.prefetch})
				time.Sleep(time.Second)
				r := tor.NewReader(nil)
				defer r.Close()
				for i := range int64(20) {
					off := i*4_999_999&^4095 + 8192
					if took := w.read(r, off, 64<<10, time.Minute); took > c.most && i > 4 { // by then all are known
						t.Errorf("read %d took %v", i, took)
					}
				}
				if got := tor.Stats().Downloaded; !c.prefetch && got > 20*2*64<<10 {
					t.Errorf("%d bytes came for %d read", got, 20*64<<10)
				}
			})
		})
	}
}

// A v1 peer of a hybrid proves nothing, and is asked for no hashes.
func TestHybridWithOldPeers(t *testing.T) {
	inV2World(t, metainfo.Hybrid, 256<<10, []int64{3 << 20, 70_000}, Config{}, func(w *world) {
		opt := w.options("old")
		opt.V2, opt.InfoHashV2 = false, [20]byte{}
		old := w.serve(wan(20, 40*ms), opt)
		tor := w.add(TorrentConfig{Prefetch: true})
		r := tor.NewReader(nil)
		defer r.Close()
		w.read(r, 1<<20+5, 100_000, time.Minute)
		w.await(tor, time.Minute)
		if rec := old.Record(); len(rec.HashRequests) != 0 || rec.Conns != 1 {
			t.Errorf("%d hash requests, %d connections", len(rec.HashRequests), rec.Conns)
		}
	})
}

// Whoever sends a wrong block is known by its leaf, at once, and nobody else is
// suspected; the reader does not see the block.
func TestLeafNamesTheLiar(t *testing.T) {
	inV2World(t, metainfo.V2, 4<<20, []int64{32 << 20}, Config{}, func(w *world) {
		opt := w.options("liar")
		opt.Behaviours = []fakepeer.Behaviour{fakepeer.Corrupt(func(fakepeer.Block) bool { return true })}
		liar := w.serve(wan(20, 40*ms), opt)
		for range 3 {
			opt := w.options("honest")
			opt.KeepAlive = time.Minute
			w.serve(wan(20, 40*ms), opt)
		}
		tor := w.add(TorrentConfig{})
		time.Sleep(time.Second)
		r := tor.NewReader(nil)
		defer r.Close()
		for i := range int64(8) {
			w.read(r, i<<22, 64<<10, time.Minute)
		}
		time.Sleep(5 * time.Minute)
		if rec := liar.Record(); rec.Conns != 1 || rec.Open != 0 || rec.Uploaded == 0 {
			t.Errorf("the liar was connected %d times, %d open, sent %d", rec.Conns, rec.Open, rec.Uploaded)
		}
		for _, p := range w.fakes[1:] {
			if rec := p.Record(); rec.Conns != 1 || rec.Open != 1 {
				t.Errorf("an honest peer was connected %d times, %d open", rec.Conns, rec.Open)
			}
		}
	})
}

// In the background a piece that failed is fetched again with proofs.
func TestBackgroundFindsTheLiar(t *testing.T) {
	for _, v := range v2Versions {
		inV2World(t, v, 256<<10, []int64{4 << 20, 100_000}, Config{}, func(w *world) {
			opt := w.options("liar")
			opt.Behaviours = []fakepeer.Behaviour{fakepeer.Corrupt(func(b fakepeer.Block) bool { return b.Begin == 0 })}
			liar := w.serve(wan(10, 40*ms), opt)
			for range 3 {
				w.serve(wan(10, 40*ms), w.options("honest"))
			}
			tor := w.add(TorrentConfig{Prefetch: true})
			w.await(tor, 5*time.Minute)
			if rec := liar.Record(); rec.Open != 0 {
				t.Error("the liar is still connected")
			}
			if err := tor.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A hybrid whose two halves describe different data is stopped, by name.
func TestContradictionStopsTheTorrent(t *testing.T) {
	mi, data := content(t, metainfo.Hybrid, 64<<10, 500_000)
	other := bytes.Replace(bytes.Clone(mi.Info.Bytes), sha1Of(mi.Info, 3), make([]byte, 20), 1)
	info, err := metainfo.ParseInfo(other, metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{info: info, data: data, layers: mi.PieceLayers, trees: map[[32]byte]*metainfo.Tree{
		info.Files[0].PiecesRoot: leafTree(data[:500_000]),
	}}
	runWorld(t, w, Config{}, func(w *world) {
		w.serve(wan(20, 40*ms), w.options("seed"))
		tor := w.add(TorrentConfig{Prefetch: true})
		time.Sleep(30 * time.Second)
		if err := tor.Err(); !errors.Is(err, ErrContradiction) || !bytes.Contains([]byte(err.Error()), []byte("piece 3")) {
			t.Errorf("error %v", err)
		}
		r := tor.NewReader(nil)
		defer r.Close()
		if _, err := r.ReadAt(context.Background(), make([]byte, 10), 200_000); !errors.Is(err, ErrContradiction) {
			t.Errorf("read: %v", err)
		}
		if n := tor.Stats().Peers; n != 0 {
			t.Errorf("%d peers", n)
		}
		select {
		case <-tor.Complete():
			t.Error("complete")
		default:
		}
	})
}

func sha1Of(info *metainfo.Info, piece metainfo.Piece) []byte {
	h := info.PieceSHA1(piece)
	return h[:]
}

// Piece layers that the torrent lacks, as a magnet does, come from peers; reads
// do not wait for them.
func TestPieceLayersFromPeers(t *testing.T) {
	for _, v := range v2Versions {
		t.Run(v.String(), func(t *testing.T) {
			inV2World(t, v, 16<<10, []int64{20 << 20, 100_000, 16 << 10, 5}, Config{}, func(w *world) {
				w.layers = nil
				opt := w.options("wrong")
				opt.HashBehaviours = []fakepeer.HashBehaviour{fakepeer.WrongHashes()}
				w.serve(wan(100, 40*ms), opt)
				w.serve(wan(100, 40*ms), w.options("seed"))
				tor := w.add(TorrentConfig{Prefetch: true})
				w.await(tor, time.Minute)
			})
			inV2World(t, v, 1<<20, []int64{20 << 20, 3 << 20}, Config{}, func(w *world) {
				w.layers = nil
				opt := w.options("seed")
				opt.HashBehaviours = []fakepeer.HashBehaviour{func(a *fakepeer.HashAnswer) { a.Reject = a.Ask.Base > 0 }}
				w.serve(wan(20, 40*ms), opt)
				tor := w.add(TorrentConfig{})
				time.Sleep(time.Second)
				r := tor.NewReader(nil)
				defer r.Close()
				if took := w.read(r, 11<<20, 30_000, time.Minute); took > 200*ms {
					t.Errorf("a read without layers took %v", took)
				}
			})
		})
	}
}

// Blocks that are verified already survive, and need no peer.
func TestBlocksAreAdopted(t *testing.T) {
	for _, v := range v2Versions {
		inV2World(t, v, 1<<20, []int64{4 << 20}, Config{}, func(w *world) {
			for _, b := range []int{3, 4, 60} {
				off := 1<<20 + int64(b)*blockSize
				w.store.Put(metainfo.Block{Piece: 1, Index: b}, w.data[off:off+blockSize])
				w.store.CommitBlock(metainfo.Block{Piece: 1, Index: b})
			}
			tor := w.add(TorrentConfig{})
			r := tor.NewReader(nil)
			defer r.Close()
			w.read(r, 1<<20+3*blockSize, 2*blockSize, time.Second)
			p := w.serve(wan(20, 40*ms), w.options("seed"))
			tor.Found(Introducer{}, w.peers)
			w.read(r, 1<<20, 1<<20, time.Minute)
			asked := map[fakepeer.Block]bool{}
			for _, e := range p.Record().Requests {
				asked[e.Block] = e.Piece == 1 // the next is read ahead
			}
			maps.DeleteFunc(asked, func(_ fakepeer.Block, own bool) bool { return !own })
			if len(asked) != 61 || asked[fakepeer.Block{Piece: 1, Begin: 4 * blockSize, Length: blockSize}] {
				t.Errorf("%d blocks requested, want the 61 that lack", len(asked))
			}
			if !w.store.Has(1) {
				t.Error("the piece is not committed")
			}
		})
	}
}

// We answer what BEP 52 lets peers ask, rightly, and refuse the rest.
func TestHashRequestsAreAnswered(t *testing.T) {
	for _, v := range v2Versions {
		inV2World(t, v, 64<<10, []int64{300_000, 64 << 10, 64<<10 + 1, 20_000, 1}, Config{}, func(w *world) {
			w.store = fullStore(w.info, w.data)
			w.store.have.Clear(1)
			w.add(TorrentConfig{})
			opt := w.options("asker")
			opt.InfoHash = w.info.Hash.WireV2()
			opt.Hashes = nil
			p := w.connect(wan(100, 10*ms), opt)
			time.Sleep(time.Second)
			rng := rand.New(rand.NewPCG(1, 2))
			var asks []wire.HashRange
			for i := range w.info.Files {
				f := &w.info.Files[i]
				if f.Pad {
					continue
				}
				for range 60 {
					a := wire.HashRange{Root: f.PiecesRoot, Base: uint32(rng.IntN(4)), Length: 1 << rng.IntN(6), Proof: uint32(rng.IntN(5))}
					a.Index = a.Length * uint32(rng.IntN(4))
					if rng.IntN(10) == 0 {
						a.Index++
					}
					asks = append(asks, a)
				}
			}
			asks = append(asks, wire.HashRange{Root: [32]byte{1}, Length: 2})
			for _, a := range asks {
				p.Say(wire.AppendHashRequest(nil, a))
				time.Sleep(10 * ms)
			}
			time.Sleep(time.Second)
			rec := p.Record()
			if len(rec.Hashes)+len(rec.HashRejects) != len(asks) || len(rec.Errors) != 0 {
				t.Fatalf("%d answers and %d rejects to %d requests; errors %v", len(rec.Hashes), len(rec.HashRejects), len(asks), rec.Errors)
			}
			got := map[wire.HashRange][][32]byte{}
			for _, h := range rec.Hashes {
				got[h.Ask] = h.Hashes
			}
			first := w.info.Files[0].PiecesRoot
			for _, a := range asks {
				want, ok := w.hashes(a)
				width := uint32(4) >> min(a.Base, 2)
				if a.Root == [32]byte(first) && a.Base < 2 && a.Index < 2*width && a.Index+a.Length > width {
					ok = false // touches piece 1, which is not held
				}
				if a.Length < 2 {
					ok = false
				}
				answer, answered := got[a]
				if answered != ok {
					t.Errorf("%+v: answered %v, want %v", a, answered, ok)
				} else if ok && !equalHashes(answer, want) {
					t.Errorf("%+v: wrong hashes", a)
				}
			}
		})
	}
}

func equalHashes(a, b [][32]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// A flood of hash requests is refused, not served.
func TestHashRequestFlood(t *testing.T) {
	const answerBurst, answerRate = 128 << 10, 128 << 10
	inV2World(t, metainfo.V2, 16<<10, []int64{32 << 20}, Config{}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		w.add(TorrentConfig{})
		opt := w.options("flood")
		opt.Hashes = nil
		opt.Have = func(int) bool { return false }
		p := w.connect(simnet.Link{Delay: 5 * ms}, opt)
		time.Sleep(time.Second)
		var raw []byte
		for i := range uint32(1000) {
			raw = wire.AppendHashRequest(raw, wire.HashRange{Root: w.info.Files[0].PiecesRoot, Index: i % 4 * 512, Length: 512})
		}
		p.Say(raw)
		time.Sleep(5 * time.Second)
		rec := p.Record()
		if got := len(rec.Hashes) * 512 * 32; got > answerBurst+6*answerRate || got == 0 || len(rec.HashRejects)+len(rec.Hashes) != 1000 {
			t.Errorf("%d bytes of hashes, %d rejects, %d connections open, errors %v, messages %v", got, len(rec.HashRejects), rec.Open, rec.Errors, rec.Messages)
		}
	})
}

// An incoming v1 handshake of a hybrid that knows v2 is answered by the v2
// hash, one that does not by the v1 hash; each finds the torrent.
func TestHybridHandshakes(t *testing.T) {
	inV2World(t, metainfo.Hybrid, 64<<10, []int64{200_000}, Config{}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		tor := w.add(TorrentConfig{})
		for i, c := range []struct {
			hash [20]byte
			v2   bool
			want [20]byte
		}{
			{w.info.Hash.Wire(), false, w.info.Hash.Wire()},
			{w.info.Hash.Wire(), true, w.info.Hash.WireV2()},
			{w.info.Hash.WireV2(), false, w.info.Hash.WireV2()},
			{w.info.Hash.WireV2(), true, w.info.Hash.WireV2()},
		} {
			opt := w.leecher("leecher")
			opt.InfoHash, opt.V2 = c.hash, c.v2
			p := w.connect(wan(100, 10*ms), opt)
			select {
			case <-p.Complete():
			case <-time.After(time.Minute):
				t.Fatalf("case %d: not complete: %v", i, p.Record().Errors)
			}
			if h := p.Record().Handshakes[0]; h.InfoHash != c.want || !h.Features().Has(wire.FeatureV2) {
				t.Errorf("case %d: answered by %x, want %x", i, h.InfoHash, c.want)
			}
		}
		if _, err := w.session.Add(TorrentConfig{Info: w.info, Store: newMemStore(w.info)}); !errors.Is(err, ErrDuplicate) {
			t.Errorf("added twice: %v", err)
		}
		_ = tor
	})
}

// libtorrent takes each file of a v2 torrent for padded to whole pieces, and
// asks for whole blocks: behind the file there are zeros.
func TestPaddedBlocksAreServed(t *testing.T) {
	inV2World(t, metainfo.V2, 64<<10, []int64{100, 40_000, 1}, Config{}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		w.add(TorrentConfig{})
		opt := w.leecher("libtorrent")
		opt.Size, opt.PieceSize = 3*64<<10, nil
		opt.Content = bytes.NewReader(append(bytes.Clone(w.data), make([]byte, 64<<10)...))
		p := w.connect(wan(100, 10*ms), opt)
		select {
		case <-p.Complete():
		case <-time.After(time.Minute):
		}
		if rec := p.Record(); rec.Downloaded != 3*64<<10 || rec.Wrong != 0 || len(rec.Errors) != 0 {
			t.Errorf("%d bytes, %d blocks wrong, errors %v", rec.Downloaded, rec.Wrong, rec.Errors)
		}
	})
}

// What is remembered of pieces that were read in part stays bounded, and
// forgetting it costs no more than asking again.
func TestProofsAreForgotten(t *testing.T) {
	inV2World(t, metainfo.V2, 64<<10, []int64{40 << 20}, Config{}, func(w *world) {
		opt := w.options("seed")
		w.serve(wan(100, 10*ms), opt)
		tor := w.add(TorrentConfig{ReadAhead: -1})
		time.Sleep(time.Second)
		r := tor.NewReader(nil)
		defer r.Close()
		for i := range int64(500) {
			w.read(r, i*37%500*64<<10+20_000, 1000, time.Minute)
		}
		time.Sleep(3 * time.Second)
		const idlePieces = 256 // as in package hashes, which tests its own part
		var hashing int
		if err := tor.call(func() { hashing = tor.pieces.hasher.UnderWay() }); err != nil {
			t.Fatal(err)
		}
		if hashing > idlePieces {
			t.Errorf("%d pieces' hashes are kept after reading a block of each of 500", hashing)
		}
		w.read(r, 37*64<<10, 64<<10, time.Minute)
		w.read(r, 37*64<<10+20_000, 1000, time.Second)
		if !w.store.Has(37) {
			t.Error("a piece that was read in parts is not committed")
		}
	})
}

// A peer that is in the v2 swarm of a hybrid alone is found there.
func TestHybridPeerOfTheV2Swarm(t *testing.T) {
	inV2World(t, metainfo.Hybrid, 64<<10, []int64{300_000}, Config{}, func(w *world) {
		opt := w.options("new")
		opt.InfoHash, opt.HashAlone = w.info.Hash.WireV2(), true
		p := w.serve(wan(20, 40*ms), opt)
		tor := w.add(TorrentConfig{Prefetch: true})
		w.await(tor, 5*time.Minute)
		rec := p.Record()
		if last := rec.Handshakes[len(rec.Handshakes)-1]; last.InfoHash != opt.InfoHash {
			t.Errorf("the last handshake was for %x", last.InfoHash)
		}
	})
}
