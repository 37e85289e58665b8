package swarm

import (
	"errors"
	"net/netip"
	"time"

	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

// Limits on what peers may cost. They follow protocol.md, "Hostile input",
// and leave honest clients room.
const (
	// uselessAfter is how long a connection may be idle while others wait for
	// its place.
	uselessAfter = 30 * time.Second
)

var errUseless = errors.New("others wait for the place")

// judge counts a message before it is handled.
func (c *peerConn) judge(e conn.Event) error {
	if e.Kind == conn.Message && e.ID == wire.Have && c.remote.Has(e.Piece) {
		if err := c.flood.Repeat(c.t.info.NumPieces()); err != nil {
			return err
		}
	}
	return c.flood.Add(e.Cost(c.heardBits, c.isSeed(), c.t.info.NumPieces()))
}

// reviewFlood is part of the once-a-second round.
func (t *Torrent) reviewFlood(now time.Duration) {
	for _, c := range t.peers {
		if c == nil {
			continue
		}
		c.flood.Decay()
		if c.down.rate > 0 || c.up.rate > 0 {
			c.useful = now
		}
	}
	t.makeRoom(now)
}

// makeRoom ends the connection that has been idle longest, where others wait
// for its place. Else the silent could keep out those who have what we need.
func (t *Torrent) makeRoom(now time.Duration) {
	crowded := t.crowded || t.live+t.dialing >= t.cfg.MaxPeers && t.known.pick(now, t.pieces.allHeld.Load()) != nil
	t.crowded = false
	if !crowded {
		return
	}
	var idlest *peerConn
	since := now - uselessAfter
	for _, c := range t.peers {
		if c == nil {
			continue
		}
		if last := max(c.useful, c.since.Sub(t.start)); last <= since {
			idlest, since = c, last
		}
	}
	if idlest != nil {
		idlest.Close(errUseless)
	}
}

// neighbours is the network in which one party may have every address: it is
// trusted and mistrusted as a whole.
func neighbours(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // fails for no address, which then has a prefix of its own
	return p
}

// crowd is how many connections neighbours may have between them, of those
// that came to us. On this machine all are neighbours.
func (t *Torrent) crowd(c *peerConn) bool {
	if c.Outgoing || c.Addr.Addr().IsLoopback() {
		return false
	}
	n, home := 0, neighbours(c.Addr.Addr())
	for _, o := range t.peers {
		if o != nil && !o.Outgoing && neighbours(o.Addr.Addr()) == home {
			n++
		}
	}
	return n >= max(4, t.cfg.MaxPeers/4)
}
