package swarm

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"syscall"
	"time"

	"torrentfs/net/egress"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/peers"
	"torrentfs/swarm/wire"
)

// What the two tenants of a pool of peers have in common: the search for metadata, and the torrent.

// newPool returns the pool of an info-hash; seed is for its choices, 0 = random.
func (s *Session) newPool(seed uint64, t peers.Tenant) *peers.Pool {
	if seed == 0 {
		seed = rand.Uint64()
	}
	cfg := peers.Config{
		Limits: s.limits, Rand: rand.New(rand.NewPCG(seed, 0x7065657273)), Start: time.Now(), Self: s.peerID, Punch: s.cfg.UTP != nil,
	}
	if l := s.cfg.Listener; l != nil {
		cfg.Listen = conn.AddrPort(l.Addr())
	}
	return peers.New(cfg, t)
}

// dialResult is the outcome of a dial: a connection past its handshake, or an error.
type dialResult struct {
	dial    peers.Dial
	outcome peers.Outcome
	c       *conn.Conn // if it was answered
	err     error      // else
}

// dialPeer connects and shakes hands. meant reports whether a peer answered as it may.
func (s *Session) dialPeer(ctx context.Context, d peers.Dial, o conn.Offer, meant func(wire.Handshake) bool) dialResult {
	o.Encrypt, o.Punch = d.Encrypt, d.Punch
	o.Again = func() { d.Ticket.Again(time.Now()) }
	c, err := s.endpoint.Dial(ctx, d.Addr, o)
	if err == nil {
		switch {
		case !meant(c.Hello):
			err = errOtherTopic
		case c.Hello.PeerID == s.peerID:
			err = errOurself
		}
		if err != nil {
			c.Discard()
			c = nil
		}
	}
	r := dialResult{d, outcomeOf(err), c, err}
	if err != nil && ctx.Err() != nil {
		r.outcome = peers.Aborted
	}
	d.Ticket.End(time.Now(), r.outcome)
	return r
}

// outcomeOf is what the error of a dial says about the peer.
func outcomeOf(err error) peers.Outcome {
	switch {
	case err == nil:
		return peers.Answered
	case errors.Is(err, egress.ErrDown):
		return peers.Down
	case errors.Is(err, errOurself):
		return peers.Ourself
	case errors.Is(err, conn.ErrBlocked), errors.Is(err, context.Canceled), errors.Is(err, syscall.ENETUNREACH),
		errors.Is(err, syscall.ENETDOWN), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EMFILE),
		errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EPERM):
		return peers.Unsent
	case conn.HungUp(err):
		return peers.HungUp
	case conn.Silent(err):
		return peers.Silent
	case conn.Connected(err), errors.Is(err, errOtherTopic):
		return peers.Refused
	}
	return peers.Failed
}

// arrivalOf is a connection as the pool sees it.
func arrivalOf(c *conn.Conn) peers.Arrival {
	return peers.Arrival{
		Addr: c.Addr, PeerID: c.Hello.PeerID, Outgoing: c.Outgoing, Punched: c.Punched, UTP: c.UTP, Encrypted: c.Encrypted,
	}
}

// introOf is an extension handshake as the pool sees it; ids are the peer's numbers after it.
func introOf(h *wire.ExtHandshake, ids wire.ExtIDs) peers.Intro {
	return peers.Intro{Port: h.Port, PEX: ids.PEX != 0, Holepunch: ids.Holepunch != 0, YourIP: h.YourIP}
}

// appendPoolMessage appends the message of an action of a pool: about peers (BEP 11), or for holepunching (BEP 55).
func appendPoolMessage(b []byte, a *peers.Action, ids wire.ExtIDs) []byte {
	if a.Kind == peers.SendPEX {
		return wire.AppendExtended(b, ids.PEX, a.PEX.Append(nil))
	}
	return wire.AppendExtended(b, ids.Holepunch, a.Punch.Append(nil))
}

// logPunch tells the log of a message for holepunching that goes to a peer.
func logPunch(log *slog.Logger, h wire.Holepunch, to *conn.Conn) {
	switch h.Type {
	case wire.HolepunchRendezvous:
		log.Debug("holepunch: ask for a rendezvous", "addr", h.Addr, "relay", to.Addr)
	case wire.HolepunchConnect:
		log.Debug("holepunch: bring peers together", "from", to.Addr, "to", h.Addr)
	}
}

// logRefusal tells the log of a relay that cannot help.
func logRefusal(log *slog.Logger, h *wire.Holepunch, from *conn.Conn) {
	if h.Type == wire.HolepunchFailed {
		log.Debug("holepunch: the relay cannot help", "reason", h.Err.String(), "addr", h.Addr, "relay", from.Addr)
	}
}
