package picker

import (
	"testing"
	"time"
)

// TestCancelWithoutReject has a peer with the Fast extension obey CANCELs and say nothing: its answer to a request that was sent
// after them resolves them, its answer to an earlier one does not.
func TestCancelWithoutReject(t *testing.T) {
	p := New(Config{}, Geometry{PieceLength: 1 << 20, Size: 8 << 20, NumPieces: 8, BlocksPerPiece: 64}, 1)
	p.PeerAdd(0, 1, PeerInfo{RTT: time.Millisecond, Reqq: 100, Fast: true})
	p.HaveAll(0, 1)
	p.Choke(0, 1, false)
	pr := p.table.get(1)
	for b := range BlockID(6) {
		p.request(pr, b, 0)
	}
	for i := 1; i <= 3; i++ {
		p.cancel(pr, i)
	}
	p.request(pr, 6, 0)
	now := 10 * time.Millisecond
	for _, tt := range []struct {
		block     BlockID
		cancelled int
	}{{0, 3}, {4, 3}, {2, 2}, {6, 0}} {
		if v := p.Received(now, 1, tt.block); v != NewBlock {
			t.Errorf("block %d: got %v, want new", tt.block, v)
		}
		if pr.cancelled != tt.cancelled {
			t.Errorf("after block %d: got %d cancelled requests, want %d", tt.block, pr.cancelled, tt.cancelled)
		}
	}
	if pr.owes(1) || pr.owes(3) {
		t.Error("the peer still owes blocks of CANCELs that it obeyed")
	}
	if v := p.Received(now, 1, 3); v != NewBlock {
		t.Errorf("data that comes all the same: got %v, want new", v)
	}
	if err := p.CheckInvariants(); err != nil {
		t.Error(err)
	}
}
