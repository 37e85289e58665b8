package swarm

import (
	"fmt"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/hashes"
	"torrentfs/swarm/wire"
)

// handlePeerEvent takes one message of a peer, in the loop.
func (t *Torrent) handlePeerEvent(e peerEvent) {
	c := e.c
	switch e.kind {
	case eventGone:
		t.removePeer(c, e.err)
		return
	case eventProgress:
		t.picker.Progress(t.now(), c.id, metainfo.Block{Piece: e.piece, Index: e.begin / blockSize}, e.n)
		return
	}
	c.messages++
	err := c.judge(e)
	if err == nil {
		err = t.handleMessage(e)
	}
	if err != nil {
		c.close(err)
	}
}

// handleMessage is the peer protocol's table of contents.
func (t *Torrent) handleMessage(e peerEvent) error {
	c, now := e.c, t.now()
	switch e.id {
	case wire.Piece:
		t.handleBlock(e)
	case wire.Choke, wire.Unchoke:
		c.peerChoking = e.id == wire.Choke
		t.picker.Choke(now, c.id, c.peerChoking)
	case wire.Interested, wire.NotInterested:
		t.handleInterest(c, e.id == wire.Interested)
	case wire.Have:
		t.handleHave(c, e.piece)
	case wire.Bitfield, wire.HaveAll, wire.HaveNone:
		return t.handleBitfield(c, e)
	case wire.Request:
		return t.handleRequest(c, upload{e.piece, e.begin, e.n})
	case wire.Cancel:
		t.handleCancel(c, upload{e.piece, e.begin, e.n})
	case wire.Reject:
		if block, ok := t.blockOf(e); ok {
			c.limit.answered()
			t.picker.Rejected(now, c.id, block)
		}
	case wire.AllowedFast:
		t.picker.AllowedFast(now, c.id, e.piece)
	case wire.Extended:
		t.handleExtended(c, e)
	case wire.HashRequest:
		t.handleHashRequest(c, e.ask)
	case wire.Hashes:
		t.handleHashes(c, e)
	case wire.HashReject:
		t.hashes.tell(func(k *hashes.Asker, now time.Duration) { k.Rejected(now, c.id, e.ask) })
	}
	return nil
}

// blockOf is the block that a message names, if it is one that we may have asked for.
func (t *Torrent) blockOf(e peerEvent) (block metainfo.Block, ok bool) {
	b := e.begin / blockSize
	if e.begin%blockSize != 0 || e.piece >= t.info.NumPieces() || b >= t.info.NumBlocks(e.piece) || e.n != t.info.BlockLen(e.piece, b) {
		return metainfo.Block{}, false
	}
	return metainfo.Block{Piece: e.piece, Index: b}, true
}

func (t *Torrent) handleHave(c *peerConn, piece int) {
	if !c.remote.Set(piece) {
		return
	}
	c.remoteCount++
	c.haves++
	t.picker.Have(t.now(), c.id, piece)
	t.coaxSoon(t.now())
	t.closeIfBothSeeds(c)
}

// handleBitfield takes what a peer has. BEP 3 allows a bitfield only as the
// first message; aria2 sends another in place of many haves, which does no harm:
// it only adds.
func (t *Torrent) handleBitfield(c *peerConn, e peerEvent) error {
	switch {
	case c.heardBits && e.id == wire.HaveNone:
		return fmt.Errorf("%w: %v after %d pieces", wire.ErrProtocol, e.id, c.remoteCount)
	case c.isSeed():
		return nil
	}
	c.heardBits = true
	switch now := t.now(); e.id {
	case wire.HaveAll:
		c.remote.SetRange(0, t.info.NumPieces())
		t.picker.HaveAll(now, c.id)
	case wire.HaveNone:
		t.picker.HaveNone(now, c.id)
	default:
		for i := range e.bits {
			c.remote[i] |= e.bits[i]
		}
		t.picker.Bitfield(now, c.id, c.remote)
	}
	c.remoteCount = c.remote.Count()
	t.closeIfBothSeeds(c)
	return nil
}

// closeIfBothSeeds lets go of a peer to which nothing is to be sent in either
// direction: it has everything, or wants no more (BEP 21), and so do we.
func (t *Torrent) closeIfBothSeeds(c *peerConn) {
	if (c.isSeed() || c.uploadOnly) && t.allHeld.Load() {
		c.close(errBothSeeds)
	}
}

// handleExtended takes an extension handshake (BEP 10), which may come again
// with changes, a PEX message (BEP 11), one about holepunching (BEP 55) or an
// lt_donthave (BEP 54).
func (t *Torrent) handleExtended(c *peerConn, e peerEvent) {
	h := e.hello
	if e.metadata {
		t.serveMetadata(c, e.piece)
		return
	}
	if e.heard != nil {
		t.hearPeers(c, e.heard)
		return
	}
	if e.punch != nil {
		t.handleHolepunch(c, e.punch)
		return
	}
	if h == nil {
		if c.remote.Clear(e.lost) {
			c.remoteCount--
			t.picker.Unhave(t.now(), c.id, e.lost)
		}
		return
	}
	c.extIDs.Update(h)
	if h.V != "" {
		c.client = h.V
	}
	c.uploadOnly = h.UploadOnly
	c.noteListening(h)
	t.known.self.vote(c.addr.Addr().String(), h.YourIP)
	t.closeIfBothSeeds(c)
	if h.Reqq > 0 {
		t.picker.SetReqq(c.id, h.Reqq)
	}
}

func (t *Torrent) sendRequest(c *peerConn, block metainfo.Block) {
	if c.waitingSince == 0 {
		c.waitingSince = t.now()
	}
	c.limit.asked.Add(1)
	t.post(c, func(b []byte) []byte {
		return wire.AppendRequest(b, uint32(block.Piece), uint32(block.Index*blockSize), uint32(t.info.BlockLen(block.Piece, block.Index)))
	})
}

func (t *Torrent) sendCancel(c *peerConn, block metainfo.Block) {
	t.post(c, func(b []byte) []byte {
		return wire.AppendCancel(b, uint32(block.Piece), uint32(block.Index*blockSize), uint32(t.info.BlockLen(block.Piece, block.Index)))
	})
}

func (t *Torrent) sendInterested(c *peerConn, on bool) {
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
