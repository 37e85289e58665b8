package swarm

import (
	"crypto/sha1"
	"net/netip"
)

// A piece that fails its hash blames everybody who sent blocks of it. So the
// sender of each block of a piece under way is kept. When the piece is wrong,
// the blocks' digests are taken; when it was fetched again and is right,
// whoever sent a block that differs is the liar, and he alone is banned.

// sender is who sent a block: a peer, by its address, or a web seed. The zero
// sender is nobody.
type sender struct {
	peer netip.AddrPort
	web  *webPeer
}

func (s sender) known() bool { return s != sender{} }

// culprit is a block of a piece that was wrong.
type culprit struct {
	block  int
	sender sender
	digest [sha1.Size]byte
}

// blame is the torrent's memory of who sent what; the loop owns it.
type blame struct {
	senders  map[int][]sender  // of pieces under way, by block
	culprits map[int][]culprit // of pieces that failed
}

// maxCulprits bounds the pieces remembered; older grudges are kept, newer dropped.
const maxCulprits = 64

// sent notes who sent a block.
func (b *blame) sent(piece, block, blocks int, by sender) {
	if b.senders == nil {
		b.senders = map[int][]sender{}
	}
	s := b.senders[piece]
	if s == nil {
		s = make([]sender, blocks)
		b.senders[piece] = s
	}
	s[block] = by
}

// sender is who sent a block of a piece under way; not known where nobody did.
func (b *blame) sender(piece, block int) (by sender) {
	if s := b.senders[piece]; s != nil {
		by = s[block]
	}
	return by
}

// failed remembers the blocks of a wrong piece. Where one peer sent all of it,
// that is the liar. read returns a block's bytes.
func (b *blame) failed(piece int, read func(block int) ([]byte, error)) (liars []sender) {
	senders := b.senders[piece]
	delete(b.senders, piece)
	if liar := sole(senders); liar.known() {
		return []sender{liar}
	}
	if senders == nil || len(b.culprits) >= maxCulprits && b.culprits[piece] == nil {
		return nil
	}
	if b.culprits == nil {
		b.culprits = map[int][]culprit{}
	}
	for i, s := range senders {
		if !s.known() {
			continue
		}
		if data, err := read(i); err == nil {
			b.culprits[piece] = append(b.culprits[piece], culprit{block: i, sender: s, digest: sha1.Sum(data)})
		}
	}
	return nil
}

// sole is the one sender of all blocks that were sent; not known where there are several, or none.
func sole(senders []sender) (one sender) {
	for _, s := range senders {
		switch {
		case !s.known() || s == one:
		case one.known():
			return sender{}
		default:
			one = s
		}
	}
	return one
}

// passed compares a right piece with its wrong predecessors and returns the liars.
func (b *blame) passed(piece int, read func(block int) ([]byte, error)) (liars []sender) {
	delete(b.senders, piece)
	old := b.culprits[piece]
	delete(b.culprits, piece)
	for _, c := range old {
		if data, err := read(c.block); err == nil && sha1.Sum(data) != c.digest {
			liars = append(liars, c.sender)
		}
	}
	return liars
}
