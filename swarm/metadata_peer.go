package swarm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"torrentfs/picker"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

var (
	errNoMetadata    = errors.New("peer has no metadata to give")
	errTooManyDrafts = errors.New("peers claim metadata of too many sizes")
	errImpatient     = errors.New("peer sends nothing of use")
)

// metadataPeer is what the search knows of a connection. When the metadata is here the connection is parked,
// and kept for the torrent.
type metadataPeer struct {
	// Immutable.
	*conn.Conn
	m *metadataSearch

	// Owned by the search's goroutine.
	waited time.Time // since when the peer owes us something
	draft  *metadataDraft

	// Guarded by the search's mu.
	id      picker.PeerID
	ids     wire.ExtIDs
	pex     pexState
	punch   punchState
	isIdler bool
}

// run talks to the peer to the end. It returns nil if the connection is kept,
// else why it was closed.
func (p *metadataPeer) run() error {
	p.waited = time.Now()
	if !p.Greeted {
		p.send(p.m.appendHello(nil, p.Addr, p.Fast()))
	}
	if !p.Extended() {
		p.Close(errNoMetadata)
	}
	p.m.arrive(p)
	err := p.Conn.Run(context.WithoutCancel(p.m.ctx), conn.Config{Peer: int(p.id), Events: p.m.events, V2: true})
	if err == nil && p.m.keep(p) {
		return nil
	}
	p.m.s.discard(p.Conn)
	return err
}

// send puts messages into the outbox, from any goroutine.
func (p *metadataPeer) send(b []byte) {
	p.Send(func(o []byte) []byte { return append(o, b...) })
	p.Flush()
}

// handlePeerEvents handles an event and what else has come meanwhile.
func (m *metadataSearch) handlePeerEvents(e conn.Event) {
	m.handlePeerEvent(e)
	for range eventsPerFlush {
		select {
		case e := <-m.events:
			m.handlePeerEvent(e)
		default:
			return
		}
	}
}

// handlePeerEvent takes what a peer said.
func (m *metadataSearch) handlePeerEvent(e conn.Event) {
	m.mu.Lock()
	p := m.peers[picker.PeerID(e.Peer)]
	m.mu.Unlock()
	var err error
	switch e.Kind {
	case conn.Parked, conn.Gone:
		m.leave(p)
	case conn.Hello:
		err = p.introduced(e.Ext.Hello)
	case conn.Metadata:
		err = p.handleMetadata(e.Ext.Metadata)
	case conn.PEX:
		m.hear(p, e.Ext.Added)
	case conn.Holepunch:
		m.handleHolepunch(p, *e.Ext.Holepunch)
	}
	if err != nil {
		p.Close(err)
	}
}

// reviewPeers closes those that have sent nothing of use for long.
func (m *metadataSearch) reviewPeers() {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.peers {
		patience := metadataPatience
		if p.isIdler {
			patience = idlerPatience
		}
		if now.Sub(p.waited) >= patience {
			p.Close(errImpatient)
		}
	}
}

// introduced takes an extension handshake, which may come again with changes.
func (p *metadataPeer) introduced(h *wire.ExtHandshake) error {
	if h.MetadataSize > wire.MaxMetadata {
		return fmt.Errorf("%w: metadata of %d bytes", wire.ErrProtocol, h.MetadataSize)
	}
	p.m.mu.Lock()
	p.ids.Update(h)
	has := p.ids.Metadata != 0 && (h.MetadataSize != 0 || p.draft != nil)
	if has && p.draft == nil {
		p.draft = p.m.join(h.MetadataSize)
	}
	p.m.known.self.vote(p.Addr.Addr().String(), h.YourIP)
	p.m.mu.Unlock()
	if !has {
		return p.idle()
	}
	return p.ask()
}

// idle keeps a peer that has no metadata for what it tells of others (BEP 11):
// beside those that are asked, for a while, and not too many.
func (p *metadataPeer) idle() error {
	m := p.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.draft != nil {
		p.draft.release(p)
	}
	switch {
	case p.isIdler:
		return nil
	case p.ids.PEX == 0:
		return errNoMetadata
	}
	p.isIdler = true
	if p.Outgoing {
		m.busy--
		m.idlers = append(m.idlers, p)
		if len(m.idlers) > metadataIdlers {
			m.idlers[0].Close(errNoMetadata)
			m.idlers = slices.Delete(m.idlers, 0, 1)
		}
		m.poke()
	}
	return nil
}

// handleMetadata takes a block, or what is said instead.
func (p *metadataPeer) handleMetadata(md *wire.Metadata) error {
	switch md.Type {
	case wire.MetadataRequest: // we have none either
		if p.ids.Metadata != 0 {
			reject := wire.Metadata{Type: wire.MetadataReject, Piece: md.Piece}
			p.send(wire.AppendExtended(nil, p.ids.Metadata, reject.Append(nil)))
		}
	case wire.MetadataReject:
		return p.idle()
	case wire.MetadataData:
		return p.take(md)
	}
	return nil
}

// ask requests every block that nobody else was asked for, or, when all were,
// every one that is not here: the slowest peer does not decide.
func (p *metadataPeer) ask() error {
	p.m.mu.Lock()
	blocks := p.draft.assign(p)
	p.m.mu.Unlock()
	var b []byte
	for _, i := range blocks {
		req := wire.Metadata{Type: wire.MetadataRequest, Piece: i}
		b = wire.AppendExtended(b, p.ids.Metadata, req.Append(nil))
	}
	if len(b) > 0 {
		p.waited = time.Now()
		p.send(b)
	}
	return nil
}

// take adds a block to the draft and checks the hash of a draft that is whole.
func (p *metadataPeer) take(md *wire.Metadata) error {
	m := p.m
	m.mu.Lock()
	d := p.draft
	switch {
	case d == nil, m.result != nil, md.TotalSize != d.size, !d.put(p, md.Piece, md.Data):
		m.mu.Unlock()
		return nil // late, or somebody else was faster
	case m.drafted() > maxDrafted:
		d.empty(false)
		m.mu.Unlock()
		return errTooManyDrafts
	}
	p.waited = time.Now()
	whole, right, alone := d.whole(), false, false
	if whole {
		right, alone = m.judge(d)
	}
	m.mu.Unlock()
	m.poke()
	switch {
	case right:
		return nil
	case alone:
		return fmt.Errorf("%w: metadata with another hash", wire.ErrProtocol)
	}
	return p.ask()
}
