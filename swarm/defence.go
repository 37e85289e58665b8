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
	// maxNoise is how many messages that change nothing, or that nobody sends
	// often, a peer is ahead of noiseDecay when it goes; each piece of the
	// torrent adds one.
	maxNoise   = 5000
	noiseDecay = 100 // a second
	// minUnread is how many bytes of messages may wait for a peer that does
	// not read; each piece adds unreadPiece, for the haves.
	minUnread   = 256 << 10
	unreadPiece = 16
	// uselessAfter is how long a connection may be idle while others wait for
	// its place.
	uselessAfter = 30 * time.Second
	// maxLiars bounds the addresses of which one liar is known.
	maxLiars = 4096
)

var (
	errNoise   = fmt.Errorf("%w: too many messages for nothing", wire.ErrProtocol)
	errUnread  = errors.New("peer does not read what it asked for")
	errUseless = errors.New("others wait for the place")
)

// manners is what the loop knows of a peer's behaviour.
type manners struct {
	noise  int
	useful time.Duration // when payload last went either way
}

// noisy says whether a message changes nothing, or is rare among the honest.
func (c *peerConn) noisy(e peerEvent) bool {
	switch e.id {
	case wire.Have:
		return c.remote.has(e.piece)
	case wire.Choke, wire.Unchoke, wire.Interested, wire.NotInterested, wire.Cancel, wire.Reject, wire.AllowedFast, wire.Extended:
		return true
	}
	return false
}

// annoy counts one such message.
func (c *peerConn) annoy() error {
	if c.manners.noise++; c.manners.noise > maxNoise+c.t.info.NumPieces() {
		return errNoise
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

// liars remembers from where wrong data came. One liar is banned alone: there
// may be others behind the address. A second one bans the address, since a
// liar that dials us has as many ports as it likes.
type liars struct {
	first  map[netip.Prefix]netip.AddrPort
	banned map[netip.Prefix]bool
}

func (l *liars) note(addr netip.AddrPort) {
	p := neighbours(addr.Addr())
	first, known := l.first[p]
	switch {
	case addr.Addr().IsLoopback(): // everybody on this machine
	case known && first != addr:
		remember(&l.banned, p, true)
	case !known:
		remember(&l.first, p, addr)
	}
}

func (l *liars) has(addr netip.AddrPort) bool {
	p := neighbours(addr.Addr())
	return l.banned[p] || l.first[p] == addr
}

// remember adds to a map of bounded size; what goes for it is left to chance.
func remember[V any](m *map[netip.Prefix]V, p netip.Prefix, v V) {
	if *m == nil {
		*m = map[netip.Prefix]V{}
	}
	if len(*m) >= maxLiars {
		for old := range *m {
			delete(*m, old)
			break
		}
	}
	(*m)[p] = v
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
