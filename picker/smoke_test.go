package picker

import (
	"testing"
	"time"
)

func TestReadFetchesThePieceFromAllPeers(t *testing.T) {
	g := Geometry{PieceLength: 1 << 20, Size: 8 << 20, NumPieces: 8, BlocksPerPiece: 64}
	p := New(Config{}, g, 1)
	for id := PeerID(1); id <= 4; id++ {
		p.PeerAdd(0, id, PeerInfo{RTT: 40 * time.Millisecond, Fast: true, Seed: true})
		p.Choke(0, id, false)
	}
	for _, a := range p.Drain(nil) {
		if a.Kind != Interested || !a.On {
			t.Fatalf("before any read: %+v", a)
		}
	}
	read := p.Read(0, 1, 3<<20+5, 100)
	got := map[int]int{}
	now := time.Duration(0)
	queue := p.Drain(nil)
	done := false
	for i := 0; len(queue) > 0 && i < 10000; i++ {
		a := queue[0]
		queue = queue[1:]
		now += time.Millisecond
		if a.Kind == ReadDone {
			if a.Read != read {
				t.Fatalf("read done: got %d, want %d", a.Read, read)
			}
			done = true
		}
		if a.Kind == Request {
			piece, block := p.g.Split(a.Block)
			if piece != 3 {
				t.Fatalf("request for piece %d, which nobody reads", piece)
			}
			if v := p.Received(now, a.Peer, a.Block); v != NewBlock {
				t.Fatalf("received block %d: %v", block, v)
			}
			if got[block]++; len(got) == 64 {
				p.Verified(now, 3, true)
			}
		}
		p.Tick(now)
		queue = p.Drain(queue)
	}
	if !done {
		t.Fatalf("read not done, %d blocks received", len(got))
	}
}
