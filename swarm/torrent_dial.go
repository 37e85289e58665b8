package swarm

import (
	"errors"
	"net/netip"
	"time"

	"torrentfs/net/egress"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

// lookAgain is when an address comes to its turn again whose peer is connected.
const lookAgain = time.Minute

// dialPlan is how an address is to be dialled.
type dialPlan struct {
	addr    netip.AddrPort
	hash    [20]byte
	eager   bool // see [Torrent.dial]
	encrypt bool
	punch   bool // by uTP, at a relay's word (BEP 55)
	ticket  *dialTicket
}

// dialResult is the outcome of a dial: a connection past its handshake, or an error.
type dialResult struct {
	addr netip.AddrPort
	c    *peerConn
	err  error
}

// foundAddrs are addresses that a source found.
type foundAddrs struct {
	by    Introducer
	addrs []netip.AddrPort
}

// noteAddresses takes what a source found and connects at once.
func (t *Torrent) noteAddresses(f foundAddrs) {
	now := t.now()
	for _, a := range f.addrs {
		t.known.add(a, f.by, now)
	}
	t.connectPeers()
}

// connectPeers dials known addresses while there is room.
func (t *Torrent) connectPeers() {
	if t.Err() != nil {
		return
	}
	now := t.now()
	for t.live+t.dialing < t.cfg.MaxPeers && t.dialing < maxDialing {
		full := int(t.pieces.nHeld.Load()) == t.info.NumPieces()
		if full && t.cfg.NoUpload {
			return
		}
		a := t.known.pick(now, full)
		if a == nil {
			return
		}
		if t.peerAt(a.addr) != nil { // it came to us
			a.due = now + lookAgain
			continue
		}
		if !t.s.halfOpen.tryTake() {
			return
		}
		if !t.s.conns.tryTake() {
			t.s.halfOpen.give()
			return
		}
		ticket, wait := t.s.dials.take(a.addr.Addr(), a.by)
		if ticket == nil { // another torrent's dial was first
			a.due = now + wait
			t.s.halfOpen.give()
			t.s.conns.give()
			continue
		}
		a.inUse, a.asked = true, 0
		a.dials++
		t.dialing++
		d := dialPlan{
			addr: a.addr, hash: t.hashFor(a), encrypt: a.encrypt, ticket: ticket,
			eager: t.pieces.nHeld.Load() == 0 && t.pieces.Doubtful() == 0 && !a.plain,
		}
		t.wg.Go(func() { t.dial(d) })
	}
}

// askForPeers tells the sources when few peers are left and none can be dialled.
func (t *Torrent) askForPeers(now time.Duration) {
	if now < t.hungryDue || t.live+t.dialing >= fewPeers || t.pieces.allHeld.Load() || t.known.pick(now, false) != nil {
		return
	}
	t.hungryDue = now + askInterval
	for _, src := range t.cfg.Sources {
		src.NeedPeers()
	}
}

// dial connects and shakes hands. An eager greeting saves a round trip: what
// BEP 6 wants said first by a peer that holds nothing (have none), and
// interested, leave with our handshake instead of waiting for the peer's. A
// peer that does not know BEP 6 may close on it; then we try again without.
func (t *Torrent) dial(d dialPlan) {
	defer t.s.halfOpen.give()
	if !d.punch && t.punches() {
		help := time.AfterFunc(punchLead, func() {
			select {
			case t.stuck <- d.addr:
			default:
			}
		})
		defer help.Stop()
	}
	c, err := t.shakeHands(d)
	d.ticket.end(err)
	if err != nil {
		t.s.conns.give()
	}
	select {
	case t.dialed <- dialResult{addr: d.addr, c: c, err: err}:
	case <-t.done:
		if c != nil {
			t.s.discard(c.Conn)
		}
	}
}

func (t *Torrent) shakeHands(d dialPlan) (*peerConn, error) {
	o := conn.Offer{Hello: t.handshake(), Encrypt: d.encrypt, Punch: d.punch, Again: d.ticket.again}
	o.Hello.InfoHash = d.hash
	if d.eager {
		o.Eager = wire.AppendInterested(wire.AppendHaveNone(nil))
	}
	k, err := t.s.endpoint.Dial(t.ctx, d.addr, o)
	if err != nil {
		return nil, err
	}
	switch h := k.Hello; {
	case h.InfoHash != t.info.Hash.Wire() && !t.isV2(h):
		err = errOtherTopic
	case h.PeerID == t.s.peerID:
		err = errOurself
	}
	if err != nil {
		k.Discard()
		return nil, err
	}
	return newPeerConn(t, k, t.isV2(k.Hello)), nil
}

// hybrid reports whether the torrent has a swarm under each of two info-hashes.
func (t *Torrent) hybrid() bool { return t.info.Hash.HasV1 && t.info.Hash.HasV2 }

// hashFor is the info-hash under which a peer is asked for the torrent.
func (t *Torrent) hashFor(a *address) [20]byte {
	if a.v2 {
		return t.info.Hash.WireV2()
	}
	return t.info.Hash.Wire()
}

// isV2 reports whether a peer that answered our handshake speaks v2: it did so
// by the v2 info-hash, which a hybrid's peer may change to, or says so.
func (t *Torrent) isV2(h wire.Handshake) bool {
	return t.trees != nil && (h.InfoHash == t.info.Hash.WireV2() || h.InfoHash == t.info.Hash.Wire() && h.Features().Has(wire.FeatureV2))
}

// handleDialed takes the outcome of a dial.
func (t *Torrent) handleDialed(r dialResult) {
	t.dialing--
	a := t.known.byAddr[r.addr]
	if a != nil {
		a.dials--
	}
	if r.err == nil {
		if a != nil {
			a.encrypt, a.answered = r.c.Encrypted, true
		}
		t.addPeer(r.c)
		return
	}
	t.log.Debug("connect to peer: "+r.err.Error(), "addr", r.addr)
	if a == nil || a.dials > 0 || t.reaches(r.addr) { // another way to it may work, or does
		return
	}
	if errors.Is(r.err, egress.ErrDown) {
		a.postponed(t.now())
		t.connectPeers()
		return
	}
	if a.asked == 0 && !conn.Connected(r.err) {
		t.askRelay(r.addr)
	}
	a.failed(t.now())
	if t.hybrid() && (conn.HungUp(r.err) || conn.Silent(r.err)) { // it may be in one of the two swarms alone
		a.v2 = !a.v2
	}
	if conn.Silent(r.err) && !a.v2 { // a box on the way may swallow one of the two
		a.encrypt = !a.encrypt
	}
	if errors.Is(r.err, errOurself) {
		a.banned = true
	}
	t.connectPeers()
}

// reaches reports whether a connection of ours to an address is there.
func (t *Torrent) reaches(addr netip.AddrPort) bool {
	for _, c := range t.peers {
		if c != nil && c.Outgoing && c.Addr == addr {
			return true
		}
	}
	return false
}
