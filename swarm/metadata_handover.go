package swarm

import (
	"net/netip"

	"torrentfs/metainfo"
	"torrentfs/swarm/peers"
)

// Metadata is what a search brought. [Session.Add] takes it over: the torrent is the
// next tenant of the pool of peers, and goes on with its sources, addresses and
// connections. If no torrent is added it is to be closed.
//
// A private torrent takes none of it but the addresses that trackers named (BEP 27), as
// nobody can tell which of the connections came of those.
type Metadata struct {
	Info   []byte           // the info dictionary; its hash is right
	Givers []netip.AddrPort // peers that gave a part of it

	s       *Session
	hash    metainfo.InfoHash // of the link
	pool    *peers.Pool       // kept by sources
	sources *sourceGroup
	kept    []*searchPeer // parked
}

// Close ends what no torrent took over; sources have said goodbye when it returns.
func (md *Metadata) Close() {
	if md == nil {
		return
	}
	for _, p := range md.kept {
		md.s.discard(p.Conn)
	}
	md.kept = nil
	if md.sources != nil {
		md.sources.close()
	}
}

// takeOver makes the torrent go on with the connections of the search for its metadata.
func (t *Torrent) takeOver() {
	md := t.cfg.Metadata
	if md == nil {
		return
	}
	for _, p := range md.kept {
		t.adoptPeer(p, p.Outgoing && md.hash.HasV1 && md.hash.HasV2)
	}
	md.kept, md.sources, t.cfg.Metadata = nil, nil, nil
}

// adoptPeer takes a connection of the search; saidV2 tells whether our handshake had BEP
// 52's bit. A peer of a hybrid that speaks v2 is dialled anew if the link named the v1
// swarm alone: without BEP 52's handshake no hashes are to be had, and a small read
// would cost a piece.
func (t *Torrent) adoptPeer(p *searchPeer, saidV2 bool) {
	v2 := p.Hello.InfoHash == t.info.Hash.WireV2() || saidV2 && t.isV2(p.Hello)
	if !v2 && p.Outgoing && t.isV2(p.Hello) {
		t.s.discard(p.Conn)
		t.pool.Left(t.now(), p.id, peers.Departure{Again: true})
		return
	}
	c := newPeer(t, p.Conn, v2)
	c.greeted = true
	c.dht = false // we did not say so
	t.begin(c, peers.Place{ID: p.id})
}
