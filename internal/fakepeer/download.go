package fakepeer

import (
	"bytes"
	"slices"
	"time"

	"torrentfs/swarm/wire"
)

// retryDelay is how long it waits after a reject before it asks again.
const retryDelay = time.Second

// ask tops up our requests. mu is held.
func (s *session) ask(now time.Time) {
	p := s.peer
	if !s.wanted && slices.ContainsFunc(p.missing, func(b Block) bool { return s.has[b.Piece] }) {
		s.wanted = true
		s.control = wire.AppendInterested(s.control)
	}
	if !now.Before(s.retryAt) {
		s.retryAt = time.Time{} // also while choked: a time that is past would keep the writer busy
	}
	if s.choked || !s.retryAt.IsZero() {
		return
	}
	for len(s.inflight) < p.opt.Depth {
		i := slices.IndexFunc(p.missing, func(b Block) bool { return s.has[b.Piece] })
		if i < 0 {
			return
		}
		b := p.missing[i]
		p.missing = slices.Delete(p.missing, i, i+1)
		s.control = wire.AppendRequest(s.control, b.Piece, b.Begin, b.Length)
		s.inflight = append(s.inflight, b)
		s.sent++
		if n := p.opt.CancelEvery; n > 0 && s.sent%n == 0 {
			// It stays in flight: the block may come nevertheless.
			s.control = wire.AppendCancel(s.control, b.Piece, b.Begin, b.Length)
		}
	}
}

// giveBack makes a connection's requests free for others. mu is held.
func (p *Peer) giveBack(s *session) {
	p.missing = append(p.missing, s.inflight...)
	s.inflight = nil
	for _, o := range p.sessions {
		o.poke()
	}
}

// rejected makes the block free, and waits a little before asking anew. mu is
// held.
func (p *Peer) rejected(s *session, b Block) {
	i := slices.Index(s.inflight, b)
	if i < 0 {
		return
	}
	s.inflight = slices.Delete(s.inflight, i, i+1)
	p.missing = append(p.missing, b)
	s.retryAt = time.Now().Add(retryDelay)
}

// received takes a block in, and compares it with the content. mu is held.
func (p *Peer) received(s *session, b Block, data []byte) error {
	defer s.poke()
	i := slices.Index(s.inflight, b)
	if i < 0 {
		p.rec.Unasked++
		return nil
	}
	s.inflight = slices.Delete(s.inflight, i, i+1)
	want, err := p.opt.read(b)
	if err != nil {
		return err
	}
	if !bytes.Equal(data, want) {
		p.rec.Wrong++
		p.missing = append(p.missing, b)
		return nil
	}
	piece := int(b.Piece)
	if p.left[piece]--; p.left[piece] > 0 {
		return nil
	}
	delete(p.left, piece)
	p.hold(piece)
	if len(p.left) == 0 {
		close(p.complete)
	}
	return nil
}
