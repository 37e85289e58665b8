package swarm

import (
	"net/netip"
	"time"

	"torrentfs/internal/budget"
	"torrentfs/net/guard"
	"torrentfs/picker"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

const (
	// punchLead is how long an address is dialled before somebody who told us
	// of it is asked to bring us together: who answers at all does so by then.
	punchLead = 2 * time.Second
	// punchPatience is for how long a relay's answer to a rendezvous counts as one.
	punchPatience = 20 * time.Second
	// maxAsked bounds the rendezvous with one relay that are not answered.
	maxAsked = 16

	// Of one peer: how many messages are answered as its relay, and how many
	// are passed to it as a target.
	relayBurst, relayRate   = 20, 1.0 / 3 // per second
	targetBurst, targetRate = 10, 1.0 / 5
	// How many strangers we try to reach on one peer's word, and on that of all.
	calledBurst, calledRate       = 5, 1.0 / 10
	allCalledBurst, allCalledRate = 20, 1.0 / 2
)

// punchState is what one connection has to do with holepunching. The loop owns it.
type punchState struct {
	asked   map[netip.AddrPort]time.Duration // rendezvous that it was asked for, and when
	relayed budget.Budget                    // rendezvous that it asks us for
	reached budget.Budget                    // peers that want it
	called  budget.Budget                    // peers that we are to connect to, by its word
}

// punches reports whether peers behind routers are reached, and reach us, with
// the help of others (BEP 55): it takes uTP, and is a way in which peers hear of
// peers, so that there is none in private torrents (BEP 27).
func (t *Torrent) punches() bool { return t.s.cfg.UTP != nil && t.gossips() }

// handleHolepunch takes a message of BEP 55. Those of a peer that could not
// hear an answer are ignored, as the BEP wants it.
func (t *Torrent) handleHolepunch(c *peerConn, h *wire.Holepunch) {
	if !t.punches() || c.extIDs.Holepunch == 0 {
		return
	}
	switch h.Type {
	case wire.HolepunchRendezvous:
		t.relay(c, h.Addr)
	case wire.HolepunchConnect:
		t.handleCall(c, h.Addr)
	case wire.HolepunchFailed:
		if _, asked := c.punch.asked[h.Addr]; asked {
			delete(c.punch.asked, h.Addr)
			t.log.Debug("holepunch: the relay cannot help: "+h.Err.String(), "addr", h.Addr, "relay", c.Addr)
			t.askRelay(h.Addr)
		}
	}
}

func (t *Torrent) sendHolepunch(c *peerConn, h wire.Holepunch) {
	t.post(c, func(b []byte) []byte { return wire.AppendExtended(b, c.extIDs.Holepunch, h.Append(nil)) })
}

// relay brings two of our peers together, or says why not. For a message that
// comes at most two go out, to peers that are connected and said that they know
// them; each peer's share in either role is bounded.
func (t *Torrent) relay(from *peerConn, target netip.AddrPort) {
	now := time.Now()
	if !from.punch.relayed.Take(now, 1, relayRate, relayBurst) {
		return
	}
	refuse := func(err wire.HolepunchError) {
		t.sendHolepunch(from, wire.Holepunch{Type: wire.HolepunchFailed, Addr: target, Err: err})
	}
	to := t.peerAt(target)
	switch {
	case !guard.IsReachable(target.Addr()) || target.Port() == 0:
		refuse(wire.HolepunchNoSuchPeer)
	case t.isSelf(target):
		refuse(wire.HolepunchNoSelf)
	case to == nil || to == from || !mayMeet(from, to):
		refuse(wire.HolepunchNotConnected)
	case to.extIDs.Holepunch == 0:
		refuse(wire.HolepunchNoSupport)
	case !to.punch.reached.Take(now, 1, targetRate, targetBurst):
		refuse(wire.HolepunchNotConnected)
	default:
		t.log.Debug("holepunch: bring peers together", "from", from.Addr, "to", to.Addr)
		t.sendHolepunch(from, wire.Holepunch{Type: wire.HolepunchConnect, Addr: to.door()})
		t.sendHolepunch(to, wire.Holepunch{Type: wire.HolepunchConnect, Addr: from.door()})
	}
}

// mayMeet keeps addresses inside a network, in both directions, and asks for two to tell of.
func mayMeet(a, b *peerConn) bool {
	return a.door().IsValid() && b.door().IsValid() && mayName(a.Addr.Addr(), b.Addr.Addr()) && mayName(b.Addr.Addr(), a.Addr.Addr())
}

// mayName is mayHear for addresses that are contacted at somebody's word: only
// this computer may name itself.
func mayName(who, addr netip.Addr) bool {
	return mayHear(who, addr) && (!addr.IsLoopback() || who.IsLoopback())
}

// door is where a peer's router lets uTP packets of others in, once the peer
// has sent some to them: its side of a connection by uTP, else where it listens.
func (c *peerConn) door() netip.AddrPort {
	if c.UTP {
		return c.Addr
	}
	return c.listens
}

// peerAt is the connection to the peer of an address: where it listens, or its end of the connection.
func (t *Torrent) peerAt(addr netip.AddrPort) *peerConn {
	for _, c := range t.peers {
		if c != nil && (c.listens == addr || c.Addr == addr) {
			return c
		}
	}
	return nil
}

// isSelf reports whether an address is ours, as far as we know it.
func (t *Torrent) isSelf(addr netip.AddrPort) bool {
	l := t.s.cfg.Listener
	return l != nil && addr.Port() == conn.AddrPort(l.Addr()).Port() &&
		(addr.Addr() == t.known.self.of(addr.Addr()) || addr.Addr() == conn.AddrPort(l.Addr()).Addr())
}

// handleStuck asks for help with an address that does not answer.
func (t *Torrent) handleStuck(addr netip.AddrPort) {
	if a := t.known.byAddr[addr]; a != nil && a.inUse {
		t.askRelay(addr)
	}
}

// askRelay asks a peer that told us of an address to bring us together, the
// next one at the next call for the same attempt.
func (t *Torrent) askRelay(addr netip.AddrPort) {
	a := t.known.byAddr[addr]
	if !t.punches() || a == nil || t.peerAt(addr) != nil {
		return
	}
	for now := t.now(); a.asked < len(a.tellers); {
		c := t.peer(a.tellers[a.asked])
		a.asked++
		if c == nil || c.extIDs.Holepunch == 0 || !c.punch.mayAsk(addr, now) {
			continue
		}
		t.log.Debug("holepunch: ask for a rendezvous", "addr", addr, "relay", c.Addr)
		t.sendHolepunch(c, wire.Holepunch{Type: wire.HolepunchRendezvous, Addr: addr})
		return
	}
}

// mayAsk notes a rendezvous, unless too many of that relay are open.
func (p *punchState) mayAsk(addr netip.AddrPort, now time.Duration) bool {
	for a, at := range p.asked {
		if now-at > punchPatience {
			delete(p.asked, a)
		}
	}
	if len(p.asked) >= maxAsked {
		return false
	}
	if p.asked == nil {
		p.asked = map[netip.AddrPort]time.Duration{}
	}
	p.asked[addr] = now
	return true
}

// isCalled says whether the relay's word on an address is taken: as the answer to a
// rendezvous, else within its share of strangers, and that of all.
func (p *punchState) isCalled(addr netip.AddrPort, now time.Duration, all *budget.Budget) bool {
	for asked, at := range p.asked {
		// Its router may show the relay another port than the one we heard of.
		if asked.Addr() == addr.Addr() && now-at <= punchPatience {
			delete(p.asked, asked)
			return true
		}
	}
	return p.called.Take(time.Now(), 1, calledRate, calledBurst) && all.Take(time.Now(), 1, allCalledRate, allCalledBurst)
}

// maxTellers bounds who is remembered of those that told of an address.
const maxTellers = 3

// toldBy notes who might bring us together with the peer.
func (a *address) toldBy(id picker.PeerID) {
	for _, o := range a.tellers {
		if o == id {
			return
		}
	}
	if len(a.tellers) == maxTellers {
		copy(a.tellers, a.tellers[1:])
		a.tellers = a.tellers[:maxTellers-1]
	}
	a.tellers = append(a.tellers, id)
}

// handleCall connects to the peer that a relay names: it does the same at this
// moment, so that each one's packets open its router for the other's. The
// address is the relay's word. It is tried where we asked for it; of others only
// so many are.
func (t *Torrent) handleCall(relay *peerConn, addr netip.AddrPort) {
	if !t.punches() || !t.mayCall(relay, addr) {
		return
	}
	if t.Err() != nil || t.peerAt(addr) != nil || t.live+t.dialing >= t.cfg.MaxPeers || t.cfg.NoUpload && t.pieces.allHeld.Load() {
		return
	}
	if !t.s.halfOpen.tryTake() {
		return
	}
	if !t.s.conns.tryTake() {
		t.s.halfOpen.give()
		return
	}
	ticket, _ := t.s.dials.take(addr.Addr(), []Introducer{byPeer(relay.Addr.Addr())})
	if ticket == nil {
		t.s.halfOpen.give()
		t.s.conns.give()
		return
	}
	t.log.Debug("holepunch: connect", "addr", addr, "relay", relay.Addr)
	t.dialing++
	d := dialPlan{addr: addr, hash: t.info.Hash.Wire(), punch: true, ticket: ticket}
	if a := t.known.byAddr[addr]; a != nil {
		a.dials++
		a.inUse = true
		d.hash, d.encrypt = t.hashFor(a), a.encrypt
	}
	t.wg.Go(func() { t.dial(d) })
}

// mayCall says whether the address that a relay names is to be tried.
func (t *Torrent) mayCall(relay *peerConn, addr netip.AddrPort) bool {
	if !isDoor(relay.Addr, addr) || t.isSelf(addr) || t.bans.Has(addr) {
		return false
	}
	if a := t.known.byAddr[addr]; a != nil && a.banned {
		return false
	}
	return relay.punch.isCalled(addr, t.now(), &t.called)
}

// isDoor says whether an address may be contacted because a relay names it.
func isDoor(relay, addr netip.AddrPort) bool {
	return guard.IsReachable(addr.Addr()) && addr.Port() != 0 && mayName(relay.Addr(), addr.Addr())
}
