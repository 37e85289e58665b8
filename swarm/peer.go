package swarm

import (
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/hashes"
	"torrentfs/swarm/wire"
)

// peer is what the torrent's loop knows of a connected peer. A known address
// is another thing: see package peers.
type peer struct {
	// Immutable.
	*conn.Conn
	t       *Torrent
	greeted bool      // have-none and interested were said before it was the torrent's
	v2      bool      // both speak BEP 52: hashes may be asked for
	dht     bool      // BEP 5 in both handshakes
	since   time.Time // when it became the torrent's

	// Owned by the loop.
	id           picker.PeerID
	dirty        bool // in the loop's dirtyMsg
	remote       bitset.Set
	remoteCount  int
	heardBits    bool // a bitfield, have-all or have-none came
	haves        int  // pieces that it showed one by one
	choking      bool // we choke the peer
	interested   bool // we are interested
	presumed     bool // interest was said with the handshake, before we knew what it has
	peerChoking  bool // the peer chokes us
	peerWants    bool // the peer is interested
	uploadOnly   bool // BEP 21
	client       string
	extIDs       wire.ExtIDs // the peer's numbers for extension messages
	down, up     meter
	lastSent     int64
	waitingSince time.Duration // for an answer to a request; 0: none is out, or a block came since
	strikes      int           // requests while choked, blocks nobody asked for
	metadataSent int           // bytes of the info dictionary
	messages     int
	flood        conn.Flood
	answers      hashes.Allowance // what it may be sent of hashes
}

func newPeer(t *Torrent, c *conn.Conn, v2 bool) *peer {
	p := &peer{
		Conn: c, t: t, greeted: c.Greeted, v2: v2, dht: t.usesDHT() && c.Hello.Features().Has(wire.FeatureDHT),
		since: time.Now(), remote: bitset.New(t.info.NumPieces()), choking: true, peerChoking: true,
	}
	return p
}

// run reads and writes until the connection ends.
func (c *peer) run() {
	t := c.t
	_ = c.Run(t.ctx, conn.Config{
		Peer: int(c.id), Events: t.fromPeers, Geometry: &t.info.Geometry, V2: c.v2,
		Source: t.store, Unreadable: t.unreadable,
		Down: t.s.down, Up: t.s.up, Received: &t.traffic.received, Sent: &t.traffic.sent, Closed: t.s.limits.Release,
	})
}

func (c *peer) isSeed() bool { return c.remoteCount == c.t.info.NumPieces() }

// snubs reports whether the peer has let a request lie for a minute (BEP 3, "anti-snubbing").
func (c *peer) snubs(now time.Duration) bool {
	return c.waitingSince > 0 && !c.peerChoking && now-c.waitingSince > time.Minute
}

// handOver gives a new connection to the loop.
func (t *Torrent) handOver(c *peer) {
	select {
	case t.arrivals <- c:
	case <-t.done:
		t.s.discard(c.Conn)
	}
}

// discard closes a connection that nobody runs, and gives its place to others.
func (s *Session) discard(c *conn.Conn) {
	c.Discard()
	s.limits.Release()
}

// unreadable is called by a peer's writer if a committed piece could not be read.
func (t *Torrent) unreadable(piece metainfo.Piece, err error) {
	t.log.Debug("serve block", "piece", piece, "err", err)
	if t.store.Has(piece) {
		t.store.Invalidate(piece, err)
	}
}

// judge counts a message before it is handled.
func (c *peer) judge(e conn.Event) error {
	if e.Kind == conn.Message && e.ID == wire.Have && c.remote.Has(e.Piece) {
		if err := c.flood.Repeat(c.t.info.NumPieces()); err != nil {
			return err
		}
	}
	return c.flood.Add(e.Cost(c.heardBits, c.isSeed(), c.t.info.NumPieces()))
}

// reviewFlood is part of the once-a-second round.
func (t *Torrent) reviewFlood(now time.Duration) {
	for _, c := range t.peers {
		if c == nil {
			continue
		}
		c.flood.Decay()
		if c.down.rate > 0 || c.up.rate > 0 {
			t.pool.SetUseful(now, c.id)
		}
	}
}
