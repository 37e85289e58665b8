package swarm

import (
	"fmt"
	"net/netip"
	"time"

	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/hashes"
	"torrentfs/swarm/wire"
)

// handlePeerEvent takes what a peer said, in the loop.
func (t *Torrent) handlePeerEvent(e conn.Event) {
	c := t.peer(picker.PeerID(e.Peer))
	switch e.Kind {
	case conn.Gone:
		t.removePeer(c, e.Err)
		return
	case conn.Progress:
		t.picker.Progress(t.now(), c.id, metainfo.Block{Piece: e.Piece, Index: e.Begin / blockSize}, e.Length)
		return
	case conn.DHTPort:
		if c.dht && t.s.cfg.DHTNode != nil {
			t.s.cfg.DHTNode(netip.AddrPortFrom(c.Addr.Addr(), uint16(e.Begin)))
		}
		return
	}
	c.messages++
	err := c.judge(e)
	if err == nil {
		err = t.handleMessage(c, e)
	}
	if err != nil {
		c.Close(err)
	}
}

// handleMessage is the peer protocol's table of contents.
func (t *Torrent) handleMessage(c *peer, e conn.Event) error {
	now := t.now()
	switch e.Kind {
	case conn.Hello:
		t.handleExtHandshake(c, e.Ext.Hello)
		return nil
	case conn.Metadata:
		t.serveMetadata(c, e.Ext.Metadata.Piece)
		return nil
	case conn.PEX:
		t.pool.HeardPEX(now, c.id, e.Ext.Added)
		return nil
	case conn.Holepunch:
		logRefusal(t.log, e.Ext.Holepunch, c.Conn)
		t.pool.HeardHolepunch(now, c.id, *e.Ext.Holepunch)
		return nil
	case conn.DontHave:
		if c.remote.Clear(e.Piece) {
			c.remoteCount--
			t.picker.Unhave(now, c.id, e.Piece)
			t.pool.SetSeed(c.id, c.uploadOnly)
		}
		return nil
	}
	switch e.ID {
	case wire.Piece:
		t.handleBlock(c, e)
	case wire.Choke, wire.Unchoke:
		c.peerChoking = e.ID == wire.Choke
		t.picker.Choke(now, c.id, c.peerChoking)
	case wire.Interested, wire.NotInterested:
		t.uploads.interest(c, e.ID == wire.Interested)
	case wire.Have:
		t.handleHave(c, e.Piece)
	case wire.Bitfield, wire.HaveAll, wire.HaveNone:
		return t.handleBitfield(c, e)
	case wire.Request:
		return t.uploads.request(c, requestOf(e))
	case wire.Cancel:
		t.uploads.cancel(c, requestOf(e))
	case wire.Reject:
		if block, ok := t.info.BlockAt(e.Piece, e.Begin, e.Length); ok {
			t.picker.Rejected(now, c.id, block)
		}
	case wire.AllowedFast:
		t.picker.AllowedFast(now, c.id, e.Piece)
	case wire.HashRequest:
		t.handleHashRequest(c, e.Hash)
	case wire.Hashes:
		t.handleHashes(c, e)
	case wire.HashReject:
		t.hashes.tell(func(k *hashes.Asker, now time.Duration) { k.Rejected(now, c.id, e.Hash) })
	}
	return nil
}

// requestOf is what a peer asks for, or takes back.
func requestOf(e conn.Event) conn.Request {
	return conn.Request{Piece: e.Piece, Begin: e.Begin, Length: e.Length}
}

func (t *Torrent) handleHave(c *peer, piece metainfo.Piece) {
	if !c.remote.Set(piece) {
		return
	}
	c.remoteCount++
	c.haves++
	t.picker.Have(t.now(), c.id, piece)
	t.shortage.coaxSoon(t, t.now())
	t.noteSeed(c)
}

// handleBitfield takes what a peer has. BEP 3 allows a bitfield only as the
// first message; aria2 sends another in place of many haves, which does no harm:
// it only adds.
func (t *Torrent) handleBitfield(c *peer, e conn.Event) error {
	switch {
	case c.heardBits && e.ID == wire.HaveNone:
		return fmt.Errorf("%w: %v after %d pieces", wire.ErrProtocol, e.ID, c.remoteCount)
	case c.isSeed():
		return nil
	}
	c.heardBits = true
	switch now := t.now(); e.ID {
	case wire.HaveAll:
		c.remote.SetRange(0, t.info.NumPieces())
		t.picker.HaveAll(now, c.id)
	case wire.HaveNone:
		t.picker.HaveNone(now, c.id)
	default:
		for i := range e.Bits {
			c.remote[i] |= e.Bits[i]
		}
		t.picker.Bitfield(now, c.id, c.remote)
	}
	c.remoteCount = c.remote.Count()
	t.noteSeed(c)
	return nil
}

// noteSeed looks whether a peer has everything, or wants no more (BEP 21). If so do
// we, it is let go: nothing is to be sent in either direction.
func (t *Torrent) noteSeed(c *peer) {
	seed := c.isSeed() || c.uploadOnly
	t.pool.SetSeed(c.id, seed)
	if seed && t.pieces.allHeld.Load() {
		c.Close(errBothSeeds)
	}
}

// handleExtHandshake takes an extension handshake (BEP 10), which may come again with changes.
func (t *Torrent) handleExtHandshake(c *peer, h *wire.ExtHandshake) {
	c.extIDs.Update(h)
	if h.V != "" {
		c.client = h.V
	}
	c.uploadOnly = h.UploadOnly
	t.pool.Introduced(c.id, introOf(h, c.extIDs))
	t.noteSeed(c)
	if h.Reqq > 0 {
		t.picker.SetReqq(c.id, h.Reqq)
	}
}

func (t *Torrent) sendRequest(c *peer, block metainfo.Block) {
	if c.waitingSince == 0 {
		c.waitingSince = t.now()
	}
	c.Request(conn.Request{
		Piece: block.Piece, Begin: block.Begin(), Length: t.info.BlockLen(block.Piece, block.Index),
	})
	t.touch(c)
}

func (t *Torrent) sendCancel(c *peer, block metainfo.Block) {
	t.post(c, func(b []byte) []byte {
		return wire.AppendCancel(b, uint32(block.Piece), uint32(block.Begin()), uint32(t.info.BlockLen(block.Piece, block.Index)))
	})
}

func (t *Torrent) sendInterested(c *peer, on bool) {
	c.presumed = false
	if c.interested == on {
		return
	}
	c.interested = on
	if on {
		t.post(c, wire.AppendInterested)
	} else {
		t.post(c, wire.AppendNotInterested)
	}
}
