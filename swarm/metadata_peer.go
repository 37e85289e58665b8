package swarm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"torrentfs/internal/budget"
	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

var (
	errNoMetadata    = errors.New("peer has no metadata to give")
	errInterrupted   = errors.New("the search is over")
	errTooManyDrafts = errors.New("peers claim metadata of too many sizes")
)

// metadataPeer is a connection of the search. One goroutine reads it, another
// one writes what is in the outbox; when the metadata is here both end between two bytes,
// and the connection is kept for the torrent.
type metadataPeer struct {
	// Immutable.
	m  *metadataSearch
	nc net.Conn
	dialInfo
	hello wire.Handshake // the peer's
	out   outbox

	// Owned by the writer.
	unsent   []byte
	writeErr error

	// Owned by the reader.
	messages int
	noise    budget.Budget
	waited   time.Time // since when the peer owes us something
	heard    heardBefore
	unread   []byte // what came and was not decoded, at the end
	draft    *metadataDraft

	// Guarded by the search's mu.
	id      picker.PeerID
	ids     wire.ExtIDs
	pex     pexState
	punch   punchState
	isIdler bool
}

// run talks to the peer to the end. It returns nil where the connection is kept,
// else why it was closed.
func (p *metadataPeer) run() error {
	p.out.init()
	p.waited = time.Now()
	if !p.greeted {
		p.send(p.m.appendHello(nil, p.addr, p.hello.Features().Has(wire.FeatureFast)))
		p.greeted = true
	}
	written := make(chan struct{})
	go func() { defer close(written); p.write() }()
	interrupted := make(chan struct{})
	stop := context.AfterFunc(p.m.ctx, func() {
		p.nc.SetDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	p.m.arrive(p)
	err := p.read()
	p.m.leave(p)
	kept := p.m.ctx.Err() != nil && (errors.Is(err, errInterrupted) || errors.Is(err, os.ErrDeadlineExceeded))
	if !kept {
		p.nc.Close() // also ends a write
	}
	p.out.close()
	<-written
	if !stop() {
		<-interrupted
	}
	if kept && p.writeErr == nil && p.m.keep(p) {
		return nil
	}
	p.nc.Close()
	p.m.s.conns.give()
	return err
}

// write sends what the outbox holds.
func (p *metadataPeer) write() {
	for {
		var closed bool
		if p.unsent, closed = p.out.takeMessages(nil); len(p.unsent) > 0 {
			p.nc.SetWriteDeadline(time.Now().Add(metadataPatience))
			if p.m.ctx.Err() != nil {
				return
			}
			if _, p.writeErr = p.nc.Write(p.unsent); p.writeErr != nil {
				p.nc.Close() // tells the reader
				return
			}
			p.unsent = nil
			continue
		}
		if closed {
			return
		}
		<-p.out.wake
	}
}

// send puts messages into the outbox, from any goroutine.
func (p *metadataPeer) send(b []byte) {
	p.out.add(func(o []byte) []byte { return append(o, b...) })
	p.out.wakeWriter()
}

// read takes what the peer says.
func (p *metadataPeer) read() error {
	both := p.hello.Features() & (wire.FeatureExtension | wire.FeatureFast)
	if !both.Has(wire.FeatureExtension) {
		return errNoMetadata
	}
	r := wire.NewReader(p.nc, wire.Limits{Features: both | wire.FeatureV2})
	var msg wire.Message
	for {
		p.nc.SetReadDeadline(p.deadline())
		if p.m.ctx.Err() != nil { // if it ends from now on, the deadline is moved
			p.unread = r.Unread()
			return errInterrupted
		}
		if err := r.Next(&msg); err != nil {
			p.unread = r.Unread()
			return err
		}
		p.messages++
		if !p.noise.Take(time.Now(), 1, noiseDecay, maxNoise) {
			return errNoise
		}
		if p.out.waiting() > minUnread {
			return errUnread
		}
		if err := p.handle(&msg); err != nil {
			return err
		}
	}
}

// deadline is when the peer is given up that sends nothing of use.
func (p *metadataPeer) deadline() time.Time {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if p.isIdler {
		return p.waited.Add(idlerPatience)
	}
	return p.waited.Add(metadataPatience)
}

func (p *metadataPeer) handle(msg *wire.Message) error {
	switch msg.ID {
	case wire.Piece:
		return fmt.Errorf("%w: a block that nobody asked for", wire.ErrProtocol)
	case wire.Extended:
	default:
		p.heard.note(msg)
		return nil
	}
	switch msg.ExtID {
	case 0:
		p.heard.note(msg)
		return p.introduced(msg.Payload)
	case extMetadata:
		md, err := wire.ParseMetadata(msg.Payload)
		if err != nil {
			return err
		}
		return p.handleMetadata(&md)
	case extPEX:
		p.heard.note(msg)
		x, err := wire.ParsePEX(msg.Payload)
		if err != nil {
			return err
		}
		p.m.hear(p, x.Added)
	case extHolepunch:
		h, err := wire.ParseHolepunch(msg.Payload)
		if err != nil {
			return err
		}
		p.m.handleHolepunch(p, h)
	}
	return nil
}

// introduced takes an extension handshake, which may come again with changes.
func (p *metadataPeer) introduced(body []byte) error {
	h, err := wire.ParseExtHandshake(body)
	if err != nil {
		return err
	}
	if h.MetadataSize > wire.MaxMetadata {
		return fmt.Errorf("%w: metadata of %d bytes", wire.ErrProtocol, h.MetadataSize)
	}
	p.m.mu.Lock()
	p.ids.Update(&h)
	has := p.ids.Metadata != 0 && (h.MetadataSize != 0 || p.draft != nil)
	if has && p.draft == nil {
		p.draft = p.m.join(h.MetadataSize)
	}
	p.m.known.self.vote(p.addr.Addr().String(), h.YourIP)
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
	if p.outgoing {
		m.busy--
		m.idlers = append(m.idlers, p)
		if len(m.idlers) > metadataIdlers {
			m.idlers[0].nc.Close()
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
