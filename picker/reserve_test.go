package picker

import (
	"testing"
	"time"

	"torrentfs/metainfo"
)

// Background leaves a reader's window alone, and takes it up again when the reader is closed or idle, also if all that it found
// before was in the window.
func TestWindowIsLeftToTheBackground(t *testing.T) {
	const reader ReaderID = 1
	for name, end := range map[string]func(s *story){
		"closed": func(s *story) { s.ReaderClose(s.now, reader) },
		"idle": func(s *story) {
			s.now = s.NextDeadline()
			if s.now == Never {
				s.t.Fatal("nothing is due when the reader will be idle")
			}
			s.Tick(s.now)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t, 8, 16)
			s.Verified(s.now, 0, true)
			s.now = time.Second
			for off := int64(0); off < sequentialRun; off += 32 << 10 {
				s.ReadHit(s.now, reader, metainfo.ByteRange{Off: off, Len: 32 << 10})
			}
			s.SetCredit(s.now, Credit{Background: 1 << 30})                                   // read-ahead takes nothing
			s.SetWant(s.now, []metainfo.ByteRange{{Off: 0, Len: 3 * s.pieces.PieceLength()}}) // all of it in the window
			s.seed(1, true)
			if got := s.drain(Request); len(got) > 0 {
				t.Fatalf("background took %v out of a reader's window", got)
			}
			end(s)
			if got := s.drain(Request); len(got) == 0 {
				t.Error("nothing is requested")
			}
		})
	}
}

// A piece that failed its hash may be asked of a peer that had a part in it once no other peer has it.
func TestFailedPieceIsAskedOfWhoIsLeft(t *testing.T) {
	s := newStory(t, 4, 4)
	s.seed(1, true)
	s.want(0)
	s.download()
	s.seed(2, true)
	s.Verified(s.now, 0, false)
	for _, a := range s.drain(Request) {
		if a.Peer != 2 {
			t.Fatalf("%+v: want the peer that had no part in the failure asked", a)
		}
	}
	s.PeerGone(s.now, 2)
	if got := s.drain(Request); len(got) == 0 {
		t.Error("nobody is asked")
	}
}
