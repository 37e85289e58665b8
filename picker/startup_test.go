package picker

import (
	"testing"
	"time"

	"torrentfs/metainfo"
)

// TestQueueInStartup: while a peer's rate still grows, a reader that seeks finds a shorter queue in its way than one that reads
// on, or nobody, for whom the queue has room for the growth.
func TestQueueInStartup(t *testing.T) {
	const read = 64 << 10
	queue := func(reads ...int64) int {
		p := New(Config{}, metainfo.NewGeometry(1<<20, 64<<20), 1)
		p.SetWant(0, []metainfo.ByteRange{{Off: 0, Len: 64 << 20}})
		p.PeerAdd(0, 1, PeerInfo{RTT: 50 * time.Millisecond, Reqq: 500})
		p.HaveAll(0, 1)
		p.Choke(0, 1, false)
		for i, off := range reads {
			p.ReadHit(time.Duration(i)*time.Millisecond, 1, metainfo.ByteRange{Off: off, Len: read})
		}
		pr := p.peers.table.get(1)
		pr.rate, pr.blocks = 2.5e6, 20 // 125 kB on their way, in 8 blocks
		if !pr.startup {
			t.Fatal("the peer's rate is not taken to grow")
		}
		return p.depth(pr)
	}
	nobody := queue()
	onward := queue(0, read, 2*read)
	seeks := queue(0, 30<<20, 5<<20)
	if seeks >= onward || onward >= nobody {
		t.Errorf("queue of %d for who seeks, %d for who reads on, %d for nobody", seeks, onward, nobody)
	}
	if seeks < 8+2 {
		t.Errorf("queue of %d for who seeks: less than the link holds", seeks)
	}
}
