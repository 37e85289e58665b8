package fakepeer

import (
	"time"

	"torrentfs/swarm/wire"
)

// Answer is what a peer is about to do about a request. A Behaviour changes it.
type Answer struct {
	Block  Block
	N      int           // of this answer among the peer's, from 0
	Data   []byte        // payload; any other length is sent as such
	Delay  time.Duration // from the request's arrival; those behind it do not wait for it
	Copies int           // how often it is sent; 0 is not at all, without a word
	Reject bool          // a reject is sent instead
	Cut    bool          // the connection is reset in the middle of the payload
}

// Behaviour spoils an answer. It is called with the peer's lock held, once for
// each request, when it arrives.
type Behaviour func(a *Answer)

// Corrupt flips a bit of the blocks that match.
func Corrupt(match func(Block) bool) Behaviour {
	return func(a *Answer) {
		if match(a.Block) && len(a.Data) > 0 {
			a.Data[len(a.Data)/2] ^= 0x10
		}
	}
}

// CorruptBlock flips a bit of one block, every time.
func CorruptBlock(piece, begin uint32) Behaviour {
	return Corrupt(func(b Block) bool { return b.Piece == piece && b.Begin == begin })
}

// Late answers d after the request.
func Late(d time.Duration) Behaviour {
	return func(a *Answer) { a.Delay += d }
}

// LateIf answers the blocks that match d after the request.
func LateIf(d time.Duration, match func(Block) bool) Behaviour {
	return func(a *Answer) {
		if match(a.Block) {
			a.Delay += d
		}
	}
}

// StallAfter answers n requests and then none, without a word.
func StallAfter(n int) Behaviour {
	return func(a *Answer) {
		if a.N >= n {
			a.Copies = 0
		}
	}
}

// Drop does not answer requests for the blocks that match.
func Drop(match func(Block) bool) Behaviour {
	return func(a *Answer) {
		if match(a.Block) {
			a.Copies = 0
		}
	}
}

// RejectIf rejects the blocks that match.
func RejectIf(match func(Block) bool) Behaviour {
	return func(a *Answer) { a.Reject = a.Reject || match(a.Block) }
}

// Twice sends each block two times.
func Twice() Behaviour {
	return func(a *Answer) { a.Copies *= 2 }
}

// Resize sends each block with so many bytes more or less than asked for.
func Resize(by int) Behaviour {
	return func(a *Answer) {
		n := max(0, len(a.Data)+by)
		for len(a.Data) < n {
			a.Data = append(a.Data, 0)
		}
		a.Data = a.Data[:n]
	}
}

// ResetAfter answers n requests, and resets the connection in the middle of the
// next.
func ResetAfter(n int) Behaviour {
	return func(a *Answer) { a.Cut = a.Cut || a.N >= n }
}

// The following make raw bytes for Options.Opening and Options.Extra.

// BadBitfield is a bitfield with all bits set, the spare ones too; of a torrent
// that has no spare bits, one that is a byte too long.
func BadBitfield(pieces int) []byte {
	return wire.AppendBitfield(nil, ones(pieces+8), pieces/8*8+8)
}

func ones(n int) []uint64 {
	words := make([]uint64, (n+63)/64)
	for i := range words {
		words[i] = 1<<64 - 1
	}
	return words
}

// HugeMessage is the beginning of a message of 4 GiB.
func HugeMessage() []byte { return []byte{0xff, 0xff, 0xff, 0xff, byte(wire.Piece), 0, 0, 0, 0} }

// HaveFlood is n have messages, of the torrent's pieces in turn.
func HaveFlood(n, pieces int) []byte {
	var b []byte
	for i := range n {
		b = wire.AppendHave(b, uint32(i%pieces))
	}
	return b
}

// RequestFlood is n requests for the first block of each piece in turn.
func RequestFlood(n, pieces int, length uint32) []byte {
	var b []byte
	for i := range n {
		b = wire.AppendRequest(b, uint32(i%pieces), 0, length)
	}
	return b
}

// Unsolicited is a block that was not requested.
func Unsolicited(piece, begin uint32, data []byte) []byte {
	return append(wire.AppendPieceHeader(nil, piece, begin, uint32(len(data))), data...)
}
