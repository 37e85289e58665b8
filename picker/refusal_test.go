package picker

import (
	"testing"
	"time"

	"torrentfs/metainfo"
)

// serving runs the clock for so long, in which each request is answered after a round trip, by its block where serves says so, else by
// a reject. It returns how often each piece was asked for.
func (s *story) serving(span time.Duration, serves func(id PeerID, piece metainfo.Piece) bool) map[metainfo.Piece]int {
	s.t.Helper()
	asked := map[metainfo.Piece]int{}
	for end := s.now + span; ; {
		requests := s.drain(Request)
		for _, a := range requests {
			piece := a.Block.Piece
			asked[piece]++
		}
		if len(requests) > 0 {
			s.now += rtt
		}
		for _, a := range requests {
			if piece := a.Block.Piece; !serves(a.Peer, piece) {
				s.Rejected(s.now, a.Peer, a.Block)
			} else if s.Received(s.now, a.Peer, a.Block) == NewBlock {
				if p := s.pieces.part(piece); p != nil && p.left == 0 {
					s.Verified(s.now, piece, true)
				}
			}
		}
		if len(requests) > 0 {
			continue
		}
		at := s.NextDeadline()
		if at > end {
			s.now = end
			return asked
		}
		s.now = max(at, s.now+time.Microsecond)
		s.Tick(s.now)
	}
}

// A peer that rejects what it says to have is asked ever less often, whether
// in the background or for a reader; the moment it serves, all comes.
func TestRejectingPeerIsAskedEverLessOften(t *testing.T) {
	for name, c := range map[string]struct {
		bad  func(piece metainfo.Piece) bool
		read bool
		most int // requests in ten minutes, for pieces that are rejected
	}{
		"one piece in the background": {func(piece metainfo.Piece) bool { return piece == 3 }, false, 100},
		"one piece that is read":      {func(piece metainfo.Piece) bool { return piece == 3 }, true, 100},
		"all in the background":       {func(metainfo.Piece) bool { return true }, false, 100},
		"all, one is read":            {func(metainfo.Piece) bool { return true }, true, 100},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t, 128, 4)
			s.seed(1, true)
			if c.read {
				s.Read(s.now, 0, metainfo.ByteRange{Off: 3 * s.pieces.PieceLength(), Len: 100})
			}
			s.SetWant(s.now, []metainfo.ByteRange{{Off: 0, Len: s.pieces.Size()}})
			bad := 0
			for piece, n := range s.serving(10*time.Minute, func(_ PeerID, piece metainfo.Piece) bool { return !c.bad(piece) }) {
				if c.bad(piece) {
					bad += n
				} else if n != 4 {
					t.Errorf("piece %d of four blocks was asked for %d times", piece, n)
				}
			}
			if bad == 0 || bad > c.most {
				t.Errorf("%d requests for what was rejected, want some and at most %d", bad, c.most)
			}
			t.Logf("%d requests were rejected", bad)
			s.serving(2*time.Minute, func(PeerID, metainfo.Piece) bool { return true })
			if s.pieces.nheld != 128 {
				t.Errorf("%d of 128 pieces two minutes after the peer serves again", s.pieces.nheld)
			}
		})
	}
}

// What one peer rejects comes from another, without a pause.
func TestRejectedBlockComesFromAnother(t *testing.T) {
	s := newStory(t, 16, 4)
	s.seed(1, true)
	s.seed(2, true)
	s.Read(s.now, 0, metainfo.ByteRange{Off: 3 * s.pieces.PieceLength(), Len: s.pieces.PieceLength()})
	begun := s.now
	s.serving(500*time.Millisecond, func(id PeerID, _ metainfo.Piece) bool { return id == 2 })
	if !s.pieces.held(3) {
		t.Errorf("piece 3 is not there after %v", s.now-begun)
	}
}
