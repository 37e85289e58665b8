package swarm

import (
	"fmt"
	"io"
	"math"
	"net/netip"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// idleTimeout ends a connection on which nothing came, not even the keep-alive
// that peers send every two minutes (BEP 3).
const idleTimeout = 150 * time.Second

// eventKind says what a peerEvent is beyond the plain messages.
type eventKind uint8

const (
	eventMessage  eventKind = iota // id and its fields
	eventProgress                  // part of a block came
	eventGone                      // the connection has ended; nothing follows
)

// peerEvent is what a connection's reader tells the loop.
type peerEvent struct {
	c        *peerConn
	kind     eventKind
	id       wire.ID
	piece    int
	begin    int
	n        int
	data     []byte // a block's payload, owned by the event
	bits     bitset.Set
	hello    *wire.ExtHandshake
	metadata bool           // a request for block piece of the info dictionary
	heard    []wire.PEXPeer // of a PEX message that is not empty
	punch    *wire.Holepunch
	lost     int // piece of an lt_donthave, with id Extended and no hello
	ask      wire.HashRange
	hashes   []metainfo.SHA256 // that answer ask
	err      error
}

// isDontHave reports whether the event is an lt_donthave (BEP 54).
func (e peerEvent) isDontHave() bool {
	return e.id == wire.Extended && e.hello == nil && !e.metadata && e.heard == nil && e.punch == nil
}

// run reads and writes until the connection ends, then tells the loop.
func (c *peerConn) run() {
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.close(c.write())
	}()
	err := c.read()
	if err == io.EOF {
		err = fmt.Errorf("peer closed the connection")
	}
	c.close(err)
	<-written
	c.limit.close(c.t.s.down)
	c.closed.Wait()
	c.t.s.conns.give()
	c.tell(peerEvent{c: c, kind: eventGone, err: c.reason})
}

// tell hands an event to the loop, or drops it where the loop has ended.
func (c *peerConn) tell(e peerEvent) error {
	select {
	case c.t.fromPeers <- e:
		return nil
	case <-c.t.done:
		return ErrClosed
	}
}

// read decodes messages until an error.
func (c *peerConn) read() error {
	feat := wire.Features(0)
	if c.fast {
		feat |= wire.FeatureFast
	}
	if c.ext {
		feat |= wire.FeatureExtension
	}
	if c.v2 {
		feat |= wire.FeatureV2
	}
	r := wire.NewReaderAfter(c.heard, c.nc, wire.Limits{
		Pieces: c.t.info.NumPieces(), PieceLength: c.t.info.PieceLength(), Features: feat,
	})
	c.heard = nil
	r.BlockProgress(c.blockProgress)
	var m wire.Message
	var deadline time.Time
	for {
		if now := time.Now(); deadline.Sub(now) < idleTimeout-10*time.Second { // not for each message
			deadline = now.Add(idleTimeout)
			c.nc.SetReadDeadline(deadline)
		}
		if err := r.Next(&m); err != nil {
			return err
		}
		if err := c.overhear(&m); err != nil {
			return err
		}
		e, err := c.decode(r, &m)
		if err != nil {
			return err
		}
		if e.c == nil {
			continue
		}
		if err := c.tell(e); err != nil {
			return err
		}
	}
}

// decode turns a message into an event; e.c is nil where there is nothing to tell.
func (c *peerConn) decode(r *wire.Reader, m *wire.Message) (e peerEvent, err error) {
	if max(m.Piece, m.Begin, m.Length) > math.MaxInt32 { // an int may have 32 bits, and no torrent has such a piece
		return e, fmt.Errorf("%w: %v for %d bytes at %d of piece %d", wire.ErrProtocol, m.ID, m.Length, m.Begin, m.Piece)
	}
	e = peerEvent{c: c, id: m.ID, piece: int(m.Piece), begin: int(m.Begin), n: int(m.Length)}
	info := c.t.info
	switch m.ID {
	case wire.Piece:
		if e.begin%blockSize != 0 || e.begin/blockSize >= info.NumBlocks(e.piece) || e.n != info.BlockLen(e.piece, e.begin/blockSize) {
			return e, fmt.Errorf("%w: piece message of %d bytes at %d of piece %d", wire.ErrProtocol, e.n, e.begin, e.piece)
		}
		return c.readBlock(r, e)
	case wire.Bitfield:
		e.bits = wire.BitfieldWords(bitset.New(info.NumPieces()), m.Payload)
	case wire.Extended:
		return c.decodeExtended(m, e)
	case wire.Port:
		if c.dht && m.Port != 0 && c.t.s.cfg.DHTNode != nil {
			c.t.s.cfg.DHTNode(netip.AddrPortFrom(c.addr.Addr(), m.Port))
		}
		return peerEvent{}, nil
	case wire.KeepAlive, wire.Suggest:
		return peerEvent{}, nil
	case wire.HashRequest, wire.HashReject:
		e.ask = m.Hash
	case wire.Hashes:
		e.ask = m.Hash
		e.hashes = make([]metainfo.SHA256, len(m.Payload)/32)
		for i := range e.hashes {
			e.hashes[i] = metainfo.SHA256(m.Payload[32*i:])
		}
	}
	return e, nil
}

// readBlock takes the payload from the socket straight into the block's own buffer.
func (c *peerConn) readBlock(r *wire.Reader, e peerEvent) (peerEvent, error) {
	// While this waits for the limit the socket is not read; the picker sees the lower rate and keeps short queues.
	if err := c.limit.begin(c.t.ctx, c.t.s.down, e.n); err != nil {
		return e, err
	}
	e.data = make([]byte, e.n)
	c.block, c.blockBegun = e, time.Now()
	if err := r.ReadBlock(e.data); err != nil {
		return e, err
	}
	c.limit.end(e.n)
	c.received.Add(int64(e.n))
	c.t.received.Add(int64(e.n))
	return e, nil
}

// slowBlock is how long a block must take before the picker hears of its parts.
const slowBlock = 20 * time.Millisecond

// blockProgress tells the loop how much of a block that comes slowly is here.
func (c *peerConn) blockProgress(n int) {
	c.limit.came(c.t.ctx, c.t.s.down, n)
	if time.Since(c.blockBegun) > slowBlock {
		c.tell(peerEvent{c: c, kind: eventProgress, piece: c.block.piece, begin: c.block.begin, n: n})
	}
}

// decodeExtended reads the extension messages that we announce (BEP 10).
func (c *peerConn) decodeExtended(m *wire.Message, e peerEvent) (peerEvent, error) {
	switch m.ExtID {
	case 0:
		h, err := wire.ParseExtHandshake(m.Payload)
		if err != nil {
			return e, err
		}
		e.hello = &h
		return e, nil
	case extMetadata:
		md, err := wire.ParseMetadata(m.Payload)
		if err != nil || md.Type != wire.MetadataRequest {
			return peerEvent{}, err
		}
		e.metadata, e.piece = true, md.Piece
		return e, nil
	case extPEX:
		p, err := wire.ParsePEX(m.Payload)
		if err != nil || len(p.Added) == 0 || !c.t.gossips() {
			return peerEvent{}, err
		}
		e.heard = p.Added
		return e, nil
	case extHolepunch:
		h, err := wire.ParseHolepunch(m.Payload)
		if err != nil {
			return e, err
		}
		e.punch = &h
		return e, nil
	case extDontHave:
		piece, err := wire.ParseDontHave(m.Payload, c.t.info.NumPieces())
		if err != nil {
			return e, err
		}
		e.lost = int(piece)
		return e, nil
	}
	return peerEvent{}, nil
}
