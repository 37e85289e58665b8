package swarm

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"torrentfs/swarm/wire"
)

// Limits on what peers may cost. They follow protocol.md, "Hostile input",
// and leave honest clients room.
const (
	// maxNoise is what messages that change nothing, or that nobody sends often,
	// may cost ahead of noiseDecay. Of haves that come twice each piece of the
	// torrent adds one.
	maxNoise   = 5000
	noiseDecay = 100 // a second
	// A message about all pieces, but for the first, costs one for so many of them,
	// up to maxFullCost: aria2 sends bitfields in place of many haves.
	piecesPerNoise = 16
	maxFullCost    = maxNoise / 8
	noiseBytes     = 1 << 10 // of a message's payload cost one
	// minUnread is how many bytes of messages may wait for a peer that does
	// not read; each piece adds unreadPiece, for the haves.
	minUnread   = 256 << 10
	unreadPiece = 16
	// uselessAfter is how long a connection may be idle while others wait for
	// its place.
	uselessAfter = 30 * time.Second
)

var (
	errNoise   = fmt.Errorf("%w: too many messages for nothing", wire.ErrProtocol)
	errUnread  = errors.New("peer does not read what it asked for")
	errUseless = errors.New("others wait for the place")
)

// manners is what the loop knows of a peer's behaviour.
type manners struct {
	noise  int
	again  int           // haves of pieces that it had
	useful time.Duration // when payload last went either way
}

// noise is what a message costs that changes nothing, or is rare among the honest.
func (c *peerConn) noise(e peerEvent) int {
	switch e.id {
	case wire.Choke, wire.Unchoke, wire.Interested, wire.NotInterested, wire.Cancel, wire.Reject, wire.AllowedFast:
		return 1
	case wire.Bitfield, wire.HaveAll, wire.HaveNone:
		if c.heardBits {
			return c.fullCost()
		}
	case wire.Extended:
		if e.isDontHave() && c.isSeed() {
			return c.fullCost() // the picker keeps no list of what seeds have: now it needs one
		}
		return 1
	}
	return 0
}

// fullCost is what a message costs that makes us look at all pieces.
func (c *peerConn) fullCost() int {
	return min(1+c.t.info.NumPieces()/piecesPerNoise, maxFullCost)
}

// annoy adds to what a peer's messages cost.
func (c *peerConn) annoy(cost int) error {
	if c.manners.noise += cost; c.manners.noise > maxNoise {
		return errNoise
	}
	return nil
}

// judge counts a message before it is handled.
func (c *peerConn) judge(e peerEvent) error {
	if e.id == wire.Have && c.remote.Has(e.piece) {
		if c.manners.again++; c.manners.again > maxNoise+c.t.info.NumPieces() {
			return errNoise
		}
	}
	return c.annoy(c.noise(e))
}

// overhear counts a message that the loop may never see. The connection's reader calls it.
func (c *peerConn) overhear(m *wire.Message) error {
	switch m.ID {
	case wire.KeepAlive, wire.Suggest, wire.Port, wire.Extended:
		if !c.idleNoise.Take(time.Now(), 1+float64(len(m.Payload)/noiseBytes), noiseDecay, maxNoise) {
			return errNoise
		}
	}
	return nil
}

// unread says whether more waits for the peer than an honest one leaves unread.
func (c *peerConn) unread() bool {
	return c.out.waiting() > minUnread+unreadPiece*c.t.info.NumPieces()
}

// waiting is how many bytes of messages wait to be sent.
func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.messages)
}

// reviewManners is part of the once-a-second round.
func (t *Torrent) reviewManners(now time.Duration) {
	for _, c := range t.peers {
		if c == nil {
			continue
		}
		c.manners.noise = max(0, c.manners.noise-noiseDecay)
		c.manners.again = max(0, c.manners.again-noiseDecay)
		if c.down.rate > 0 || c.up.rate > 0 {
			c.manners.useful = now
		}
	}
	t.makeRoom(now)
}

// makeRoom ends the connection that has been idle longest, where others wait
// for its place. Else the silent could keep out those who have what we need.
func (t *Torrent) makeRoom(now time.Duration) {
	crowded := t.crowded || t.live+t.dialing >= t.cfg.MaxPeers && t.known.pick(now, t.allHeld.Load()) != nil
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
		if last := max(c.manners.useful, c.since.Sub(t.start)); last <= since {
			idlest, since = c, last
		}
	}
	if idlest != nil {
		idlest.close(errUseless)
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
	if c.outgoing || c.addr.Addr().IsLoopback() {
		return false
	}
	n, home := 0, neighbours(c.addr.Addr())
	for _, o := range t.peers {
		if o != nil && !o.outgoing && neighbours(o.addr.Addr()) == home {
			n++
		}
	}
	return n >= max(4, t.cfg.MaxPeers/4)
}
