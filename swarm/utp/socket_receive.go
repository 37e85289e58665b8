package utp

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// receiveLoop is the one goroutine that receives.
func (s *Socket) receiveLoop() {
	var touched []*Conn
	for {
		err := s.io.receive(func(b []byte, on route) {
			c := s.datagram(b, on)
			if c != nil && (len(touched) == 0 || touched[len(touched)-1] != c) {
				touched = append(touched, c)
			}
		})
		for i, c := range touched {
			s.schedule(c)
			touched[i] = nil
		}
		touched = touched[:0]
		if err == nil {
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		s.log.Debug("uTP socket: receiving failed", "err", err)
		select { // such as an ICMP error about a packet of ours: not a reason to spin
		case <-time.After(10 * time.Millisecond):
		case <-s.done:
			return
		}
	}
}

// datagram takes one datagram and returns the connection that it concerns.
func (s *Socket) datagram(b []byte, on route) *Conn {
	from := on.peer
	p, err := parsePacket(b)
	if err != nil {
		if s.cfg.Other != nil {
			s.cfg.Other(b, from, on.ours)
		}
		return nil
	}
	if !from.IsValid() || from.Port() == 0 {
		return nil
	}
	c := s.find(&p, from)
	if c == nil {
		if p.kind != typeReset && p.kind != typeSyn {
			s.reject(&p, on)
		}
		return nil
	}
	c.mu.Lock()
	if !c.ours.IsValid() {
		c.ours = on.ours
	}
	was := c.core.state
	c.core.receive(s.now(), &p)
	arrived := was == stateSynReceived && c.core.state == stateConnected
	c.changed()
	c.mu.Unlock()
	if arrived {
		s.deliver(c)
	}
	return c
}

// find returns the connection of a packet; for a SYN that may be a new one.
func (s *Socket) find(p *packet, from netip.AddrPort) *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch p.kind {
	case typeReset:
		// It comes with the id of the packet that it answers, which is the one
		// that we send, or with ours.
		for _, id := range [...]uint16{p.id, p.id - 1, p.id + 1} {
			if c := s.conns[connKey{from, id}]; c != nil && (id == p.id || c.sendID == p.id) {
				return c
			}
		}
		return nil
	case typeSyn:
		key := connKey{from, p.id + 1}
		if c := s.conns[key]; c != nil {
			return c
		}
		if s.closed || s.halfOpen >= s.cfg.maxHalfOpen || len(s.conns) >= s.cfg.maxConns {
			return nil // the peer tries again, and a flood costs nothing
		}
		c := newConn(s, key, newAcceptor(s.now(), p, uint16(rand.Uint32())))
		c.halfOpen = true
		s.halfOpen++
		s.conns[key] = c
		return c
	}
	return s.conns[connKey{from, p.id}]
}

// deliver hands a connection that was proven to Accept.
func (s *Socket) deliver(c *Conn) {
	s.mu.Lock()
	if c.halfOpen {
		c.halfOpen = false
		s.halfOpen--
	}
	s.mu.Unlock()
	select {
	case s.backlog <- c:
	default:
		c.abort()
	}
}

// reject answers a packet that belongs to no connection, so that the peer need not wait for a
// time-out. Rejections are rate-limited, because the address may be false.
func (s *Socket) reject(p *packet, on route) {
	if !s.resets.Allow() {
		return
	}
	var b [headerLen]byte
	r := packet{kind: typeReset, id: p.id, seq: uint16(rand.Uint32()), ack: p.seq, timestamp: micros(s.now())}
	_ = s.io.answer(appendHeader(b[:0], &r), on)
}
