package fakepeer

import (
	"slices"
	"time"

	"torrentfs/swarm/wire"
)

// interest takes over the program's interest, and starts the choke pattern. mu
// is held.
func (s *session) interest(yes bool) {
	s.interested = yes
	s.peer.rec.Interested = yes
	if after := s.peer.opt.UnchokeAfter; yes && s.choking && s.chokeAt.IsZero() && s.chokeStep == 0 && after >= 0 {
		s.chokeAt = time.Now().Add(after)
	}
	s.poke()
}

// request queues the answer to a request. mu is held.
func (s *session) request(b Block) error {
	p := s.peer
	if len(s.queue) >= p.opt.Reqq {
		p.rec.OverReqq++
	}
	if !p.opt.valid(b) || !p.have[b.Piece] {
		p.rec.Invalid++
		s.reject(b)
		return nil
	}
	if s.choking && !p.opt.IgnoreChoke && !slices.Contains(p.opt.AllowedFast, b.Piece) {
		p.rec.WhileChoked++
		s.reject(b)
		return nil
	}
	data, err := p.opt.read(b)
	if err != nil {
		return err
	}
	a := Answer{Block: b, N: p.answers, Data: data, Copies: 1}
	p.answers++
	for _, spoil := range p.opt.Behaviours {
		spoil(&a)
	}
	switch {
	case a.Reject:
		s.reject(b)
	case a.Copies > 0:
		s.queue = append(s.queue, queued{a, time.Now().Add(a.Delay)})
		s.poke()
	}
	return nil
}

// reject sends that a request will not be served, if the peer has the fast extension (BEP 6).
func (s *session) reject(b Block) {
	if s.fast {
		s.send(wire.AppendReject(nil, b.Piece, b.Begin, b.Length))
	}
}

// cancel forgets a request. With BEP 6 it is answered nevertheless.
func (s *session) cancel(b Block) {
	if s.peer.opt.IgnoreCancel {
		return
	}
	if i := slices.IndexFunc(s.queue, func(q queued) bool { return q.Block == b }); i >= 0 {
		s.queue = slices.Delete(s.queue, i, i+1)
		s.reject(b)
	}
}

// switchChoke follows the choke pattern. mu is held.
func (s *session) switchChoke(now time.Time) {
	if s.chokeAt.IsZero() || now.Before(s.chokeAt) {
		return
	}
	opt := &s.peer.opt
	s.choking = !s.choking
	if s.choking {
		s.send(wire.AppendChoke(nil))
		if !opt.IgnoreChoke {
			kept := s.queue[:0]
			for _, q := range s.queue {
				if slices.Contains(opt.AllowedFast, q.Block.Piece) {
					kept = append(kept, q)
				} else {
					s.reject(q.Block)
				}
			}
			s.queue = kept
		}
	} else {
		s.send(wire.AppendUnchoke(nil))
	}
	s.chokeAt = time.Time{}
	if n := len(opt.Chokes); n > 0 {
		s.chokeAt = now.Add(opt.Chokes[s.chokeStep%n])
		s.chokeStep++
	}
}

// write sends what is queued, at its time, until done.
func (s *session) write(done <-chan struct{}) {
	opt := &s.peer.opt
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var free time.Time // when the upload rate allows the next block
	alive := time.Now()
	for {
		now := time.Now()
		s.peer.mu.Lock()
		s.switchChoke(now)
		s.ask(now)
		s.sendHashes(now)
		if opt.KeepAlive > 0 && now.Sub(alive) >= opt.KeepAlive {
			s.send(wire.AppendKeepAlive(nil))
			alive = now
		}
		control := s.control
		s.control = nil
		answer, ok := s.nextAnswer(now, free)
		next := s.nextTime(free)
		s.peer.mu.Unlock()
		if opt.KeepAlive > 0 {
			next = earlier(next, alive.Add(opt.KeepAlive))
		}

		if len(control) > 0 {
			if _, err := s.conn.Write(control); err != nil {
				return
			}
		}
		if ok {
			if !s.upload(answer, done) {
				return
			}
			if opt.UploadRate > 0 {
				cost := time.Duration(float64(len(answer.Data)*answer.Copies) / float64(opt.UploadRate) * float64(time.Second))
				free = later(free, now).Add(cost)
			}
			continue
		}
		if len(control) > 0 {
			continue
		}
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-timer.C:
		case <-s.wake:
		case <-done:
			return
		}
	}
}

// nextAnswer takes the first answer that is due. mu is held.
func (s *session) nextAnswer(now, free time.Time) (Answer, bool) {
	if now.Before(free) {
		return Answer{}, false
	}
	for i, q := range s.queue {
		if !q.due.After(now) {
			s.queue = slices.Delete(s.queue, i, i+1)
			return q.Answer, true
		}
	}
	return Answer{}, false
}

// nextTime returns when there will be something to do, zero for never. mu is
// held.
func (s *session) nextTime(free time.Time) time.Time {
	next := earlier(s.chokeAt, s.retryAt)
	for _, q := range s.queue {
		next = earlier(next, later(q.due, free))
	}
	for _, q := range s.hashes {
		next = earlier(next, q.due)
	}
	return next
}

// upload writes an answer, and reports false when the connection is done for.
func (s *session) upload(a Answer, done <-chan struct{}) bool {
	opt := &s.peer.opt
	head := wire.AppendPieceHeader(nil, a.Block.Piece, a.Block.Begin, uint32(len(a.Data)))
	for range a.Copies {
		data := a.Data
		if a.Cut {
			data = data[:len(data)/2]
		}
		if opt.TrickleBytes <= 0 {
			if _, err := s.conn.Write(append(slices.Clone(head), data...)); err != nil {
				return false
			}
		} else if !s.trickle(append(slices.Clone(head), data...), done) {
			return false
		}
		s.peer.mu.Lock()
		s.peer.rec.Uploaded += int64(len(data))
		if s.peer.sentOf == nil {
			s.peer.sentOf = map[int]bool{}
		}
		s.peer.sentOf[int(a.Block.Piece)] = true
		s.peer.note()
		s.peer.mu.Unlock()
		if a.Cut {
			s.reset()
			return false
		}
	}
	return true
}

// trickle writes b in small parts.
func (s *session) trickle(b []byte, done <-chan struct{}) bool {
	opt := &s.peer.opt
	timer := time.NewTimer(0)
	defer timer.Stop()
	for len(b) > 0 {
		timer.Reset(opt.TrickleEvery)
		select {
		case <-timer.C:
		case <-done:
			return false
		}
		n := min(len(b), opt.TrickleBytes)
		if _, err := s.conn.Write(b[:n]); err != nil {
			return false
		}
		b = b[n:]
	}
	return true
}

// reset ends the connection hard, if its type can.
func (s *session) reset() {
	if c, ok := s.conn.(interface{ SetLinger(sec int) error }); ok {
		_ = c.SetLinger(0)
	}
	_ = s.conn.Close()
}

// earlier returns the earlier of two times that may be zero, which is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
