package picker

import (
	"testing"
	"time"

	"torrentfs/metainfo"
)

const rtt = 40 * time.Millisecond

// story is a picker with a clock, for tests that tell a story.
type story struct {
	*Picker
	t   *testing.T
	now time.Duration
}

func newStory(t *testing.T, pieces, blocks int) *story {
	return newStoryOf(t, pieces, blocks, Config{})
}

func newStoryOf(t *testing.T, pieces, blocks int, cfg Config) *story {
	length := int64(blocks) * BlockSize
	return &story{Picker: New(cfg, metainfo.NewGeometry(length, int64(pieces)*length), 1), t: t}
}

// seed adds an unchoked peer that has everything.
func (s *story) seed(id PeerID, fast bool) {
	s.PeerAdd(s.now, id, PeerInfo{RTT: rtt, Fast: fast, Seed: true})
	s.Choke(s.now, id, false)
}

// drain returns the actions of one kind and checks the invariants.
func (s *story) drain(kind ActionKind) []Action {
	s.t.Helper()
	var out []Action
	for _, a := range s.Drain(nil) {
		if a.Kind == kind {
			out = append(out, a)
		}
	}
	if err := s.CheckInvariants(); err != nil {
		s.t.Fatal(err)
	}
	return out
}

// download has peers answer all that is requested, until nothing is.
func (s *story) download() {
	s.t.Helper()
	for requests := s.drain(Request); len(requests) > 0; requests = s.drain(Request) {
		for _, a := range requests {
			s.now += time.Millisecond
			if v := s.Received(s.now, a.Peer, a.Block); v != NewBlock {
				s.t.Fatalf("block %v from peer %d: %v", a.Block, a.Peer, v)
			}
		}
	}
}

func (s *story) want(piece metainfo.Piece) {
	s.SetWant(s.now, []metainfo.ByteRange{{Off: int64(piece) * s.pieces.PieceLength(), Len: s.pieces.PieceLength()}})
}

func TestNothingIsRequestedThatNobodyWants(t *testing.T) {
	s := newStory(t, 8, 4)
	s.seed(1, true)
	if got := s.drain(Request); len(got) > 0 {
		t.Fatalf("requests: %v", got)
	}
	if at := s.NextDeadline(); at != Never {
		t.Errorf("an idle picker has a deadline: %v", at)
	}
	s.want(5)
	for _, a := range s.drain(Request) {
		if piece := a.Block.Piece; piece != 5 {
			t.Errorf("request for piece %d", piece)
		}
	}
}

func TestReadIsDoneAtOnceWhereAllIsHeld(t *testing.T) {
	s := newStory(t, 4, 4)
	s.Verified(s.now, 2, true)
	id := s.Read(s.now, 1, metainfo.ByteRange{Off: 2 * s.pieces.PieceLength(), Len: s.pieces.PieceLength()})
	if got := s.drain(ReadDone); len(got) != 1 || got[0].Read != id {
		t.Errorf("got %v, want read %d done", got, id)
	}
}

func TestChoke(t *testing.T) {
	for _, fast := range []bool{true, false} {
		s := newStory(t, 2, 4)
		s.seed(1, fast)
		s.Read(s.now, 1, metainfo.ByteRange{Off: 0, Len: 1})
		asked := s.drain(Request)
		if len(asked) == 0 {
			t.Fatal("nothing requested")
		}
		s.Choke(s.now, 1, true)
		s.drain(Request)
		want := len(asked)
		if !fast {
			want = 0
		}
		if got := s.Stats().InFlight; got != want {
			t.Errorf("fast %v: %d requests after a choke, want %d", fast, got, want)
		}
		if v := s.Received(s.now, 1, asked[0].Block); v != NewBlock {
			t.Errorf("fast %v: block that was on its way: %v", fast, v)
		}
	}
}

func TestAllowedFastPieceIsServedByAChokingPeer(t *testing.T) {
	s := newStory(t, 4, 4)
	s.PeerAdd(s.now, 1, PeerInfo{RTT: rtt, Fast: true, Seed: true})
	s.AllowedFast(s.now, 1, 2)
	s.Read(s.now, 1, metainfo.ByteRange{Off: s.pieces.PieceLength(), Len: 2 * s.pieces.PieceLength()}) // pieces 1 and 2
	got := s.drain(Request)
	if len(got) == 0 {
		t.Fatal("nothing requested")
	}
	for _, a := range got {
		if piece := a.Block.Piece; piece != 2 {
			t.Errorf("request for piece %d of a choking peer", piece)
		}
	}
}

func TestSilentPeerIsSuspectedAndProbed(t *testing.T) {
	s := newStory(t, 2, 16)
	s.seed(1, true)
	s.want(0)
	asked := len(s.drain(Request))
	s.now = 5 * time.Second
	s.Tick(s.now)
	if got := s.drain(Cancel); len(got) != asked {
		t.Fatalf("%d cancels for %d requests", len(got), asked)
	}
	if !s.peers.table.get(1).suspect {
		t.Fatal("not suspected")
	}
	s.now = 20 * time.Second
	s.Tick(s.now)
	if n := s.Stats().InFlight; n != 0 {
		t.Fatalf("%d requests not given up", n)
	}
	s.drain(Request)
	s.now = s.NextDeadline() + 5*time.Second
	s.Tick(s.now)
	probe := s.drain(Request)
	if len(probe) != 1 {
		t.Fatalf("probes: %v", probe)
	}
	if v := s.Received(s.now, 1, probe[0].Block); v != NewBlock {
		t.Fatal(v)
	}
	if s.peers.table.get(1).suspect {
		t.Error("still suspected after a block")
	}
}

func TestBadPieceOfManyIsFetchedFromOne(t *testing.T) {
	s := newStory(t, 1, 16)
	for id := range PeerID(3) {
		s.seed(id, true)
	}
	s.want(0)
	s.download()
	s.seed(7, true)
	s.Verified(s.now, 0, false)
	s.now += time.Second
	requests := s.Drain(nil)
	for _, a := range requests {
		if a.Kind == Request && a.Peer != 7 {
			t.Fatalf("request to peer %d, which had a part in the failure", a.Peer)
		}
	}
	if len(requests) == 0 {
		t.Fatal("nothing requested again")
	}
}

func TestCreditStopsBackgroundFirst(t *testing.T) {
	tests := []struct {
		credit Credit
		urgent bool // a read is served
		other  bool // background is
	}{
		{Credit{Urgent: 1 << 20, ReadAhead: 1 << 20, Background: 1 << 20}, true, true},
		{Credit{Urgent: 1 << 20}, true, false},
		{Credit{Background: -1}, false, false},
	}
	for _, tt := range tests {
		s := newStory(t, 4, 4)
		s.SetCredit(s.now, tt.credit)
		s.seed(1, true)
		s.want(3)
		if got := len(s.drain(Request)) > 0; got != tt.other {
			t.Errorf("%+v: background runs: %v", tt.credit, got)
		}
		s.seed(2, true)
		s.Read(s.now, 1, metainfo.ByteRange{Off: 0, Len: 1})
		if got := len(s.drain(Request)) > 0; got != tt.urgent {
			t.Errorf("%+v: a read is served: %v", tt.credit, got)
		}
	}
}

func TestCancelledReadTakesItsRequestsBack(t *testing.T) {
	s := newStory(t, 4, 16)
	s.seed(1, true)
	id := s.Read(s.now, 1, metainfo.ByteRange{Off: 0, Len: 1})
	asked := len(s.drain(Request))
	s.ReadCancel(s.now, id)
	if got := len(s.drain(Cancel)); got != asked || asked == 0 {
		t.Errorf("%d cancels for %d requests", got, asked)
	}
}

func TestLeavesServeReads(t *testing.T) {
	story := func() *story {
		s := newStoryOf(t, 4, 16, Config{LeafVerified: true})
		s.seed(1, true)
		s.drain(Interested)
		return s
	}
	s := story()
	id := s.Read(s.now, 1, metainfo.ByteRange{Off: 0, Len: BlockSize})
	acts := s.Drain(nil)
	if len(acts) != 1 || acts[0] != (Action{Kind: Request, Peer: 1, On: true}) {
		t.Fatalf("a read of one block: %v", acts)
	}
	s.Received(s.now, 1, metainfo.Block{})
	s.LeafVerified(s.now, metainfo.Block{}, true)
	if got := s.drain(ReadDone); len(got) != 1 || got[0].Read != id {
		t.Fatalf("a verified block: %v", got)
	}

	// What is on disk needs no peer.
	s = story()
	s.Adopt(s.now, metainfo.Block{Index: 3})
	s.Read(s.now, 1, metainfo.ByteRange{Off: 3 * BlockSize, Len: BlockSize})
	if got := s.drain(ReadDone); len(got) != 1 {
		t.Fatalf("an adopted block: %v", got)
	}

	// Where nobody proves leaves, the whole piece is.
	s = story()
	s.Read(s.now, 1, metainfo.ByteRange{Off: 0, Len: BlockSize})
	s.drain(Request)
	s.Whole(s.now, 0)
	s.download()
	s.Received(s.now, 1, metainfo.Block{})
	s.download()
	s.Verified(s.now, 0, true)
	if got := s.drain(ReadDone); len(got) != 1 {
		t.Fatalf("a whole piece: %v", got)
	}
}

func TestPeerTable(t *testing.T) {
	var table peerTable
	for id := PeerID(-50); id < 150; id++ {
		table.put(&peer{id: id * 7})
	}
	for id := PeerID(-50); id < 150; id += 2 {
		table.del(id * 7)
	}
	for id := PeerID(-50); id < 150; id++ {
		if got := table.get(id * 7); (got != nil) != (id%2 != 0) || got != nil && got.id != id*7 {
			t.Fatalf("peer %d: %+v", id*7, got)
		}
	}
}
