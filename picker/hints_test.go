package picker

import (
	"testing"
	"time"
)

// A hint asks for its own pieces and nothing else, and is over when it is closed.
func TestWillNeedAsksForItsPieces(t *testing.T) {
	const piece = 4 * BlockSize
	p := New(Config{}, Geometry{PieceLength: piece, Size: 64 * piece, NumPieces: 64, BlocksPerPiece: 4}, 1)
	p.PeerAdd(0, 1, PeerInfo{RTT: 10 * time.Millisecond, Reqq: 250})
	p.HaveAll(0, 1)
	p.Choke(0, 1, false)
	const hint = ReaderID(-5)
	p.WillNeed(0, hint, 7*piece+1, piece)
	now := time.Duration(0)
	asked := map[int]int{}
	run := func() {
		for range 100 {
			p.Tick(now)
			for _, a := range p.Drain(nil) {
				if a.Kind == Request {
					at, _ := p.g.Split(a.Block)
					asked[at]++
					p.Received(now, 1, a.Block)
				}
			}
			now += 10 * time.Millisecond
		}
	}
	run()
	if len(asked) != 2 || asked[7] != 4 || asked[8] != 4 {
		t.Errorf("asked for %v, want the blocks of pieces 7 and 8", asked)
	}
	p.ReaderClose(now, hint)
	clear(asked)
	run()
	if len(asked) > 0 || len(p.readers) > 0 {
		t.Errorf("closed, it asked for %v; readers %v", asked, p.readers)
	}
	p.WillNeed(now, hint, 63*piece, 10*piece) // past the end
	p.WillNeed(now, hint-1, -5, 3)            // before the begin
	p.WillNeed(now, hint-2, 64*piece, 3)
	run()
	if len(asked) != 2 || asked[0] != 4 || asked[63] != 4 {
		t.Errorf("asked for %v, want the first piece and the last", asked)
	}
}
