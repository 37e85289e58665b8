package conn

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

const (
	// idleTimeout ends a connection on which nothing came, not even the keep-alive
	// that peers send every two minutes (BEP 3).
	idleTimeout = 150 * time.Second
	// slowBlock is how long a block must take before the owner hears of its parts.
	slowBlock = 20 * time.Millisecond
)

// read decodes messages until an error.
func (c *Conn) read() error {
	r := wire.NewReaderAfter(c.heard, c.nc, c.limits())
	c.heard = nil
	r.BlockProgress(c.blockProgress)
	var m wire.Message
	var deadline time.Time
	for {
		if now := time.Now(); deadline.Sub(now) < idleTimeout-10*time.Second { // not for each message
			deadline = now.Add(idleTimeout)
			c.nc.SetReadDeadline(deadline)
		}
		if c.parked.Load() { // if it is from now on, the deadline is moved
			c.heard = r.Unread()
			return errParked
		}
		if err := r.Next(&m); err != nil {
			if c.parked.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
				c.heard = r.Unread()
				return errParked
			}
			return err
		}
		c.messages++
		if err := c.overhear(&m); err != nil {
			return err
		}
		e, ok, err := c.decode(r, &m)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := c.tell(e); err != nil {
			return err
		}
	}
}

// limits is what the peer is held to.
func (c *Conn) limits() wire.Limits {
	feat := c.Hello.Features() & (wire.FeatureFast | wire.FeatureExtension)
	if c.cfg.V2 {
		feat |= wire.FeatureV2
	}
	l := wire.Limits{Features: feat}
	if g := c.cfg.Geometry; g != nil {
		l.Pieces, l.PieceLength = g.NumPieces(), g.PieceLength()
	}
	return l
}

// decode turns a message into an event; ok is false if there is nothing to tell.
func (c *Conn) decode(r *wire.Reader, m *wire.Message) (e Event, ok bool, err error) {
	// An int may have 32 bits, and no torrent has such a piece.
	if max(m.Piece, m.Begin, m.Length) > math.MaxInt32 {
		return e, false, fmt.Errorf("%w: %v for %d bytes at %d of piece %d",
			wire.ErrProtocol, m.ID, m.Length, m.Begin, m.Piece)
	}
	g := c.cfg.Geometry
	if g == nil && m.ID != wire.Extended {
		return e, false, c.keep(m)
	}
	e = Event{ID: m.ID, Piece: int(m.Piece), Begin: int(m.Begin), Length: int(m.Length)}
	switch m.ID {
	case wire.Piece:
		if !isBlock(g, e) {
			return e, false, fmt.Errorf("%w: piece message of %d bytes at %d of piece %d",
				wire.ErrProtocol, e.Length, e.Begin, e.Piece)
		}
		e, err = c.readBlock(r, e)
		return e, err == nil, err
	case wire.Reject:
		if isBlock(g, e) {
			c.limit.answered()
		}
	case wire.Bitfield:
		e.Bits = wire.BitfieldWords(bitset.New(g.NumPieces()), m.Payload)
	case wire.Extended:
		return c.decodeExtended(m)
	case wire.Port:
		return Event{Kind: DHTPort, Begin: int(m.Port)}, m.Port != 0, nil
	case wire.KeepAlive, wire.Suggest:
		return e, false, nil
	case wire.HashRequest, wire.HashReject:
		e.Hash = m.Hash
	case wire.Hashes:
		e.Hash = m.Hash
		e.Hashes = make([]metainfo.SHA256, len(m.Payload)/32)
		for i := range e.Hashes {
			e.Hashes[i] = metainfo.SHA256(m.Payload[32*i:])
		}
	}
	return e, true, nil
}

// isBlock reports whether an event names a whole block of a piece that exists.
func isBlock(g *metainfo.Geometry, e Event) bool {
	_, ok := g.BlockAt(e.Piece, e.Begin, e.Length)
	return ok
}

// keep keeps a message that cannot be understood without a geometry.
func (c *Conn) keep(m *wire.Message) error {
	if m.ID == wire.Piece {
		return fmt.Errorf("%w: a block that nobody asked for", wire.ErrProtocol)
	}
	c.kept.note(m)
	return nil
}

// readBlock takes the payload from the socket straight into the block's own buffer.
func (c *Conn) readBlock(r *wire.Reader, e Event) (Event, error) {
	// While this waits for the limit the socket is not read; the picker sees the lower rate and
	// keeps short queues.
	if err := c.limit.begin(c.cfg.Down, e.Length); err != nil {
		return e, err
	}
	e.Data = make([]byte, e.Length)
	c.block, c.blockBegun = Request{e.Piece, e.Begin, e.Length}, time.Now()
	if err := r.ReadBlock(e.Data); err != nil {
		return e, err
	}
	c.limit.end(e.Length)
	c.received.Add(int64(e.Length))
	if all := c.cfg.Received; all != nil {
		all.Add(int64(e.Length))
	}
	return e, nil
}

// blockProgress tells the owner how much of a block that comes slowly is here.
func (c *Conn) blockProgress(n int) {
	c.limit.came(c.cfg.Down, n)
	if time.Since(c.blockBegun) > slowBlock {
		c.tell(Event{Kind: Progress, Piece: c.block.Piece, Begin: c.block.Begin, Length: n})
	}
}

// decodeExtended reads the extension messages that we announce (BEP 10). Without a geometry the
// handshake is kept as well, as a torrent has to hear it.
func (c *Conn) decodeExtended(m *wire.Message) (e Event, ok bool, err error) {
	early := c.cfg.Geometry == nil
	if early && m.ExtID == 0 {
		c.kept.note(m)
	}
	x := &Extension{}
	e = Event{ID: m.ID, Ext: x}
	switch m.ExtID {
	case 0:
		h, err := wire.ParseExtHandshake(m.Payload)
		e.Kind, x.Hello = Hello, &h
		return e, err == nil, err
	case ExtMetadata:
		md, err := wire.ParseMetadata(m.Payload)
		if err != nil || !early && md.Type != wire.MetadataRequest {
			return e, false, err
		}
		md.Data = slices.Clone(md.Data)
		e.Kind, x.Metadata = Metadata, &md
		return e, true, nil
	case ExtPEX:
		p, err := wire.ParsePEX(m.Payload)
		e.Kind, x.Added = PEX, p.Added
		return e, err == nil && len(p.Added) > 0, err
	case ExtHolepunch:
		h, err := wire.ParseHolepunch(m.Payload)
		e.Kind, x.Holepunch = Holepunch, &h
		return e, err == nil, err
	case ExtDontHave:
		if early {
			return e, false, nil
		}
		piece, err := wire.ParseDontHave(m.Payload, c.cfg.Geometry.NumPieces())
		return Event{Kind: DontHave, Piece: int(piece)}, err == nil, err
	}
	return e, false, nil
}
