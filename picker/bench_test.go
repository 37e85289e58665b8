package picker

import (
	"math/rand/v2"
	"testing"
	"time"

	"torrentfs/metainfo"
)

const (
	benchPieces = 500_000
	benchPeers  = 200
	benchBlocks = 128
	blockEvery  = 15 * time.Microsecond // 65,000 blocks/s
)

// benchSwarm is a picker with 200 unchoked peers, of which some are seeds and the others have a quarter of the pieces.
func benchSwarm(seeds int) (*Picker, *rand.Rand) {
	g := metainfo.NewGeometry(benchBlocks*BlockSize, benchPieces*benchBlocks*BlockSize)
	p := New(Config{}, g, 1)
	r := rand.New(rand.NewPCG(1, 2))
	for id := range PeerID(benchPeers) {
		p.PeerAdd(0, id, PeerInfo{RTT: 20 * time.Millisecond, Reqq: 256, Fast: true, Seed: int(id) < seeds})
		if int(id) >= seeds {
			p.Bitfield(0, id, benchBits(r))
		}
		p.Choke(0, id, false)
	}
	return p, r
}

func benchBits(r *rand.Rand) []uint64 {
	bits := make([]uint64, (benchPieces+63)/64)
	for i := range bits {
		bits[i] = r.Uint64() & r.Uint64()
	}
	return bits
}

// runBlocks has random peers deliver their oldest request, with a blocked read after every so many blocks, if any.
func runBlocks(b *testing.B, seeds, readEvery int) {
	p, r := benchSwarm(seeds)
	now := time.Duration(0)
	p.SetWant(now, []metainfo.ByteRange{{Off: 0, Len: p.pieces.Size()}})
	acts := p.Drain(nil)
	next := Never
	step := func(i int) {
		now += blockEvery
		pr := p.peers.list[r.IntN(benchPeers)]
		if pr.ring.n > 0 {
			block := p.pieces.block(pr.ring.at(0).block)
			if p.Received(now, pr.id, block) == NewBlock {
				if p.pieces.part(block.Piece).left == 0 {
					p.Verified(now, block.Piece, true)
				}
			}
		}
		if readEvery > 0 && i%readEvery == 0 {
			p.ReadCancel(now, p.readers.last)
			p.Read(now, 1, metainfo.ByteRange{Off: r.Int64N(p.pieces.Size()), Len: 64 << 10})
		}
		if now >= next {
			p.Tick(now)
		}
		acts = p.Drain(acts[:0])
		next = p.NextDeadline()
	}
	for i := range 300_000 { // pools and rings reach their sizes
		step(i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		step(i)
	}
}

func BenchmarkBlockSeeds(b *testing.B)    { runBlocks(b, benchPeers, 0) }
func BenchmarkBlockMixed(b *testing.B)    { runBlocks(b, 20, 0) }
func BenchmarkBlockLeechers(b *testing.B) { runBlocks(b, 0, 0) }
func BenchmarkBlockReading(b *testing.B)  { runBlocks(b, 20, 10_000) } // a seek every 150 ms

func BenchmarkHave(b *testing.B) {
	p, r := benchSwarm(20)
	p.SetWant(0, []metainfo.ByteRange{{Off: 0, Len: p.pieces.Size()}})
	var acts []Action
	type have struct {
		id    PeerID
		piece metainfo.Piece
	}
	var todo []have
	b.ReportAllocs()
	for b.Loop() {
		if len(todo) == 0 {
			b.StopTimer()
			for range 1 << 16 {
				h := have{PeerID(20 + r.IntN(benchPeers-20)), metainfo.Piece(r.IntN(benchPieces))}
				p.Unhave(0, h.id, h.piece)
				todo = append(todo, h)
			}
			acts = p.Drain(acts[:0])
			b.StartTimer()
		}
		h := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		p.Have(0, h.id, h.piece)
	}
}

// BenchmarkBitfield adds and removes a peer with a quarter of 500,000 pieces.
func BenchmarkBitfield(b *testing.B) {
	p, r := benchSwarm(20)
	p.SetWant(0, []metainfo.ByteRange{{Off: 0, Len: p.pieces.Size()}})
	bits := benchBits(r)
	for b.Loop() {
		p.PeerAdd(0, benchPeers, PeerInfo{})
		p.Bitfield(0, benchPeers, bits)
		p.PeerGone(0, benchPeers)
	}
}

// BenchmarkMakespan computes T* over 200 peers.
func BenchmarkMakespan(b *testing.B) {
	p, _ := benchSwarm(benchPeers)
	p.plan.unissued = 100
	p.plan.collectCandidates(0)
	b.ReportAllocs()
	for b.Loop() {
		p.plan.makespan(1, 100)
	}
}
