package peers

import (
	"net/netip"
	"slices"
	"time"

	"torrentfs/internal/budget"
	"torrentfs/net/guard"
	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

const (
	// punchLead is how long an address is dialled before a peer that told us of it is asked to bring us together: a peer
	// that answers at all does so by then.
	punchLead = 2 * time.Second
	// punchPatience is for how long a relay's answer to a rendezvous counts as one.
	punchPatience = 20 * time.Second
	// maxAsked bounds the rendezvous with one relay that are not answered.
	maxAsked = 16
	// maxRelays bounds the peers that are remembered of those that told of an address.
	maxRelays = 3

	// Of one peer: how many messages are answered as its relay, and how many are passed to it as a target.
	relayBurst, relayRate   = 20, 1.0 / 3 // per second
	targetBurst, targetRate = 10, 1.0 / 5
	// How many strangers we try to reach on one peer's word, and on that of all.
	calledBurst, calledRate       = 5, 1.0 / 10
	allCalledBurst, allCalledRate = 20, 1.0 / 2
)

// punches is what one connection has to do with holepunching.
type punches struct {
	asked   map[netip.AddrPort]time.Duration // rendezvous that it was asked for, and when
	relayed budget.Budget                    // rendezvous that it asks us for
	reached budget.Budget                    // peers that want it
	called  budget.Budget                    // peers that we are to connect to, by its word
}

// punches reports whether peers behind routers are reached, and reach us, with the help of others (BEP 55): it takes uTP,
// and is a way in which peers hear of peers, so that there is none in private torrents (BEP 27).
func (p *Pool) punches() bool { return p.cfg.Punch && !p.tenant.Private }

// HeardHolepunch takes a message of BEP 55. Those of a peer that could not hear an answer are ignored, as the BEP wants it.
func (p *Pool) HeardHolepunch(now time.Duration, id picker.PeerID, h wire.Holepunch) {
	c := p.peer(id)
	if c == nil || !p.punches() || !c.holepunch {
		return
	}
	switch h.Type {
	case wire.HolepunchRendezvous:
		p.relay(now, c, h.Addr)
	case wire.HolepunchConnect:
		p.call(now, c, h.Addr)
	case wire.HolepunchFailed:
		if _, asked := c.punch.asked[h.Addr]; asked {
			delete(c.punch.asked, h.Addr)
			p.askRelay(now, h.Addr)
		}
	}
}

func (p *Pool) sendHolepunch(c *peer, h wire.Holepunch) {
	p.do(Action{Kind: SendHolepunch, Peer: c.id, Punch: h})
}

// relay brings two of our peers together, or says why not. For a message that comes at most two go out, to peers that are
// connected and said that they know them; each peer's share in either role is bounded. A search brings nobody together.
func (p *Pool) relay(now time.Duration, from *peer, target netip.AddrPort) {
	if !from.punch.relayed.Take(p.clock(now), 1, relayRate, relayBurst) {
		return
	}
	refuse := func(err wire.HolepunchError) {
		p.sendHolepunch(from, wire.Holepunch{Type: wire.HolepunchFailed, Addr: target, Err: err})
	}
	to := p.peerAt(target)
	switch {
	case !p.tells():
		refuse(wire.HolepunchNotConnected)
	case !guard.IsReachable(target.Addr()) || target.Port() == 0:
		refuse(wire.HolepunchNoSuchPeer)
	case p.isSelf(target):
		refuse(wire.HolepunchNoSelf)
	case to == nil || to == from || !mayMeet(from, to):
		refuse(wire.HolepunchNotConnected)
	case !to.holepunch:
		refuse(wire.HolepunchNoSupport)
	case !to.punch.reached.Take(p.clock(now), 1, targetRate, targetBurst):
		refuse(wire.HolepunchNotConnected)
	default:
		p.sendHolepunch(from, wire.Holepunch{Type: wire.HolepunchConnect, Addr: to.door()})
		p.sendHolepunch(to, wire.Holepunch{Type: wire.HolepunchConnect, Addr: from.door()})
	}
}

// mayMeet keeps addresses inside a network, in both directions, and asks for two to tell of.
func mayMeet(a, b *peer) bool {
	return a.door().IsValid() && b.door().IsValid() && mayName(a.Addr.Addr(), b.Addr.Addr()) && mayName(b.Addr.Addr(), a.Addr.Addr())
}

// door is where a peer's router lets uTP packets of others in, once the peer has sent some to them: its side of a
// connection by uTP, else where it listens.
func (c *peer) door() netip.AddrPort {
	if c.UTP {
		return c.Addr
	}
	return c.listens
}

// isSelf reports whether an address is ours, as far as we know it.
func (p *Pool) isSelf(addr netip.AddrPort) bool {
	l := p.cfg.Listen
	return l.IsValid() && addr.Port() == l.Port() && (addr.Addr() == p.known.self.of(addr.Addr()) || addr.Addr() == l.Addr())
}

// askRelay asks a peer that told us of an address to bring us together, the next one at the next call for the same attempt.
func (p *Pool) askRelay(now time.Duration, addr netip.AddrPort) {
	a := p.known.at(addr)
	if !p.punches() || a == nil || p.peerAt(addr) != nil {
		return
	}
	for a.asked < len(a.relays) {
		c := p.peer(a.relays[a.asked])
		a.asked++
		if c == nil || !c.holepunch || c.closing || !c.punch.mayAsk(addr, now) {
			continue
		}
		p.sendHolepunch(c, wire.Holepunch{Type: wire.HolepunchRendezvous, Addr: addr})
		return
	}
}

// mayAsk notes a rendezvous, unless too many of that relay are open.
func (s *punches) mayAsk(addr netip.AddrPort, now time.Duration) bool {
	for a, at := range s.asked {
		if now-at > punchPatience {
			delete(s.asked, a)
		}
	}
	if len(s.asked) >= maxAsked {
		return false
	}
	if s.asked == nil {
		s.asked = map[netip.AddrPort]time.Duration{}
	}
	s.asked[addr] = now
	return true
}

// relayedBy notes a peer that may bring us together with the one at the address.
func (a *address) relayedBy(id picker.PeerID) {
	if slices.Contains(a.relays, id) {
		return
	}
	if len(a.relays) == maxRelays {
		a.relays = slices.Delete(a.relays, 0, 1)
	}
	a.relays = append(a.relays, id)
}

// call dials the peer that a relay names: it does the same at this moment, so that each one's packets open its router for
// the other's. The address is the relay's word. It is tried if we asked for it; of others only so many are.
func (p *Pool) call(now time.Duration, relay *peer, addr netip.AddrPort) {
	a := p.known.at(addr)
	switch {
	case !mayCall(relay.Addr, addr), p.isSelf(addr), p.bans.has(addr), a != nil && a.banned, p.peerAt(addr) != nil:
		return
	case !p.isCalled(now, relay, addr), !p.mayDial(), !p.hasRoom(maxSearched):
		return
	}
	ticket, _ := p.cfg.Limits.dial(p.clock(now), addr.Addr(), []Introducer{byPeer(relay.Addr.Addr())})
	if ticket != nil {
		p.dial(now, a, Dial{Addr: addr, Punch: true, Ticket: ticket})
	}
}

// isCalled reports whether the relay's word on an address is taken: as the answer to a rendezvous, else within its share
// of strangers, and that of all.
func (p *Pool) isCalled(now time.Duration, relay *peer, addr netip.AddrPort) bool {
	for asked, at := range relay.punch.asked {
		// Its router may show the relay another port than the one we heard of.
		if asked.Addr() == addr.Addr() && now-at <= punchPatience {
			delete(relay.punch.asked, asked)
			return true
		}
	}
	at := p.clock(now)
	return relay.punch.called.Take(at, 1, calledRate, calledBurst) && p.called.Take(at, 1, allCalledRate, allCalledBurst)
}
