package smartban

import (
	"crypto/sha1"
	"fmt"
	"net/netip"
	"slices"

	"torrentfs/metainfo"
)

// maxFailed bounds the failed pieces that are remembered. Older ones are kept, newer ones dropped.
const maxFailed = 64

// Sender is who sent a block: a peer, by its address, or a web seed. The zero Sender is nobody.
type Sender struct {
	Peer netip.AddrPort
	Web  int // the number of a web seed, from 1; 0: a peer
}

// Known reports whether s is anybody.
func (s Sender) Known() bool { return s != Sender{} }

// A ReadBlock returns the bytes of a block of a piece, as it was received.
type ReadBlock func(block int) ([]byte, error)

// wrong is a block of a piece that failed its hash.
type wrong struct {
	block  int
	sender Sender
	digest [sha1.Size]byte
}

// Evidence is a torrent's memory of who sent what. Its zero value is empty and ready.
type Evidence struct {
	senders map[metainfo.Piece][]Sender // of pieces under way, by block
	failed  map[metainfo.Piece][]wrong  // of pieces that failed
}

// Received notes who sent a block of a piece that has so many blocks.
func (e *Evidence) Received(b metainfo.Block, blocks int, by Sender) {
	if e.senders == nil {
		e.senders = map[metainfo.Piece][]Sender{}
	}
	s := e.senders[b.Piece]
	if s == nil {
		s = make([]Sender, blocks)
		e.senders[b.Piece] = s
	}
	s[b.Index] = by
}

// Sender returns who sent a block of a piece under way, nobody if it has not come.
func (e *Evidence) Sender(b metainfo.Block) (by Sender) {
	if s := e.senders[b.Piece]; s != nil {
		by = s[b.Index]
	}
	return by
}

// Senders returns who sent the blocks of a piece under way, by block; nil if none has come. The slice is not the
// caller's to change or keep.
func (e *Evidence) Senders(piece metainfo.Piece) []Sender { return e.senders[piece] }

// Sent reports whether by sent a block of a piece under way.
func (e *Evidence) Sent(piece metainfo.Piece, by Sender) bool {
	return slices.Contains(e.senders[piece], by)
}

// Sole returns the one sender of all blocks of a piece that came, nobody if there are several or none.
func (e *Evidence) Sole(piece metainfo.Piece) Sender { return sole(e.senders[piece]) }

// Forget drops who sent the blocks of a piece that is not under way any more.
func (e *Evidence) Forget(piece metainfo.Piece) { delete(e.senders, piece) }

// Failed remembers the blocks of a piece that failed its hash, and returns who is convicted by that alone: the one who
// sent all of it.
func (e *Evidence) Failed(piece metainfo.Piece, read ReadBlock) (liars []Sender) {
	senders := e.senders[piece]
	delete(e.senders, piece)
	if liar := sole(senders); liar.Known() {
		return []Sender{liar}
	}
	if senders == nil || len(e.failed) >= maxFailed && e.failed[piece] == nil {
		return nil
	}
	for i, s := range senders {
		if !s.Known() {
			continue
		}
		if data, err := read(i); err == nil {
			if e.failed == nil {
				e.failed = map[metainfo.Piece][]wrong{}
			}
			e.failed[piece] = append(e.failed[piece], wrong{block: i, sender: s, digest: sha1.Sum(data)})
		}
	}
	return nil
}

// Passed compares a right piece with its wrong predecessors, and returns who sent blocks that differ, once for each.
func (e *Evidence) Passed(piece metainfo.Piece, read ReadBlock) (liars []Sender) {
	delete(e.senders, piece)
	old := e.failed[piece]
	delete(e.failed, piece)
	for _, w := range old {
		if data, err := read(w.block); err == nil && sha1.Sum(data) != w.digest {
			liars = append(liars, w.sender)
		}
	}
	return liars
}

// sole returns the one sender of all blocks that were sent, nobody if there are several or none.
func sole(senders []Sender) (one Sender) {
	for _, s := range senders {
		switch {
		case !s.Known() || s == one:
		case one.Known():
			return Sender{}
		default:
			one = s
		}
	}
	return one
}

// CheckInvariants reports the first contradiction in what is remembered, for tests.
func (e *Evidence) CheckInvariants() error {
	if len(e.failed) > maxFailed {
		return fmt.Errorf("%d failed pieces are remembered, %d at most", len(e.failed), maxFailed)
	}
	for p, blocks := range e.failed {
		for _, w := range blocks {
			if !w.sender.Known() {
				return fmt.Errorf("block %d of failed piece %d was sent by nobody", w.block, p)
			}
		}
	}
	for p, s := range e.senders {
		if !slices.ContainsFunc(s, Sender.Known) {
			return fmt.Errorf("nobody sent a block of piece %d, which is under way", p)
		}
	}
	return nil
}
