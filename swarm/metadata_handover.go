package swarm

import (
	"bytes"
	"net/netip"
	"time"

	"torrentfs/swarm/conn"
)

// Metadata is what a search brought. [Session.Add] takes it over: the torrent
// goes on with the search's connections and knows the addresses that it knew.
// Who does not add the torrent closes it.
//
// A private torrent takes neither (BEP 27), as nobody can tell which of them its
// tracker named.
type Metadata struct {
	Info   []byte           // the info dictionary; its hash is right
	Givers []netip.AddrPort // peers that gave a part of it

	s     *Session
	kept  []*keptConn
	known []*address
	now   time.Duration // by the clock of known
}

// keptConn is a parked connection between two owners.
type keptConn struct {
	*conn.Conn
	saidV2 bool // our handshake had BEP 52's bit
}

// keep takes a parked connection, if it is of use later.
func (m *metadataSearch) keep(p *metadataPeer) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.result == nil {
		return false
	}
	m.kept = append(m.kept, &keptConn{Conn: p.Conn, saidV2: p.Outgoing && m.cfg.Hash.HasV1 && m.cfg.Hash.HasV2})
	return true
}

// harvest is what the search leaves. All its goroutines have ended.
func (m *metadataSearch) harvest() *Metadata {
	return &Metadata{Info: m.result, Givers: m.givers, s: m.s, kept: m.kept, known: m.known.list, now: m.now()}
}

// Close ends the connections that no torrent took over.
func (md *Metadata) Close() {
	if md == nil {
		return
	}
	for _, k := range md.kept {
		md.s.discard(k.Conn)
	}
	md.kept = nil
}

// takeOver makes the torrent go on where the search for its metadata ended. The
// loop has not begun.
func (t *Torrent) takeOver(md *Metadata) {
	t.cfg.Metadata = nil
	defer md.Close() // what is left of it
	if md == nil || t.info.Private || !bytes.Equal(md.Info, t.info.Bytes) {
		return
	}
	for _, a := range md.known {
		t.known.inherit(a, t.now()-md.now)
	}
	for _, k := range md.kept {
		if a := t.known.byAddr[k.Addr]; a != nil && k.Outgoing {
			a.inUse = true
		}
		t.goOn(k)
	}
	md.kept = nil
}

// goOn takes a connection of the search. A peer of a hybrid that speaks v2 is
// dialled anew, where the link named the v1 swarm alone: without BEP 52's
// handshake no hashes are to be had, and a small read would cost a piece.
func (t *Torrent) goOn(k *keptConn) {
	v2 := k.Hello.InfoHash == t.info.Hash.WireV2() || k.saidV2 && t.isV2(k.Hello)
	if !v2 && k.Outgoing && t.isV2(k.Hello) {
		t.s.discard(k.Conn)
		if a := t.known.byAddr[k.Addr]; a != nil {
			a.inUse = false
		}
		return
	}
	c := newPeerConn(t, k.Conn, v2)
	c.greeted = true
	c.dht = false // we did not say so
	t.addPeer(c)
}

// inherit adds an address that another book knows, and what is known of it. The
// books' clocks differ by shift.
func (b *addressBook) inherit(from *address, shift time.Duration) {
	if from.banned || !b.add(from.addr, from.by[0], 0) && b.byAddr[from.addr] == nil {
		return
	}
	a := b.byAddr[from.addr]
	for _, by := range from.by[1:] {
		a.introducedBy(by)
	}
	a.answered = from.answered
	a.encrypt, a.v2, a.plain, a.seed = from.encrypt, from.v2, from.plain, from.seed
	if !from.inUse {
		a.failures, a.due = from.failures, from.due+shift
	}
}
