package swarm

import (
	"torrentfs/swarm/conn"
	"torrentfs/swarm/peers"
	"torrentfs/swarm/wire"
)

// tenant is what the pool of peers is for.
func (t *Torrent) tenant() peers.Tenant {
	return peers.Tenant{MaxPeers: t.cfg.MaxPeers, Private: t.info.Private, Hybrid: t.info.Hash.HasV1 && t.info.Hash.HasV2}
}

// needs is what the torrent needs of peers now.
func (t *Torrent) needs() peers.Needs {
	return peers.Needs{
		Stopped: t.Err() != nil, Complete: t.pieces.allHeld.Load(), NoUpload: t.cfg.NoUpload,
		Empty: t.pieces.nHeld.Load() == 0 && t.pieces.Doubtful() == 0,
	}
}

// runPool tells the pool of peers what the torrent needs, and does what it wants done.
func (t *Torrent) runPool() {
	t.pool.SetNeeds(t.now(), t.needs())
	t.poolActions = t.pool.Drain(t.poolActions[:0])
	for i := range t.poolActions {
		t.applyPool(&t.poolActions[i])
	}
}

// applyPool does one action of the pool.
func (t *Torrent) applyPool(a *peers.Action) {
	switch a.Kind {
	case peers.StartDial:
		if a.Dial.Punch {
			t.log.Debug("holepunch: connect", "addr", a.Dial.Addr)
		}
		d := a.Dial
		t.wg.Go(func() { t.dial(d) })
		return
	case peers.AskSources:
		t.sources.needPeers()
		return
	}
	c := t.peer(a.Peer)
	switch {
	case c == nil:
	case a.Kind == peers.Close:
		c.Close(a.Err)
	default:
		if a.Kind == peers.SendHolepunch {
			logPunch(t.log, a.Punch, c.Conn)
		}
		t.post(c, func(b []byte) []byte { return appendPoolMessage(b, a, c.extIDs) })
	}
}

// dial connects and shakes hands. An eager greeting saves a round trip: what
// BEP 6 wants said first by a peer that holds nothing (have none), and
// interested, leave with our handshake instead of waiting for the peer's. A
// peer that does not know BEP 6 may close on it; then we try again without.
func (t *Torrent) dial(d peers.Dial) {
	o := conn.Offer{Hello: t.handshake()}
	if d.V2 {
		o.Hello.InfoHash = t.info.Hash.WireV2()
	}
	if d.Eager {
		o.Eager = wire.AppendInterested(wire.AppendHaveNone(nil))
	}
	r := t.s.dialPeer(t.ctx, d, o, func(h wire.Handshake) bool { return h.InfoHash == t.info.Hash.Wire() || t.isV2(h) })
	select {
	case t.dialed <- r:
	case <-t.done:
		if r.c != nil {
			t.s.discard(r.c)
		}
	}
}

// isV2 reports whether a peer that answered our handshake speaks v2: it did so
// by the v2 info-hash, which a hybrid's peer may change to, or says so.
func (t *Torrent) isV2(h wire.Handshake) bool {
	return t.trees != nil && (h.InfoHash == t.info.Hash.WireV2() || h.InfoHash == t.info.Hash.Wire() && h.Features().Has(wire.FeatureV2))
}

// handleDialed takes the outcome of a dial.
func (t *Torrent) handleDialed(r dialResult) {
	if r.err != nil {
		t.log.Debug("connect to peer: "+r.err.Error(), "addr", r.dial.Addr)
		t.pool.Dialed(t.now(), r.dial, r.outcome, false)
		return
	}
	t.pool.Dialed(t.now(), r.dial, peers.Answered, r.c.Encrypted)
	t.addPeer(newPeer(t, r.c, t.isV2(r.c.Hello)))
}
