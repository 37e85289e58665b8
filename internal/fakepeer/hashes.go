package fakepeer

import (
	"slices"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// HashAnswer is what a peer is about to do about a hash request (BEP 52). A
// HashBehaviour changes it.
type HashAnswer struct {
	Ask    wire.HashRange // in the answer's header
	N      int            // of this answer among the peer's, from 0
	Hashes [][32]byte     // any other number than asked for is sent as such
	Delay  time.Duration  // from the request's arrival
	Reject bool           // a reject is sent instead
	Silent bool           // nothing is

	Sent  func(piece metainfo.Piece) bool      // whether the peer has sent a block of a piece
	Asked func(piece metainfo.Piece) time.Time // when it was first asked for one; zero: not yet
}

// HashBehaviour spoils an answer. It is called with the peer's lock held, once
// for each hash request, when it arrives.
type HashBehaviour func(a *HashAnswer)

// WrongHashes flips a bit of the first hash.
func WrongHashes() HashBehaviour {
	return func(a *HashAnswer) {
		if len(a.Hashes) > 0 {
			a.Hashes[0][7] ^= 0x10
		}
	}
}

// WrongUncles flips a bit of the last hash.
func WrongUncles() HashBehaviour {
	return func(a *HashAnswer) {
		if n := len(a.Hashes); n > 0 {
			a.Hashes[n-1][7] ^= 0x10
		}
	}
}

// ShortHashes leaves out the last hash.
func ShortHashes() HashBehaviour {
	return func(a *HashAnswer) { a.Hashes = a.Hashes[:max(len(a.Hashes)-1, 0)] }
}

// UnalignedHashes answers for a range that begins one hash later.
func UnalignedHashes() HashBehaviour {
	return func(a *HashAnswer) { a.Ask.Index++ }
}

// OtherHashes answers for the next range of the same length, as if that had
// been asked for.
func OtherHashes() HashBehaviour {
	return func(a *HashAnswer) { a.Ask.Index += a.Ask.Length }
}

// LateHashes answers d after the request.
func LateHashes(d time.Duration) HashBehaviour {
	return func(a *HashAnswer) { a.Delay += d }
}

// NoHashes says nothing.
func NoHashes() HashBehaviour {
	return func(a *HashAnswer) { a.Silent = true }
}

// RejectHashes rejects the first n requests, all if n is negative.
func RejectHashes(n int) HashBehaviour {
	return func(a *HashAnswer) { a.Reject = a.Reject || n < 0 || a.N < n }
}

// queuedHashes is an answer that is due at some time.
type queuedHashes struct {
	raw []byte
	due time.Time
}

// hashRequest queues the answer to a hash request. mu is held.
func (s *session) hashRequest(ask wire.HashRange) {
	p := s.peer
	if p.opt.Hashes == nil {
		return
	}
	hashes, ok := p.opt.Hashes(ask)
	a := HashAnswer{Ask: ask, N: p.hashAnswers, Hashes: hashes, Reject: !ok, Sent: func(piece metainfo.Piece) bool { return p.sentOf[piece] }, Asked: func(piece metainfo.Piece) time.Time { return p.askedOf[piece] }}
	p.hashAnswers++
	for _, spoil := range p.opt.HashBehaviours {
		spoil(&a)
	}
	var raw []byte
	switch {
	case a.Silent:
		return
	case a.Reject:
		raw = wire.AppendHashReject(nil, ask)
	default:
		raw = wire.AppendHashes(nil, a.Ask, a.Hashes)
	}
	s.hashes = append(s.hashes, queuedHashes{raw, time.Now().Add(a.Delay)})
	s.poke()
}

// sendHashes sends the answers that are due. mu is held.
func (s *session) sendHashes(now time.Time) {
	s.hashes = slices.DeleteFunc(s.hashes, func(q queuedHashes) bool {
		if q.due.After(now) {
			return false
		}
		s.control = append(s.control, q.raw...)
		return true
	})
}
