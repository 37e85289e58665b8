package swarm

import (
	"net/netip"
	"time"

	"torrentfs/net/guard"
	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

const (
	pexInterval = time.Minute      // between two messages to a peer (BEP 11)
	pexPause    = 45 * time.Second // between two that are listened to: clocks differ
	// Hearsay fills no more than half of the address book, so that trackers
	// keep room for what they know.
	maxHearsay = maxAddresses / 2
	// maxShare is how many addresses are kept that one peer alone tells of and that never answered.
	maxShare = 5 * wire.MaxPEX
)

// pexState is what one connection was told and tells about other peers. The loop owns it.
type pexState struct {
	told map[netip.AddrPort]struct{}
	due  time.Duration // of our next message
	next time.Duration // messages before are ignored, but for a second one
}

// gossips reports whether peers may hear of each other: not in private
// torrents (BEP 27).
func (t *Torrent) gossips() bool { return !t.info.Private }

// usesDHT says whether peers are told of our DHT node, and heard of theirs:
// not in private torrents (BEP 27).
func (t *Torrent) usesDHT() bool { return t.s.cfg.DHTPort != 0 && t.gossips() }

// exchangePeers tells peers that want to know of those that came and went.
func (t *Torrent) exchangePeers(now time.Duration) {
	if !t.gossips() {
		return
	}
	for _, c := range t.peers {
		if c != nil && c.extIDs.PEX != 0 && now >= c.pex.due {
			t.tellPeers(c, now)
		}
	}
}

// tellPeers sends one peer what changed since it was last told. Nothing is
// sent where nothing changed.
func (t *Torrent) tellPeers(c *peerConn, now time.Duration) {
	var msg wire.PEX
	present := make(map[netip.AddrPort]struct{}, t.live)
	for _, o := range t.peers {
		if o == nil || o == c || !o.listens.IsValid() || !mayHear(c.Addr.Addr(), o.listens.Addr()) {
			continue
		}
		present[o.listens] = struct{}{}
		if _, told := c.pex.told[o.listens]; !told && len(msg.Added) < wire.MaxPEX {
			msg.Added = append(msg.Added, wire.PEXPeer{Addr: o.listens, Flags: o.pexFlags()})
		}
	}
	for a := range c.pex.told {
		if _, here := present[a]; !here && len(msg.Dropped) < wire.MaxPEX {
			msg.Dropped = append(msg.Dropped, a)
		}
	}
	if len(msg.Added)+len(msg.Dropped) == 0 {
		return
	}
	if c.pex.told == nil {
		c.pex.told = map[netip.AddrPort]struct{}{}
	}
	for _, p := range msg.Added {
		c.pex.told[p.Addr] = struct{}{}
	}
	for _, a := range msg.Dropped {
		delete(c.pex.told, a)
	}
	c.pex.due = now + pexInterval
	t.post(c, func(b []byte) []byte { return wire.AppendExtended(b, c.extIDs.PEX, msg.Append(nil)) })
}

// mayHear keeps addresses inside a network: who is outside is not told of
// them, and is not believed when it names them.
func mayHear(who, addr netip.Addr) bool {
	return guard.IsPublic(addr) || !guard.IsPublic(who)
}

func (c *peerConn) pexFlags() (f wire.PEXFlags) {
	if c.isSeed() || c.uploadOnly {
		f |= wire.PEXSeed
	}
	if c.UTP {
		f |= wire.PEXuTP
	}
	if c.Encrypted {
		f |= wire.PEXEncryption
	}
	if c.extIDs.Holepunch != 0 {
		f |= wire.PEXHolepunch
	}
	if c.Outgoing && !c.Punched {
		f |= wire.PEXReachable
	}
	return f
}

// hearPeers takes the addresses that a peer is connected to.
func (t *Torrent) hearPeers(c *peerConn, heard []wire.PEXPeer) {
	now := t.now()
	if !t.gossips() || !c.pex.listen(now) {
		return
	}
	t.known.hear(hearsay{from: c.Addr.Addr(), by: c.id, relays: c.extIDs.Holepunch != 0, peers: heard}, now)
	t.connectPeers()
}

// listen says whether a message that comes now is listened to.
func (p *pexState) listen(now time.Duration) bool {
	if now < p.next {
		return false
	}
	p.next = max(p.next, now-pexPause) + pexPause
	return true
}

// hearsay is what a peer says of others.
type hearsay struct {
	from   netip.Addr
	by     picker.PeerID
	relays bool // it can bring us together with them (BEP 55)
	peers  []wire.PEXPeer
}

// hear takes addresses that a peer told of. They are bounded in number, and by pexState in rate.
func (b *addressBook) hear(h hearsay, now time.Duration) {
	by := byPeer(h.from)
	share := b.untried(by)
	for _, p := range h.peers {
		if !mayHear(h.from, p.Addr.Addr()) {
			continue
		}
		if share < maxShare && len(b.list) < maxHearsay && b.add(p.Addr, by, now) {
			share++
			a := b.byAddr[p.Addr]
			a.seed, a.encrypt = p.Flags&wire.PEXSeed != 0, p.Flags&wire.PEXEncryption != 0
		}
		if a := b.byAddr[p.Addr]; a != nil {
			a.introducedBy(by)
			if h.relays {
				a.toldBy(h.by)
			}
		}
	}
}

// untried counts the addresses that one introducer alone told of and that never answered.
func (b *addressBook) untried(by Introducer) (n int) {
	for _, a := range b.list {
		if !a.inUse && !a.answered && len(a.by) == 1 && a.by[0] == by {
			n++
		}
	}
	return n
}

// noteListening learns from an extension handshake where a peer that came to
// us can be reached, and gives its address to the others.
func (c *peerConn) noteListening(h *wire.ExtHandshake) {
	if !c.Outgoing && h.Port != 0 {
		c.listens = netip.AddrPortFrom(c.Addr.Addr(), h.Port)
	}
}
