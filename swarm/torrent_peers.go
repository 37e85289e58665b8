package swarm

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"torrentfs/picker"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/hashes"
	"torrentfs/swarm/wire"
)

// maxQueue is how many requests of one peer we queue (BEP 10 "reqq").
const maxQueue = 2000

const (
	maxDialing  = 16 // dials under way per torrent
	fewPeers    = 5  // fewer than these, and the sources are asked for more
	askInterval = 10 * time.Second
)

var (
	errOurself    = errors.New("connection to ourselves")
	errTwice      = errors.New("peer is connected already")
	errTooMany    = errors.New("connection limit reached")
	errBothSeeds  = errors.New("both sides have every piece")
	errBanned     = errors.New("peer is banned")
	errBadPeer    = errors.New("peer sent wrong data")
	errOtherTopic = errors.New("peer answered with another info-hash")
)

// addPeer takes a connection past its handshake into the torrent.
func (t *Torrent) addPeer(c *peerConn) {
	if err := t.welcomeError(c); err != nil {
		t.log.Debug("refuse peer: "+err.Error(), "addr", c.Addr)
		t.s.discard(c.Conn)
		if a := t.known.byAddr[c.Addr]; a != nil && c.Outgoing && !t.reaches(c.Addr) {
			a.failed(t.now())
			a.banned = errors.Is(err, errBanned)
		}
		return
	}
	if t.fromPeers == nil {
		t.fromPeers = make(chan conn.Event, 256)
	}
	c.id = t.freePeerID()
	t.peers[c.slot()] = c
	t.live++
	now := t.now()
	t.hashes.tell(func(k *hashes.Asker, _ time.Duration) {
		a := t.known.byAddr[c.Addr]
		k.Joined(c.id, hashes.Peer{V2: c.v2, RTT: c.RTT, Shun: a != nil && a.noHashes})
	})
	t.picker.PeerAdd(now, c.id, picker.PeerInfo{RTT: c.RTT, Reqq: defaultReqq, Fast: c.Fast()})
	t.introduce(c)
	t.wg.Go(c.run)
}

// defaultReqq is how many requests a peer queues that does not say (libtorrent's default is 500, others' 250).
const defaultReqq = 250

func (t *Torrent) welcomeError(c *peerConn) error {
	if t.Err() != nil {
		return errStopped
	}
	if t.live >= t.cfg.MaxPeers {
		t.crowded = true
		return errTooMany
	}
	if t.crowd(c) {
		return errTooMany
	}
	if a := t.known.byAddr[c.Addr]; a != nil && a.banned || t.bans.Has(c.Addr) {
		return errBanned
	}
	for _, o := range t.peers {
		if o == nil {
			continue
		}
		if o.Hello.PeerID == c.Hello.PeerID {
			if !t.prefers(c, o) {
				return errTwice
			}
			o.Close(errTwice)
		}
	}
	return nil
}

// crossing is how far apart connections begin that two peers made to each
// other at the same time.
const crossing = 10 * time.Second

// prefers says whether a second connection to a peer takes the place of the
// first. It does where they crossed each other: both sides then keep the one
// that the higher peer id made, not each side another one, which is none.
func (t *Torrent) prefers(c, first *peerConn) bool {
	return c.Outgoing != first.Outgoing && time.Since(first.since) < crossing &&
		c.Outgoing == (bytes.Compare(t.s.peerID[:], c.Hello.PeerID[:]) > 0)
}

// peerSlots bounds the connections of a torrent that the picker can tell apart.
const peerSlots = 1 << 16

// freePeerID returns a number for a new connection: a free slot in peers, and
// above it a count, because the picker may still speak of the last in that slot.
func (t *Torrent) freePeerID() picker.PeerID {
	slot := slices.Index(t.peers, nil)
	if slot < 0 {
		slot = len(t.peers)
		t.peers = append(t.peers, nil)
	}
	t.peerCount = (t.peerCount + 1) % (math.MaxInt32 / peerSlots)
	return picker.PeerID(t.peerCount*peerSlots + slot)
}

// peer is the connection of a number, nil where it has ended.
func (t *Torrent) peer(id picker.PeerID) *peerConn {
	if c := t.peers[int(id)%peerSlots]; c != nil && c.id == id {
		return c
	}
	return nil
}

// slot is the connection's place in the torrent's peers.
func (c *peerConn) slot() int { return int(c.id) % peerSlots }

// introduce says what a new connection must hear first: what we have (BEP 3,
// 6), then the extension handshake (BEP 10).
func (t *Torrent) introduce(c *peerConn) {
	n, held := t.info.NumPieces(), t.pieces.Committed()
	t.post(c, func(b []byte) []byte {
		switch {
		case c.greeted: // have-none went out with the handshake
			for i := held.Next(0); i >= 0 && i < n; i = held.Next(i + 1) {
				b = wire.AppendHave(b, uint32(i))
			}
		case t.cfg.NoUpload || t.pieces.nHeld.Load() == 0:
			if c.Fast() {
				b = wire.AppendHaveNone(b)
			}
		case c.Fast() && int(t.pieces.nHeld.Load()) == n:
			b = wire.AppendHaveAll(b)
		default:
			b = wire.AppendBitfield(b, held, n)
		}
		if c.Extended() {
			b = t.appendExtHandshake(b, c)
		}
		if c.dht {
			b = wire.AppendPort(b, t.s.cfg.DHTPort)
		}
		return b
	})
	if c.greeted {
		c.interested, c.presumed = true, true
		if int(t.pieces.nHeld.Load()) == n { // it was said before we knew what is on disk
			t.sendInterested(c, false)
		}
	}
}

// appendExtHandshake appends what we say of ourselves (BEP 10).
func (t *Torrent) appendExtHandshake(b []byte, c *peerConn) []byte {
	h := wire.ExtHandshake{
		M:            map[string]uint8{wire.ExtDontHave: conn.ExtDontHave, wire.ExtMetadata: conn.ExtMetadata},
		MetadataSize: int64(len(t.info.Bytes)),
		V:            t.s.cfg.Client, Reqq: maxQueue, YourIP: c.Addr.Addr(),
		UploadOnly: int(t.pieces.nHeld.Load()) == t.info.NumPieces(),
	}
	if t.gossips() {
		h.M[wire.ExtPEX] = conn.ExtPEX
	}
	if t.punches() {
		h.M[wire.ExtHolepunch] = conn.ExtHolepunch
	}
	if l := t.s.cfg.Listener; l != nil {
		h.Port = conn.AddrPort(l.Addr()).Port()
	}
	return wire.AppendExtended(b, 0, h.Append(nil))
}

// post puts messages into a peer's outbox; its writer is woken at the next flush.
func (t *Torrent) post(c *peerConn, encode func(b []byte) []byte) {
	c.Send(encode)
	t.touch(c)
}

// touch makes the next flush wake the peer's writer.
func (t *Torrent) touch(c *peerConn) {
	if !c.dirty {
		c.dirty = true
		t.dirtyMsg = append(t.dirtyMsg, c)
	}
}

// removePeer forgets a connection that has ended.
func (t *Torrent) removePeer(c *peerConn, reason error) {
	now := t.now()
	t.peers[c.slot()] = nil
	t.live--
	t.picker.PeerGone(now, c.id)
	asked := false // for hashes that it did not send
	t.hashes.tell(func(k *hashes.Asker, now time.Duration) { asked = k.Left(now, c.id, t.webSeedsLive() > 0) })
	t.log.Debug("peer gone: "+fmt.Sprint(reason), "addr", c.Addr, "client", c.client, "received", c.Received(), "sent", c.Sent())
	if a := t.known.byAddr[c.Addr]; a != nil && c.Outgoing {
		a.seed = c.isSeed() || c.uploadOnly
		switch {
		case c.greeted && !a.plain && (c.messages == 0 || !c.Fast() && c.Received() == 0):
			a.plain = true
			a.inUse = false
			a.due = now
		case errors.Is(reason, wire.ErrProtocol) && asked && !a.noHashes:
			a.noHashes = true
			a.inUse = false
			a.due = now
		case c.messages == 0 || errors.Is(reason, wire.ErrProtocol) || errors.Is(reason, errUseless):
			a.failed(now)
		case !t.pieces.allHeld.Load() && (errors.Is(reason, errBothSeeds) || c.isSeed() && c.since.Sub(t.start) < t.shortage.since):
			a.released(now)
			a.due = now // it was let go, or let us go, when we had everything, and is needed after all
		default:
			a.released(now)
		}
	}
	t.choker.Left(c.id)
	t.connectPeers()
}

// ban ends a connection to a peer that sent wrong data and never takes another from its address.
func (t *Torrent) ban(c *peerConn) {
	t.log.Warn("ban peer that sent wrong data", "addr", c.Addr, "client", c.client)
	t.banAddr(c.Addr)
	c.Close(errBadPeer)
}

func (t *Torrent) banAddr(addr netip.AddrPort) {
	t.bans.Ban(addr)
	t.known.add(addr, Introducer{}, t.now())
	if a := t.known.byAddr[addr]; a != nil {
		a.banned = true
	}
}
