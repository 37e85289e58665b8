package swarm

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/internal/budget"
	"torrentfs/picker"
	"torrentfs/swarm/hashes"
	"torrentfs/swarm/wire"
)

// dialInfo is how a connection came about.
type dialInfo struct {
	addr      netip.AddrPort
	outgoing  bool
	punched   bool          // by holepunching: nobody may get there without it
	rtt       time.Duration // of the TCP handshake, 0 where not known
	greeted   bool          // have-none and interested went out with the handshake
	encrypted bool          // MSE was spoken
	v2        bool          // both speak BEP 52: hashes may be asked for
}

// peerConn is one connection to a peer, after the handshakes. A known address
// is another thing: see addressBook.
type peerConn struct {
	// Immutable.
	t  *Torrent
	nc net.Conn
	dialInfo
	peerID [20]byte
	utp    bool // not TCP
	fast   bool // BEP 6 in both handshakes
	ext    bool // BEP 10 in both handshakes
	dht    bool // BEP 5 in both handshakes
	since  time.Time
	from   netip.Addr // ours, that its packets come from; invalid while unknown

	out outbox

	// Counters that any goroutine may read.
	received atomic.Int64 // payload bytes
	sent     atomic.Int64

	// Owned by the connection's reader.
	heard      []byte    // what came before the torrent was there
	block      peerEvent // whose payload is being read
	blockBegun time.Time
	limit      limitedReads
	idleNoise  budget.Budget // of messages that change nothing

	// Owned by the loop.
	id           picker.PeerID
	dirty        bool // in the loop's dirtyMsg
	remote       bitset.Set
	remoteCount  int
	heardBits    bool           // a bitfield, have-all or have-none came
	haves        int            // pieces that it showed one by one
	choking      bool           // we choke the peer
	interested   bool           // we are interested
	presumed     bool           // interest was said with the handshake, before we knew what it has
	peerChoking  bool           // the peer chokes us
	peerWants    bool           // the peer is interested
	uploadOnly   bool           // BEP 21
	listens      netip.AddrPort // where others can connect to it; invalid while unknown
	pex          pexState
	punch        punchState
	client       string
	extIDs       wire.ExtIDs // the peer's numbers for extension messages
	down, up     meter
	lastSent     int64
	waitingSince time.Duration // for an answer to a request; 0: none is out, or a block came since
	strikes      int           // requests while choked, blocks nobody asked for
	metadataSent int           // bytes of the info dictionary
	messages     int
	manners      manners
	answers      hashes.Allowance // what it may be sent of hashes

	closing sync.Once
	reason  error          // why it was closed; set within closing
	closed  sync.WaitGroup // of nc.Close, begun within closing
}

func newPeerConn(t *Torrent, nc net.Conn, h wire.Handshake, d dialInfo) *peerConn {
	n := t.info.NumPieces()
	c := &peerConn{
		t: t, nc: wire.NewVectoredConn(nc), dialInfo: d, peerID: h.PeerID,
		utp:  t.s.cfg.UTP != nil && nc.RemoteAddr().Network() == "udp",
		fast: h.Features().Has(wire.FeatureFast), ext: h.Features().Has(wire.FeatureExtension),
		dht:   t.usesDHT() && h.Features().Has(wire.FeatureDHT),
		since: time.Now(), pex: pexState{next: -pexPause}, remote: bitset.New(n), choking: true, peerChoking: true,
	}
	c.from = t.s.sourceOf(nc)
	if d.outgoing {
		c.listens = d.addr
	}
	c.out.init()
	return c
}

// close ends the connection from any goroutine; the first reason counts. The
// loop hears of it from the connection's reader. It does not wait for the
// socket, which closes when its writer is done: that may be waiting for a disk.
func (c *peerConn) close(reason error) {
	c.closing.Do(func() {
		c.reason = reason
		c.out.close()
		c.closed.Go(func() { c.nc.Close() })
	})
}

func (c *peerConn) isSeed() bool { return c.remoteCount == c.t.info.NumPieces() }

// snubs says whether the peer has let a request lie for a minute (BEP 3, "anti-snubbing").
func (c *peerConn) snubs(now time.Duration) bool {
	return c.waitingSince > 0 && !c.peerChoking && now-c.waitingSince > time.Minute
}

// handOver gives a new connection to the loop.
func (t *Torrent) handOver(c *peerConn) {
	select {
	case t.arrivals <- c:
	case <-t.done:
		c.nc.Close()
		t.s.conns.give()
	}
}
