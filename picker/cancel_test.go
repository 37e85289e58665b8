package picker

import (
	"testing"
	"time"

	"torrentfs/metainfo"
)

// TestCancelWithoutReject has a peer with the Fast extension obey CANCELs and say nothing: its answer to a request that was sent
// after them resolves them, its answer to an earlier one does not.
func TestCancelWithoutReject(t *testing.T) {
	p := New(Config{}, metainfo.NewGeometry(1<<20, 8<<20), 1)
	p.PeerAdd(0, 1, PeerInfo{RTT: time.Millisecond, Reqq: 100, Fast: true})
	p.HaveAll(0, 1)
	p.Choke(0, 1, false)
	pr := p.peers.table.get(1)
	for b := range blockID(6) {
		p.request(pr, b, 0)
	}
	for i := 1; i <= 3; i++ {
		p.cancel(pr, i)
	}
	p.request(pr, 6, 0)
	now := 10 * time.Millisecond
	for _, tt := range []struct {
		block     int
		cancelled int
	}{{0, 3}, {4, 3}, {2, 2}, {6, 0}} {
		if v := p.Received(now, 1, metainfo.Block{Index: tt.block}); v != NewBlock {
			t.Errorf("block %d: got %v, want new", tt.block, v)
		}
		if pr.cancelled != tt.cancelled {
			t.Errorf("after block %d: got %d cancelled requests, want %d", tt.block, pr.cancelled, tt.cancelled)
		}
	}
	if pr.owes(1) || pr.owes(3) {
		t.Error("the peer still owes blocks of CANCELs that it obeyed")
	}
	if v := p.Received(now, 1, metainfo.Block{Index: 3}); v != NewBlock {
		t.Errorf("data that comes all the same: got %v, want new", v)
	}
	if err := p.CheckInvariants(); err != nil {
		t.Error(err)
	}
}

// TestSkippedRequest has a peer answer all but one of its requests: that one is asked again, while the others go on, sooner if a
// read waits for it, and what comes of it late is still taken.
func TestSkippedRequest(t *testing.T) {
	for _, tt := range []struct {
		name        string
		urgent      bool
		least, most time.Duration
	}{
		{"background", false, time.Second, 3 * time.Second},
		{"a read waits", true, 200 * time.Millisecond, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) { testSkippedRequest(t, tt.urgent, tt.least, tt.most) })
	}
}

func testSkippedRequest(t *testing.T, urgent bool, least, most time.Duration) {
	lost := metainfo.Block{Index: 5}
	p := New(Config{}, metainfo.NewGeometry(1<<20, 64<<20), 1)
	p.SetWant(0, []metainfo.ByteRange{{Off: 0, Len: 64 << 20}})
	p.PeerAdd(0, 1, PeerInfo{RTT: time.Millisecond, Reqq: 100, Fast: true})
	p.HaveAll(0, 1)
	p.Choke(0, 1, false)
	p.request(p.peers.table.get(1), p.pieces.id(lost.Piece, lost.Index), 0)
	if urgent {
		p.Read(0, 1, metainfo.ByteRange{Off: int64(lost.Index) * BlockSize, Len: BlockSize})
	}
	var again time.Duration
	var owed []metainfo.Block
	for now := time.Duration(0); now < 4*time.Second; now += 10 * time.Millisecond {
		p.Tick(now)
		for _, a := range p.Drain(nil) {
			switch {
			case a.Kind == Request && a.Block != lost:
				owed = append(owed, a.Block)
			case a.Kind == Request && now > 0 && again == 0:
				again = now
			}
		}
		if len(owed) > 0 { // 1.6 MB/s
			p.Received(now, 1, owed[0])
			owed = owed[1:]
		}
	}
	if again < least || again > most {
		t.Fatalf("asked again after %v, want %v to %v", again, least, most)
	}
	if v := p.Received(5*time.Second, 1, lost); v != NewBlock {
		t.Errorf("the block itself: got %v, want new", v)
	}
	if err := p.CheckInvariants(); err != nil {
		t.Error(err)
	}
}
