package peers

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

const (
	pexInterval = time.Minute      // between two messages to a peer (BEP 11)
	pexPause    = 45 * time.Second // between two that are listened to: clocks differ
	// PEX hints fill no more than half of the address book, so that trackers keep room for what they know.
	maxHints = maxAddresses / 2
	// maxShare is how many addresses are kept that one peer alone tells of and that never answered.
	maxShare = 5 * wire.MaxPEX
)

// pexState is what one connection was told and tells about other peers (BEP 11).
type pexState struct {
	told map[netip.AddrPort]struct{}
	due  time.Duration // of our next message
	next time.Duration // messages before are ignored, but for a second one
}

// listens reports whether a message that comes now is listened to.
func (g *pexState) listens(now time.Duration) bool {
	if now < g.next {
		return false
	}
	g.next = max(g.next, now-pexPause) + pexPause
	return true
}

// tells reports whether peers may hear of each other from us. In private torrents they may not (BEP 27), and a search does
// not know yet whether the torrent is private.
func (p *Pool) tells() bool { return !p.tenant.Private && !p.tenant.Search }

// exchange tells peers that want to know of those that came and went.
func (p *Pool) exchange(now time.Duration) {
	if !p.tells() {
		return
	}
	for _, c := range p.slots {
		if c != nil && c.pex && !c.closing && now >= c.pexState.due {
			p.tell(now, c)
		}
	}
}

// tell sends one peer what changed since it was last told. Nothing is sent if nothing changed.
func (p *Pool) tell(now time.Duration, c *peer) {
	var msg wire.PEX
	present := make(map[netip.AddrPort]struct{}, p.live)
	for _, o := range p.slots {
		if o == nil || o == c || !o.listens.IsValid() || !mayHear(c.Addr.Addr(), o.listens.Addr()) {
			continue
		}
		present[o.listens] = struct{}{}
		if _, told := c.pexState.told[o.listens]; !told && len(msg.Added) < wire.MaxPEX {
			msg.Added = append(msg.Added, wire.PEXPeer{Addr: o.listens, Flags: o.flags()})
		}
	}
	for a := range c.pexState.told {
		if _, here := present[a]; !here {
			msg.Dropped = append(msg.Dropped, a)
		}
	}
	slices.SortFunc(msg.Dropped, func(a, b netip.AddrPort) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Port(), b.Port()))
	})
	msg.Dropped = msg.Dropped[:min(len(msg.Dropped), wire.MaxPEX)]
	if len(msg.Added)+len(msg.Dropped) == 0 {
		return
	}
	if c.pexState.told == nil {
		c.pexState.told = map[netip.AddrPort]struct{}{}
	}
	for _, o := range msg.Added {
		c.pexState.told[o.Addr] = struct{}{}
	}
	for _, a := range msg.Dropped {
		delete(c.pexState.told, a)
	}
	c.pexState.due = now + pexInterval
	p.do(Action{Kind: SendPEX, Peer: c.id, PEX: msg})
}

func (c *peer) flags() (f wire.PEXFlags) {
	if c.seed {
		f |= wire.PEXSeed
	}
	if c.UTP {
		f |= wire.PEXuTP
	}
	if c.Encrypted {
		f |= wire.PEXEncryption
	}
	if c.holepunch {
		f |= wire.PEXHolepunch
	}
	if c.Outgoing && !c.Punched {
		f |= wire.PEXReachable
	}
	return f
}

// HeardPEX takes the addresses that a peer says it is connected to, and dials.
func (p *Pool) HeardPEX(now time.Duration, id picker.PeerID, heard []wire.PEXPeer) {
	c := p.peer(id)
	if c == nil || p.tenant.Private || len(heard) == 0 || !c.pexState.listens(now) {
		return
	}
	p.known.hear(now, c, heard)
	p.fill(now)
}

// hear takes the addresses that a peer told of (PEX hints). They are bounded in number, and by pexState in rate.
func (b *addressBook) hear(now time.Duration, c *peer, heard []wire.PEXPeer) {
	from := c.Addr.Addr()
	by := byPeer(from)
	share := b.untried(by)
	for _, p := range heard {
		if !mayHear(from, p.Addr.Addr()) {
			continue
		}
		if share < maxShare && len(b.list) < maxHints && b.add(p.Addr, by, now) {
			share++
			a := b.at(p.Addr)
			a.seed, a.encrypt = p.Flags&wire.PEXSeed != 0, p.Flags&wire.PEXEncryption != 0
		}
		if a := b.at(p.Addr); a != nil {
			a.introducedBy(by)
			if c.holepunch {
				a.relayedBy(c.id)
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
