package swarm

import (
	"fmt"
	"net"
	"net/netip"

	"torrentfs/swarm/wire"
)

// metadataPeer is a peer's part in the search; its goroutine owns it.
type metadataPeer struct {
	m     *metadataSearch
	nc    net.Conn
	addr  netip.AddrPort
	ids   wire.ExtIDs
	draft *metadataDraft
}

// handle takes an extension handshake or a block of metadata.
func (p *metadataPeer) handle(msg *wire.Message) error {
	switch msg.ExtID {
	case 0:
		h, err := wire.ParseExtHandshake(msg.Payload)
		if err != nil {
			return err
		}
		p.ids.Update(&h)
		if p.ids.Metadata == 0 || h.MetadataSize == 0 && p.draft == nil {
			return errNoMetadata
		}
		if p.draft == nil {
			if h.MetadataSize > wire.MaxMetadata {
				return fmt.Errorf("%w: metadata of %d bytes", wire.ErrProtocol, h.MetadataSize)
			}
			p.draft = p.m.join(h.MetadataSize)
		}
		return p.ask()
	case extMetadata:
		md, err := wire.ParseMetadata(msg.Payload)
		if err != nil {
			return err
		}
		switch md.Type {
		case wire.MetadataRequest: // we have none either
			reject := wire.Metadata{Type: wire.MetadataReject, Piece: md.Piece}
			_, err := p.nc.Write(wire.AppendExtended(nil, p.ids.Metadata, reject.Append(nil)))
			return err
		case wire.MetadataReject:
			return errNoMetadata
		case wire.MetadataData:
			return p.take(&md)
		}
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
	if len(b) == 0 {
		return nil
	}
	_, err := p.nc.Write(b)
	return err
}

// take adds a block to the draft and checks the hash of a draft that is whole.
func (p *metadataPeer) take(md *wire.Metadata) error {
	m := p.m
	m.mu.Lock()
	d := p.draft
	if d == nil || md.TotalSize != d.size || !d.put(p, md.Piece, md.Data) {
		m.mu.Unlock()
		return nil // late, or somebody else was faster
	}
	if !d.whole() {
		m.mu.Unlock()
		m.poke()
		return p.ask()
	}
	info := d.data
	alone := d.givers() == 1
	right := metadataMatches(info, m.cfg.Hash)
	switch {
	case right:
		m.result = info
		for g := range d.gave {
			m.good = append(m.good, g.addr)
		}
	case alone: // this peer lied
		delete(m.bySize, d.size)
	default: // somebody did: from now on each block of a draft comes from one peer
		d.reset()
	}
	m.mu.Unlock()
	m.poke()
	if right {
		return nil
	}
	if alone {
		return fmt.Errorf("%w: metadata with another hash", wire.ErrProtocol)
	}
	return p.ask()
}

func (p *metadataPeer) leave() {
	if p.draft != nil {
		p.m.mu.Lock()
		p.draft.release(p)
		p.m.mu.Unlock()
	}
}
