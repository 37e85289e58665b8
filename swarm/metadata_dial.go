package swarm

import (
	"errors"
	"net/netip"
	"time"

	"torrentfs/net/egress"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

// takePlaces takes what a dial of an address needs, nil if something of it is not
// to be had now. mu is held.
func (m *metadataSearch) takePlaces(addr netip.Addr, by []Introducer) *dialTicket {
	if !m.s.halfOpen.tryTake() {
		return nil
	}
	if !m.s.conns.tryTake() {
		m.s.halfOpen.give()
		return nil
	}
	ticket, _ := m.s.dials.take(addr, by)
	if ticket == nil {
		m.s.halfOpen.give()
		m.s.conns.give()
		return nil
	}
	m.busy++
	return ticket
}

// hashFor is the info-hash under which a peer is asked.
func (m *metadataSearch) hashFor(a *address) [20]byte {
	if a.v2 {
		return m.cfg.Hash.WireV2()
	}
	return m.cfg.Hash.Wire()
}

// dial connects to a peer and talks to it to the end. Most often our first
// messages leave with the handshake, as in [Torrent.dial]: whoever does not know
// the extension protocol is of no use here.
func (m *metadataSearch) dial(d dialPlan) {
	if !d.punch && m.s.cfg.UTP != nil {
		help := time.AfterFunc(punchLead, func() {
			select {
			case m.stuck <- d.addr:
			default:
			}
		})
		defer help.Stop()
	}
	k, err := m.shakeHands(d)
	d.ticket.end(err)
	m.s.halfOpen.give()
	var p *metadataPeer
	if err == nil {
		p = &metadataPeer{Conn: k, m: m}
		err = p.run()
	} else {
		m.s.conns.give()
		m.mu.Lock()
		m.busy--
		m.mu.Unlock()
	}
	m.s.log.Debug("metadata peer gone", "addr", d.addr, "err", err)
	m.mu.Lock()
	m.settle(d.addr, p, err)
	m.mu.Unlock()
	m.poke()
}

func (m *metadataSearch) shakeHands(d dialPlan) (*conn.Conn, error) {
	o := conn.Offer{
		Hello: wire.NewHandshake(d.hash, m.s.peerID, m.features(d.hash)), Encrypt: d.encrypt, Punch: d.punch, Again: d.ticket.again,
	}
	if d.eager {
		o.Eager = m.appendHello(nil, d.addr, true)
	}
	k, err := m.s.endpoint.Dial(m.ctx, d.addr, o)
	if err != nil {
		return nil, err
	}
	switch h := k.Hello; {
	case !m.isMeant(d.hash, h):
		err = errOtherTopic
	case h.PeerID == m.s.peerID:
		err = errOurself
	default:
		return k, nil
	}
	k.Discard()
	return nil, err
}

// features are what we announce. BEP 52's bit means that both swarms of a hybrid
// are known; libtorrent closes on it where a torrent has v1 alone.
func (m *metadataSearch) features(hash [20]byte) wire.Features {
	f := wire.FeatureExtension | wire.FeatureFast
	if h := m.cfg.Hash; h.HasV1 && h.HasV2 && hash == h.Wire() {
		f |= wire.FeatureV2
	}
	return f
}

// isMeant says whether a peer answered as it may: by the info-hash that it was
// asked by, or by the v2 one of a hybrid (BEP 52, "upgrade path").
func (m *metadataSearch) isMeant(asked [20]byte, h wire.Handshake) bool {
	return h.InfoHash == asked || m.cfg.Hash.HasV2 && h.InfoHash == m.cfg.Hash.WireV2()
}

// settle notes how an address's dial, or the connection to it, ended; with no
// error it is kept. mu is held.
func (m *metadataSearch) settle(addr netip.AddrPort, p *metadataPeer, err error) {
	a := m.known.byAddr[addr]
	if a == nil {
		return // a relay named it
	}
	a.dials--
	now := m.now()
	switch {
	case p != nil:
		a.encrypt, a.answered = p.Encrypted, true
	case conn.Silent(err):
		a.encrypt = !a.encrypt
	}
	switch {
	case err == nil, a.dials > 0: // another way to it may work, or does
	case m.ctx.Err() != nil: // not for the peer's sake
		a.inUse, a.due = false, now
	case errors.Is(err, egress.ErrDown):
		a.postponed(now)
	case p != nil && p.shy() && !a.plain && !errors.Is(err, errNoMetadata):
		a.plain, a.inUse, a.due = true, false, now
	default:
		if p == nil && a.asked == 0 && !conn.Connected(err) {
			m.askRelay(addr)
		}
		if m.cfg.Hash.HasV1 && m.cfg.Hash.HasV2 && (conn.HungUp(err) || conn.Silent(err)) { // it may be in one of the two swarms alone
			a.v2 = !a.v2
		}
		a.failed(now)
		a.banned = a.banned || errors.Is(err, errOurself)
	}
}

// shy says whether the peer may have ended the connection for what we said with the handshake.
func (p *metadataPeer) shy() bool {
	return p.Messages() == 0 || !p.Fast()
}

// appendHello appends what a peer hears first: that we have nothing (where it
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
