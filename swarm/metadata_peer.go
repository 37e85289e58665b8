package swarm

import (
	"context"
	"net/netip"

	"torrentfs/picker"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/peers"
	"torrentfs/swarm/wire"
)

// dial connects to a peer. Most often our first messages leave with the handshake, as
// in [Torrent.dial]: a peer that does not know the extension protocol is of no use here.
func (m *metadataSearch) dial(d peers.Dial) dialResult {
	hash := m.cfg.Hash.Wire()
	if d.V2 {
		hash = m.cfg.Hash.WireV2()
	}
	o := conn.Offer{Hello: wire.NewHandshake(hash, m.s.peerID, m.features(hash))}
	if d.Eager {
		o.Eager = m.appendHello(nil, d.Addr, true)
	}
	return m.s.dialPeer(m.ctx, d, o, func(h wire.Handshake) bool {
		// By the info-hash that it was asked by, or by the v2 one of a hybrid (BEP 52, "upgrade path").
		return h.InfoHash == hash || m.cfg.Hash.HasV2 && h.InfoHash == m.cfg.Hash.WireV2()
	})
}

// features are what we announce. BEP 52's bit means that both swarms of a hybrid
// are known; libtorrent closes on it if a torrent has v1 alone.
func (m *metadataSearch) features(hash [20]byte) wire.Features {
	f := wire.FeatureExtension | wire.FeatureFast
	if h := m.cfg.Hash; h.HasV1 && h.HasV2 && hash == h.Wire() {
		f |= wire.FeatureV2
	}
	return f
}

// appendHello appends what a peer hears first: that we have nothing (if it
// knows BEP 6), what we speak (BEP 10), and that we want what it has, so that it
// may let us download by the time that we know what.
func (m *metadataSearch) appendHello(b []byte, to netip.AddrPort, fast bool) []byte {
	if fast {
		b = wire.AppendHaveNone(b)
	}
	h := wire.ExtHandshake{
		M: map[string]uint8{wire.ExtMetadata: conn.ExtMetadata, wire.ExtPEX: conn.ExtPEX},
		V: m.s.cfg.Client, Reqq: maxQueue, YourIP: to.Addr(),
	}
	if m.s.cfg.UTP != nil {
		h.M[wire.ExtHolepunch] = conn.ExtHolepunch
	}
	if l := m.s.cfg.Listener; l != nil {
		h.Port = conn.AddrPort(l.Addr()).Port()
	}
	b = wire.AppendExtended(b, 0, h.Append(nil))
	return wire.AppendInterested(b)
}

// handleDialed takes the outcome of a dial.
func (m *metadataSearch) handleDialed(r dialResult) {
	if r.err != nil {
		m.s.log.Debug("connect to peer: "+r.err.Error(), "addr", r.dial.Addr)
		m.pool.Dialed(m.now(), r.dial, r.outcome, false)
		return
	}
	m.pool.Dialed(m.now(), r.dial, peers.Answered, r.c.Encrypted)
	m.join(r.c)
}

// handOver gives a connection that came to us to the loop.
func (m *metadataSearch) handOver(c *conn.Conn) {
	select {
	case m.arrivals <- c:
	case <-m.ctx.Done():
		m.s.discard(c)
	}
}

// join takes a connection past its handshake into the search.
func (m *metadataSearch) join(c *conn.Conn) {
	place, err := m.pool.Join(m.now(), arrivalOf(c))
	if err != nil {
		m.s.log.Debug("refuse peer: "+err.Error(), "addr", c.Addr)
		m.s.discard(c)
		return
	}
	p := &searchPeer{Conn: c, id: place.ID}
	for peers.Slot(p.id) >= len(m.conns) {
		m.conns = append(m.conns, nil)
	}
	m.conns[peers.Slot(p.id)] = p
	m.running++
	m.drafts.Join(m.now(), p.id, p.Addr, p.Extended())
	if !p.Greeted {
		p.Send(func(b []byte) []byte { return m.appendHello(b, p.Addr, p.Fast()) })
	}
	cfg := conn.Config{Peer: int(p.id), Events: m.events, V2: true, Closed: m.s.limits.Release}
	m.wg.Go(func() { _ = p.Run(context.WithoutCancel(m.ctx), cfg) })
}

// peer is the connection of an id, nil if it has ended.
func (m *metadataSearch) peer(id picker.PeerID) *searchPeer {
	if s := peers.Slot(id); s < len(m.conns) && m.conns[s] != nil && m.conns[s].id == id {
		return m.conns[s]
	}
	return nil
}

// handlePeerEvents handles an event and what else has come meanwhile.
func (m *metadataSearch) handlePeerEvents(e conn.Event) {
	m.handlePeerEvent(e)
	for range eventsPerFlush {
		select {
		case e := <-m.events:
			m.handlePeerEvent(e)
		default:
			return
		}
	}
}

// handlePeerEvent takes what a peer said.
func (m *metadataSearch) handlePeerEvent(e conn.Event) {
	p, now := m.peer(picker.PeerID(e.Peer)), m.now()
	switch e.Kind {
	case conn.Parked:
		m.leave(p)
		m.kept = append(m.kept, p)
	case conn.Gone:
		m.s.log.Debug("metadata peer gone", "addr", p.Addr, "err", e.Err)
		m.leave(p)
		// It may have closed for what we said first. The other reasons are no better.
		m.pool.Left(now, p.id, peers.Departure{Shy: p.Messages() == 0 || !p.Fast(), Failed: true})
	case conn.Hello:
		h := e.Ext.Hello
		p.ids.Update(h)
		m.pool.Introduced(p.id, introOf(h, p.ids))
		m.drafts.Introduced(now, p.id, p.ids.Metadata != 0, h.MetadataSize, p.ids.PEX != 0)
	case conn.Metadata:
		m.drafts.Heard(now, p.id, e.Ext.Metadata, p.ids.PEX != 0)
	case conn.PEX:
		m.pool.HeardPEX(now, p.id, e.Ext.Added)
	case conn.Holepunch:
		logRefusal(m.s.log, e.Ext.Holepunch, p.Conn)
		m.pool.HeardHolepunch(now, p.id, *e.Ext.Holepunch)
	}
}

// leave takes a connection out of the search.
func (m *metadataSearch) leave(p *searchPeer) {
	m.conns[peers.Slot(p.id)] = nil
	m.running--
	m.drafts.Leave(m.now(), p.id)
}
