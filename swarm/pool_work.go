package swarm

import (
	"bytes"
	"context"
	"time"

	"torrentfs/swarm/conn"
	"torrentfs/swarm/peers"
	"torrentfs/swarm/wire"
)

// poolWork joins a torrent with its pool of peers (package peers): it tells the pool what
// the torrent needs, and does what the pool wants done. The loop owns it.
type poolWork struct {
	*peers.Pool
	t       *Torrent
	sources *sourceGroup
	actions []peers.Action
	dialed  chan dialResult // to the loop
}

// openPool makes the pool of the torrent's peers and its sources, or takes over those of
// the search for its metadata. The loop has not begun, and nobody is dialled before.
func (t *Torrent) openPool(seed uint64) {
	md := t.cfg.Metadata
	mine := md != nil && bytes.Equal(md.Info, t.info.Bytes)
	tenant := peers.Tenant{MaxPeers: t.cfg.MaxPeers, Private: t.info.Private, Hybrid: t.info.Hash.HasV1 && t.info.Hash.HasV2}
	x := &poolWork{t: t, dialed: make(chan dialResult)}
	t.pool = x
	if mine && !t.info.Private {
		x.sources = md.sources
		x.sources.attach(t) // the pool is ours from here on
		x.Pool = md.pool
		t.start = x.Start()
		x.SetTenant(t.now(), tenant)
	} else {
		md.Close()
		t.cfg.Metadata = nil
		x.sources = newSourceGroup(t.log, t.cfg.Sources)
		x.Pool = t.s.newPool(seed, tenant)
		t.start = x.Start()
	}
	context.AfterFunc(t.ctx, x.sources.stop)
	x.SetNeeds(t.now(), peers.Needs{Paused: true})
	if mine && t.info.Private {
		x.Found(t.now(), Introducer{Kind: ByTracker}, md.pool.ByTracker())
	}
	x.Found(t.now(), Introducer{}, t.cfg.Peers)
}

// perform tells the pool what the torrent needs, and does what the pool wants done.
func (x *poolWork) perform() {
	t := x.t
	x.SetNeeds(t.now(), peers.Needs{
		Stopped: t.Err() != nil, Complete: t.pieces.allHeld.Load(), NoUpload: t.cfg.NoUpload,
		Empty: t.pieces.nHeld.Load() == 0 && t.pieces.Doubtful() == 0,
	})
	x.actions = x.Drain(x.actions[:0])
	for i := range x.actions {
		x.apply(&x.actions[i])
	}
}

// apply does one action of the pool.
func (x *poolWork) apply(a *peers.Action) {
	t := x.t
	switch a.Kind {
	case peers.StartDial:
		if a.Dial.Punch {
			t.log.Debug("holepunch: connect", "addr", a.Dial.Addr)
		}
		d := a.Dial
		t.wg.Go(func() { x.dial(d) })
		return
	case peers.AskSources:
		x.sources.needPeers()
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
func (x *poolWork) dial(d peers.Dial) {
	t := x.t
	o := conn.Offer{Hello: t.handshake()}
	if d.V2 {
		o.Hello.InfoHash = t.info.Hash.WireV2()
	}
	if d.Eager {
		o.Eager = wire.AppendInterested(wire.AppendHaveNone(nil))
	}
	r := t.s.dialPeer(t.ctx, d, o, func(h wire.Handshake) bool { return h.InfoHash == t.info.Hash.Wire() || t.isV2(h) })
	select {
	case x.dialed <- r:
	case <-t.done:
		if r.c != nil {
			t.s.discard(r.c)
		}
	}
}

// handleDialed takes the outcome of a dial.
func (x *poolWork) handleDialed(r dialResult) {
	t := x.t
	if r.err != nil {
		t.log.Debug("connect to peer: "+r.err.Error(), "addr", r.dial.Addr)
		x.Dialed(t.now(), r.dial, r.outcome, false)
		return
	}
	x.Dialed(t.now(), r.dial, peers.Answered, r.c.Encrypted)
	t.addPeer(newPeer(t, r.c, t.isV2(r.c.Hello)))
}

// usePool implements [poolTenant].
func (t *Torrent) usePool(f func(p *peers.Pool, now time.Duration)) error {
	return t.call(func() { f(t.pool.Pool, t.now()) })
}

// isV2 reports whether a peer that answered our handshake speaks v2: it did so
// by the v2 info-hash, which a hybrid's peer may change to, or says so.
func (t *Torrent) isV2(h wire.Handshake) bool {
	return t.trees != nil && (h.InfoHash == t.info.Hash.WireV2() || h.InfoHash == t.info.Hash.Wire() && h.Features().Has(wire.FeatureV2))
}
