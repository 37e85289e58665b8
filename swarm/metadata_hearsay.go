package swarm

import (
	"net/netip"
	"slices"
	"time"

	"torrentfs/picker"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

// While metadata is sought, peers are asked for others as in a torrent: by PEX
// (BEP 11) and, of those that cannot be dialled, by holepunching (BEP 55). What is
// heard counts for nothing where the torrent turns out to be private (BEP 27):
// see [Metadata].

// welcome takes an incoming connection past our handshake, to its end.
func (m *metadataSearch) welcome(c *conn.Conn) {
	p := &metadataPeer{Conn: c, m: m}
	if !m.admit(p.Addr) {
		m.s.discard(c)
		return
	}
	defer m.wg.Done()
	err := p.run()
	m.mu.Lock()
	m.incoming--
	m.mu.Unlock()
	m.s.log.Debug("incoming metadata peer gone", "addr", p.Addr, "err", err)
}

// admit counts an incoming connection, if the search goes on and there is room:
// nobody has all of it, and who has no metadata gives way to others.
func (m *metadataSearch) admit(addr netip.AddrPort) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	var oldest *metadataPeer // of the idlers
	near, home := 0, neighbours(addr.Addr())
	for _, p := range m.peers {
		if p.Outgoing {
			continue
		}
		if neighbours(p.Addr.Addr()) == home {
			near++
		}
		if p.isIdler && (oldest == nil || p.id < oldest.id) {
			oldest = p
		}
	}
	full := m.incoming >= metadataIncoming
	if m.closed || full && oldest == nil || near >= metadataIncoming/4 && !addr.Addr().IsLoopback() {
		return false
	}
	if full {
		oldest.isIdler = false // it goes once
		oldest.Close(errTooMany)
	}
	m.incoming++
	m.wg.Add(1)
	return true
}

// arrive gives a connection a number, by which others know it.
func (m *metadataSearch) arrive(p *metadataPeer) {
	m.mu.Lock()
	m.peerCount++
	p.id = picker.PeerID(m.peerCount)
	p.pex.next = -pexPause
	m.peers[p.id] = p
	if m.closed {
		p.Park()
	}
	m.mu.Unlock()
	m.poke()
}

// leave takes back what arrive gave, and what the peer was asked for.
func (m *metadataSearch) leave(p *metadataPeer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.peers, p.id)
	m.part(p)
	if !p.Outgoing {
		return
	}
	if p.isIdler {
		m.idlers = slices.DeleteFunc(m.idlers, func(o *metadataPeer) bool { return o == p })
	} else {
		m.busy--
	}
}

// hear takes the addresses that a peer is connected to.
func (m *metadataSearch) hear(p *metadataPeer, heard []wire.PEXPeer) {
	now := m.now()
	m.mu.Lock()
	if len(heard) > 0 && p.pex.listen(now) {
		m.known.hear(hearsay{from: p.Addr.Addr(), by: p.id, relays: p.ids.Holepunch != 0, peers: heard}, now)
	}
	m.mu.Unlock()
	m.poke()
}

// peerAt is the connection to the peer of an address. mu is held.
func (m *metadataSearch) peerAt(addr netip.AddrPort) *metadataPeer {
	for _, p := range m.peers {
		if p.Addr == addr {
			return p
		}
	}
	return nil
}

// askRelay asks a peer that told us of an address to bring us together, the
// next one at the next call for the same attempt. mu is held.
func (m *metadataSearch) askRelay(addr netip.AddrPort) {
	a := m.known.byAddr[addr]
	if m.s.cfg.UTP == nil || a == nil || !a.inUse || m.peerAt(addr) != nil {
		return
	}
	for now := m.now(); a.asked < len(a.tellers); {
		p := m.peers[a.tellers[a.asked]]
		a.asked++
		if p == nil || p.ids.Holepunch == 0 || !p.punch.mayAsk(addr, now) {
			continue
		}
		m.s.log.Debug("holepunch: ask for a rendezvous", "addr", addr, "relay", p.Addr)
		p.sendHolepunch(wire.Holepunch{Type: wire.HolepunchRendezvous, Addr: addr})
		return
	}
}

// sendHolepunch sends a message of BEP 55. mu is held.
func (p *metadataPeer) sendHolepunch(h wire.Holepunch) {
	p.send(wire.AppendExtended(nil, p.ids.Holepunch, h.Append(nil)))
}

// handleHolepunch takes a message of BEP 55. A search brings nobody together.
func (m *metadataSearch) handleHolepunch(p *metadataPeer, h wire.Holepunch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.s.cfg.UTP == nil || p.ids.Holepunch == 0 {
		return
	}
	switch h.Type {
	case wire.HolepunchRendezvous:
		if p.punch.relayed.Take(time.Now(), 1, relayRate, relayBurst) {
			p.sendHolepunch(wire.Holepunch{Type: wire.HolepunchFailed, Addr: h.Addr, Err: wire.HolepunchNotConnected})
		}
	case wire.HolepunchConnect:
		m.call(p, h.Addr)
	case wire.HolepunchFailed:
		if _, asked := p.punch.asked[h.Addr]; asked {
			delete(p.punch.asked, h.Addr)
			m.s.log.Debug("holepunch: the relay cannot help: "+h.Err.String(), "addr", h.Addr, "relay", p.Addr)
			m.askRelay(h.Addr)
		}
	}
}

// call connects to the peer that a relay names, as in [Torrent.handleCall]. mu is held.
func (m *metadataSearch) call(relay *metadataPeer, addr netip.AddrPort) {
	a := m.known.byAddr[addr]
	if m.closed || !isDoor(relay.Addr, addr) || a != nil && a.banned || m.peerAt(addr) != nil ||
		!relay.punch.isCalled(addr, m.now(), &m.called) || m.busy >= 2*metadataPeers {
		return
	}
	ticket := m.takePlaces(addr.Addr(), []Introducer{byPeer(relay.Addr.Addr())})
	if ticket == nil {
		return
	}
	m.s.log.Debug("holepunch: connect", "addr", addr, "relay", relay.Addr)
	d := dialPlan{addr: addr, hash: m.cfg.Hash.Wire(), punch: true, ticket: ticket}
	if a != nil {
		a.dials++
		a.inUse = true
		d.hash, d.encrypt = m.hashFor(a), a.encrypt
	}
	m.wg.Go(func() { m.dial(d) })
}
