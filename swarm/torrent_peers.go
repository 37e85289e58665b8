package swarm

import (
	"errors"
	"fmt"
	"time"

	"torrentfs/picker"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/hashes"
	"torrentfs/swarm/peers"
	"torrentfs/swarm/wire"
)

// maxQueue is how many requests of one peer we queue (BEP 10 "reqq").
const maxQueue = 2000

var (
	errOurself    = errors.New("connection to ourselves")
	errBothSeeds  = errors.New("both sides have every piece")
	errBadPeer    = errors.New("peer sent wrong data")
	errOtherTopic = errors.New("peer answered with another info-hash")
)

// addPeer takes a connection past its handshake into the torrent.
func (t *Torrent) addPeer(c *peer) {
	place, err := t.pool.Join(t.now(), arrivalOf(c.Conn))
	if err != nil {
		t.log.Debug("refuse peer: "+err.Error(), "addr", c.Addr)
		t.s.discard(c.Conn)
		return
	}
	t.begin(c, place)
}

// begin begins to talk to a peer that has a place in the pool.
func (t *Torrent) begin(c *peer, place peers.Place) {
	if t.fromPeers == nil {
		t.fromPeers = make(chan conn.Event, 256)
	}
	c.id = place.ID
	for c.slot() >= len(t.peers) {
		t.peers = append(t.peers, nil)
	}
	t.peers[c.slot()] = c
	now := t.now()
	t.hashes.tell(func(k *hashes.Asker, _ time.Duration) {
		k.Joined(c.id, hashes.Peer{V2: c.v2, RTT: c.RTT, Shun: place.NoHashes})
	})
	t.picker.PeerAdd(now, c.id, picker.PeerInfo{RTT: c.RTT, Reqq: defaultReqq, Fast: c.Fast()})
	t.introduce(c)
	t.wg.Go(c.run)
}

// defaultReqq is how many requests a peer queues that does not say (libtorrent's default is 500, others' 250).
const defaultReqq = 250

// peer is the connection of a number, nil where it has ended.
func (t *Torrent) peer(id picker.PeerID) *peer {
	if s := peers.Slot(id); s < len(t.peers) && t.peers[s] != nil && t.peers[s].id == id {
		return t.peers[s]
	}
	return nil
}

// slot is the connection's place in the torrent's peers.
func (c *peer) slot() int { return peers.Slot(c.id) }

// introduce says what a new connection must hear first: what we have (BEP 3,
// 6), then the extension handshake (BEP 10).
func (t *Torrent) introduce(c *peer) {
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
func (t *Torrent) appendExtHandshake(b []byte, c *peer) []byte {
	h := wire.ExtHandshake{
		M:            map[string]uint8{wire.ExtDontHave: conn.ExtDontHave, wire.ExtMetadata: conn.ExtMetadata},
		MetadataSize: int64(len(t.info.Bytes)),
		V:            t.s.cfg.Client, Reqq: maxQueue, YourIP: c.Addr.Addr(),
		UploadOnly: int(t.pieces.nHeld.Load()) == t.info.NumPieces(),
	}
	if !t.info.Private {
		h.M[wire.ExtPEX] = conn.ExtPEX
	}
	if t.s.cfg.UTP != nil && !t.info.Private {
		h.M[wire.ExtHolepunch] = conn.ExtHolepunch
	}
	if l := t.s.cfg.Listener; l != nil {
		h.Port = conn.AddrPort(l.Addr()).Port()
	}
	return wire.AppendExtended(b, 0, h.Append(nil))
}

// usesDHT reports whether peers are told of our DHT node, and heard of theirs:
// not in private torrents (BEP 27).
func (t *Torrent) usesDHT() bool { return t.s.cfg.DHTPort != 0 && !t.info.Private }

// post puts messages into a peer's outbox; its writer is woken at the next flush.
func (t *Torrent) post(c *peer, encode func(b []byte) []byte) {
	c.Send(encode)
	t.touch(c)
}

// touch makes the next flush wake the peer's writer.
func (t *Torrent) touch(c *peer) {
	if !c.dirty {
		c.dirty = true
		t.dirtyMsg = append(t.dirtyMsg, c)
	}
}

// removePeer forgets a connection that has ended.
func (t *Torrent) removePeer(c *peer, reason error) {
	now := t.now()
	t.peers[c.slot()] = nil
	t.picker.PeerGone(now, c.id)
	asked := false // for hashes that it did not send
	t.hashes.tell(func(k *hashes.Asker, now time.Duration) { asked = k.Left(now, c.id, t.web.live() > 0) })
	t.log.Debug("peer gone: "+fmt.Sprint(reason), "addr", c.Addr, "client", c.client, "received", c.Received(), "sent", c.Sent())
	t.uploads.choker.Left(c.id)
	t.pool.Left(now, c.id, peers.Departure{
		Shy:      c.greeted && (c.messages == 0 || !c.Fast() && c.Received() == 0),
		NoHashes: errors.Is(reason, wire.ErrProtocol) && asked,
		Failed:   c.messages == 0 || errors.Is(reason, wire.ErrProtocol) || errors.Is(reason, peers.ErrUseless),
		// It was let go, or let us go, when we had everything, and is needed after all.
		Again: !t.pieces.allHeld.Load() && (errors.Is(reason, errBothSeeds) || c.isSeed() && c.since.Sub(t.start) < t.shortage.since),
	})
}

// ban ends a connection to a peer that sent wrong data and never takes another from its address.
func (t *Torrent) ban(c *peer) {
	t.log.Warn("ban peer that sent wrong data", "addr", c.Addr, "client", c.client)
	t.pool.Ban(t.now(), c.Addr)
	c.Close(errBadPeer)
}
