package peers

import (
	"bytes"
	"math"
	"net/netip"
	"slices"
	"time"

	"torrentfs/picker"
)

const (
	// Slots bounds the connections of a pool that ids can tell apart: an id is a count times Slots, and a slot.
	Slots = 1 << 16

	crossing     = 10 * time.Second // so far apart connections begin that two peers made to each other at the same time
	uselessAfter = 30 * time.Second // a connection may be idle for so long while others wait for its place

	maxIdle     = 16 // outgoing connections of a search to peers without metadata
	maxIncoming = 32 // connections that came to a search
)

// Arrival is a connection past its handshake.
type Arrival struct {
	Addr      netip.AddrPort
	PeerID    [20]byte
	Outgoing  bool
	Punched   bool // by holepunching
	UTP       bool // not TCP
	Encrypted bool // MSE was spoken
}

// Place is what a connection gets in the pool.
type Place struct {
	ID       picker.PeerID
	NoHashes bool // the peer is not to be asked for hashes: it breaks the protocol then
}

// Intro is what a peer's extension handshake (BEP 10) says of itself. It may come again with changes.
type Intro struct {
	Port      uint16 // where it listens; 0: not said
	PEX       bool   // it speaks BEP 11
	Holepunch bool   // and BEP 55
	YourIP    netip.Addr
}

// Departure is what the end of a connection says about the address.
type Departure struct {
	Shy      bool // it may have closed on what we said with the handshake: wait for its own the next time
	NoHashes bool // it broke the protocol when it was asked for hashes: it is not asked again
	Failed   bool // it was of no use
	Again    bool // it may be dialled at once
}

// peer is a connection of the pool.
type peer struct {
	Arrival
	id        picker.PeerID
	since     time.Duration
	useful    time.Duration  // when payload last went either way
	listens   netip.AddrPort // where others can connect to it; invalid while unknown
	pex       bool           // it speaks BEP 11
	holepunch bool           // and BEP 55
	seed      bool           // it has everything, or wants nothing more
	idle      bool           // it has no metadata for a search
	closing   bool           // the owner was told to close it

	pexState pexState
	punch    punches
}

// Join takes a connection into the pool, or says why it is refused; the caller then closes it.
func (p *Pool) Join(now time.Duration, v Arrival) (Place, error) {
	a := p.known.at(v.Addr)
	if err := p.refusal(now, v); err != nil {
		if a != nil && v.Outgoing && !p.reaches(v.Addr) {
			a.failed(now)
			a.banned = a.banned || err == ErrBanned
		}
		return Place{}, err
	}
	slot := slices.Index(p.slots, nil)
	if slot < 0 {
		slot = len(p.slots)
		p.slots = append(p.slots, nil)
	}
	// The picker may still speak of the last one in that slot.
	p.ids = (p.ids + 1) % (math.MaxInt32 / Slots)
	c := &peer{Arrival: v, id: picker.PeerID(p.ids*Slots + slot), since: now, useful: now, pexState: pexState{next: now - pexPause}}
	if v.Outgoing {
		c.listens = v.Addr
	}
	p.slots[slot] = c
	p.live++
	return Place{ID: c.id, NoHashes: a != nil && a.noHashes}, nil
}

// refusal is why a connection is not taken.
func (p *Pool) refusal(now time.Duration, v Arrival) error {
	switch a := p.known.at(v.Addr); {
	case p.needs.Stopped:
		return ErrStopped
	case !p.tenant.Search && p.live >= p.tenant.MaxPeers:
		p.crowded = true
		return ErrTooMany
	case p.isCrowd(v):
		return ErrTooMany
	case a != nil && a.banned || p.bans.has(v.Addr):
		return ErrBanned
	}
	for _, o := range p.slots {
		if o == nil || o.PeerID != v.PeerID {
			continue
		}
		if !p.prefers(now, v, o) {
			return ErrTwice
		}
		p.close(o, ErrTwice)
	}
	if p.tenant.Search && !v.Outgoing && !p.giveWay() {
		return ErrTooMany
	}
	return nil
}

// isCrowd reports whether a connection that came to us is one too many of its neighbourhood. On this machine all are
// neighbours.
func (p *Pool) isCrowd(v Arrival) bool {
	if v.Outgoing || v.Addr.Addr().IsLoopback() {
		return false
	}
	n, home := 0, neighbourhood(v.Addr.Addr())
	for _, o := range p.slots {
		if o != nil && !o.Outgoing && neighbourhood(o.Addr.Addr()) == home {
			n++
		}
	}
	most := p.tenant.MaxPeers
	if p.tenant.Search {
		most = maxIncoming
	}
	return n >= max(4, most/4)
}

// prefers reports whether a second connection to a peer takes the place of the first. It does if they crossed each other:
// both sides then keep the one that the higher peer id made, not each side another one, which is none.
func (p *Pool) prefers(now time.Duration, v Arrival, first *peer) bool {
	return v.Outgoing != first.Outgoing && now-first.since < crossing &&
		v.Outgoing == (bytes.Compare(p.cfg.Self[:], v.PeerID[:]) > 0)
}

// giveWay makes room for another connection that comes to a search: one without metadata gives way.
func (p *Pool) giveWay() bool {
	n := 0
	var oldest *peer
	for _, c := range p.slots {
		if c == nil || c.Outgoing || c.closing {
			continue
		}
		if n++; c.idle && (oldest == nil || c.since < oldest.since) {
			oldest = c
		}
	}
	if n < maxIncoming {
		return true
	}
	if oldest != nil {
		p.close(oldest, ErrUseless)
	}
	return oldest != nil
}

// Introduced takes a peer's extension handshake.
func (p *Pool) Introduced(id picker.PeerID, in Intro) {
	c := p.peer(id)
	if c == nil {
		return
	}
	c.pex, c.holepunch = in.PEX, in.Holepunch
	if !c.Outgoing && in.Port != 0 {
		c.listens = netip.AddrPortFrom(c.Addr.Addr(), in.Port)
	}
	p.known.self.vote(c.Addr.Addr().String(), in.YourIP)
}

// SetSeed tells that a peer has everything, or wants nothing more (BEP 21), or that it lacks something.
func (p *Pool) SetSeed(id picker.PeerID, seed bool) {
	if c := p.peer(id); c != nil {
		c.seed = seed
	}
}

// SetUseful tells that payload goes between us and a peer.
func (p *Pool) SetUseful(now time.Duration, id picker.PeerID) {
	if c := p.peer(id); c != nil {
		c.useful = now
	}
}

// SetIdle tells a search's pool that a peer has no metadata: it is kept for what it tells of others, beside those that
// are asked, and not too many are.
func (p *Pool) SetIdle(now time.Duration, id picker.PeerID) {
	c := p.peer(id)
	if c == nil || c.idle || !p.tenant.Search {
		return
	}
	c.idle = true
	if !c.Outgoing {
		return
	}
	p.idle = append(p.idle, c)
	if len(p.idle) > maxIdle {
		p.close(p.idle[0], ErrUseless)
		p.idle = p.idle[1:]
	}
	p.fill(now)
}

// Left tells that a connection has ended.
func (p *Pool) Left(now time.Duration, id picker.PeerID, d Departure) {
	c := p.peer(id)
	if c == nil {
		return
	}
	p.slots[Slot(id)] = nil
	p.live--
	p.idle = slices.DeleteFunc(p.idle, func(o *peer) bool { return o == c })
	if a := p.known.at(c.Addr); a != nil && c.Outgoing {
		a.left(now, c, d)
		a.inUse = a.dials > 0 // another dial of it goes on
	}
	p.fill(now)
}

// left notes how a connection to the address ended.
func (a *address) left(now time.Duration, c *peer, d Departure) {
	a.seed = c.seed
	switch {
	case d.Shy && !a.plain:
		a.plain = true
		a.due = now
	case d.NoHashes && !a.noHashes:
		a.noHashes = true
		a.due = now
	case d.Failed:
		a.failed(now)
	case d.Again:
		a.released(now)
		a.due = now
	default:
		a.released(now)
	}
}

// makeRoom ends the connection that has been idle longest, if others wait for its place. Else the silent could keep out
// those that have what we need.
func (p *Pool) makeRoom(now time.Duration) {
	if p.tenant.Search {
		return
	}
	crowded := p.crowded || p.live+p.dialing >= p.tenant.MaxPeers && p.known.pick(now, p.needs.Complete) != nil
	p.crowded = false
	if !crowded {
		return
	}
	var idlest *peer
	since := now - uselessAfter
	for _, c := range p.slots {
		if c != nil && !c.closing && c.useful <= since {
			idlest, since = c, c.useful
		}
	}
	if idlest != nil {
		p.close(idlest, ErrUseless)
	}
}

// close makes the owner close a connection. It stays in the pool until Left.
func (p *Pool) close(c *peer, why error) {
	if !c.closing {
		c.closing = true
		p.do(Action{Kind: Close, Peer: c.id, Err: why})
	}
}

// peer is the connection of an id, nil if it has ended.
func (p *Pool) peer(id picker.PeerID) *peer {
	if s := Slot(id); s < len(p.slots) && p.slots[s] != nil && p.slots[s].id == id {
		return p.slots[s]
	}
	return nil
}

// Slot is the place of an id in a list of connections.
func Slot(id picker.PeerID) int { return int(id) % Slots }
