package picker

import (
	"slices"
	"testing"

	"torrentfs/metainfo"
)

// firstPieces downloads everything and returns the pieces in the order in which their first block was requested.
func firstPieces(t *testing.T, order Order, pieces int) (got []metainfo.Piece) {
	s := newStoryOf(t, pieces, 2, Config{Order: order})
	s.seed(1, true)
	s.seed(2, true)
	s.SetWant(0, []metainfo.ByteRange{{Len: int64(pieces) * 2 * BlockSize}})
	for requests := s.drain(Request); len(requests) > 0; requests = s.drain(Request) {
		for _, a := range requests {
			if !slices.Contains(got, a.Block.Piece) {
				got = append(got, a.Block.Piece)
			}
			s.now += 1e6
			s.Received(s.now, a.Peer, a.Block)
			if a.Block.Index == 1 && s.pieces.part(a.Block.Piece) != nil {
				s.Verified(s.now, a.Block.Piece, true)
			}
		}
	}
	return got
}

func TestOrders(t *testing.T) {
	const pieces = 200
	sorted := make([]metainfo.Piece, pieces)
	for i := range sorted {
		sorted[i] = i
	}
	for _, order := range []Order{RarestFirst, AsItComes, InOrder} {
		got := firstPieces(t, order, pieces)
		all := slices.Sorted(slices.Values(got))
		if !slices.Equal(all, sorted) {
			t.Errorf("%v: %d of %d pieces", order, len(all), pieces)
		}
		if in := slices.IsSorted(got); in != (order == InOrder) {
			t.Errorf("%v: in order is %v: %v", order, in, got)
		}
	}
}

// In each order a blocked read comes first.
func TestReadComesBeforeOrder(t *testing.T) {
	for _, order := range []Order{AsItComes, InOrder} {
		s := newStoryOf(t, 100, 2, Config{Order: order})
		s.seed(1, true)
		s.Read(0, 1, metainfo.ByteRange{Off: 90 * 2 * BlockSize, Len: 2 * BlockSize})
		s.SetWant(0, []metainfo.ByteRange{{Len: 100 * 2 * BlockSize}})
		if r := s.drain(Request); len(r) == 0 || r[0].Block.Piece != 90 {
			t.Errorf("%v: %v", order, r)
		}
	}
}
