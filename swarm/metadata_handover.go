package swarm

import (
	"bytes"
	"net"
	"net/netip"
	"time"

	"torrentfs/swarm/wire"
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

// keptConn is a connection between two owners: nobody reads or writes it.
type keptConn struct {
	nc net.Conn
	dialInfo
	hello  wire.Handshake // the peer's
	saidV2 bool           // our handshake had BEP 52's bit
	heard  []byte         // messages that the torrent has to hear, and the bytes behind them that came
	unsent []byte
}

// heardBefore is what a peer said that only a torrent can understand. It is kept
// as it came, within a bound.
type heardBefore struct {
	messages []byte
	// The last of those that contradict each other, which come in any number;
	// KeepAlive where none came.
	choke, interest wire.ID
	some            bool // choke and interest are set
	tooMuch         bool
}

// maxHeardBefore has room for the largest bitfield and some thousands of haves.
const maxHeardBefore = wire.MaxPieces/8 + 64<<10

// note keeps a message.
func (h *heardBefore) note(m *wire.Message) {
	if !h.some {
		h.choke, h.interest, h.some = wire.KeepAlive, wire.KeepAlive, true
	}
	switch m.ID {
	case wire.Choke, wire.Unchoke:
		h.choke = m.ID
	case wire.Interested, wire.NotInterested:
		h.interest = m.ID
	case wire.Have, wire.Bitfield, wire.HaveAll, wire.HaveNone, wire.AllowedFast, wire.Extended:
		if len(h.messages)+len(m.Payload)+16 > maxHeardBefore {
			h.tooMuch, h.messages = true, nil
		}
		if !h.tooMuch {
			h.messages = m.Append(h.messages)
		}
	}
}

// replay is all of it, as if it came now.
func (h *heardBefore) replay() []byte {
	b := h.messages
	for _, id := range []wire.ID{h.choke, h.interest} {
		if h.some && id != wire.KeepAlive {
			b = (&wire.Message{ID: id}).Append(b)
		}
	}
	return b
}

// keep takes a connection whose goroutines have stopped, if it is of use later.
func (m *metadataSearch) keep(p *metadataPeer) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.result == nil || p.heard.tooMuch {
		return false
	}
	messages, _ := p.out.takeMessages(nil)
	m.kept = append(m.kept, &keptConn{
		nc: p.nc, dialInfo: p.dialInfo, hello: p.hello, saidV2: p.outgoing && m.cfg.Hash.HasV1 && m.cfg.Hash.HasV2,
		heard: append(p.heard.replay(), p.unread...), unsent: append(p.unsent, messages...),
	})
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
		k.nc.Close()
		md.s.conns.give()
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
		if a := t.known.byAddr[k.addr]; a != nil && k.outgoing {
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
	k.v2 = k.hello.InfoHash == t.info.Hash.WireV2() || k.saidV2 && t.isV2(k.hello)
	if !k.v2 && k.outgoing && t.isV2(k.hello) {
		k.nc.Close()
		t.s.conns.give()
		if a := t.known.byAddr[k.addr]; a != nil {
			a.inUse = false
		}
		return
	}
	k.nc.SetDeadline(time.Time{})
	c := newPeerConn(t, k.nc, k.hello, k.dialInfo)
	c.heard = k.heard
	c.dht = false // we did not say so
	c.out.add(func(b []byte) []byte { return append(b, k.unsent...) })
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
