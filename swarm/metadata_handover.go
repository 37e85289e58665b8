package swarm

import (
	"bytes"
	"net/netip"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/peers"
)

// Metadata is what a search brought. [Session.Add] takes it over: the torrent is the
// next tenant of the pool of peers, and goes on with its addresses and connections.
// If no torrent is added it is to be closed.
//
// A private torrent takes none of it (BEP 27), as nobody can tell which of the
// connections its tracker named.
type Metadata struct {
	Info   []byte           // the info dictionary; its hash is right
	Givers []netip.AddrPort // peers that gave a part of it

	s    *Session
	hash metainfo.InfoHash // of the link
	pool *peers.Pool
	kept []*searchPeer // parked
}

// Close ends the connections that no torrent took over.
func (md *Metadata) Close() {
	if md == nil {
		return
	}
	for _, p := range md.kept {
		md.s.discard(p.Conn)
	}
	md.kept = nil
}

// openPool makes the pool of the torrent's peers, or takes over that of the search for
// its metadata.
func (t *Torrent) openPool(seed uint64) {
	md := t.cfg.Metadata
	if md == nil || t.info.Private || !bytes.Equal(md.Info, t.info.Bytes) {
		t.pool = t.s.newPool(seed, t.tenant())
		return
	}
	t.pool = md.pool
	t.pool.SetTenant(time.Since(t.pool.Start()), t.tenant())
}

// takeOver makes the torrent go on with the connections of the search for its metadata.
// The loop has not begun.
func (t *Torrent) takeOver() {
	md := t.cfg.Metadata
	t.cfg.Metadata = nil
	defer md.Close() // what is left of it
	if md == nil || t.pool != md.pool {
		return
	}
	kept := md.kept
	md.kept = nil
	for _, p := range kept {
		t.goOn(p, p.Outgoing && md.hash.HasV1 && md.hash.HasV2)
	}
}

// goOn takes a connection of the search; saidV2 tells whether our handshake had BEP
// 52's bit. A peer of a hybrid that speaks v2 is dialled anew if the link named the v1
// swarm alone: without BEP 52's handshake no hashes are to be had, and a small read
// would cost a piece.
func (t *Torrent) goOn(p *searchPeer, saidV2 bool) {
	v2 := p.Hello.InfoHash == t.info.Hash.WireV2() || saidV2 && t.isV2(p.Hello)
	if !v2 && p.Outgoing && t.isV2(p.Hello) {
		t.s.discard(p.Conn)
		t.pool.Left(t.now(), p.id, peers.Departure{Again: true})
		return
	}
	c := newPeerConn(t, p.Conn, v2)
	c.greeted = true
	c.dht = false // we did not say so
	t.begin(c, peers.Place{ID: p.id})
}
