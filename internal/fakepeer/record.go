package fakepeer

import (
	"context"
	"maps"
	"slices"
	"time"

	"torrentfs/swarm/wire"
)

// Block names a part of a piece, as requests do.
type Block struct{ Piece, Begin, Length uint32 }

// Event is a block that a message named, and when the message came.
type Event struct {
	Block
	At time.Time
}

// HashEvent is a range of hashes that a message named, and when it came.
type HashEvent struct {
	wire.HashRange
	At time.Time
}

// Record is what a peer received, from all its connections together. Lists are
// in the order of arrival.
type Record struct {
	Conns         int // connections that were begun
	Open          int // of these, still there
	Handshakes    []wire.Handshake
	ExtHandshakes []wire.ExtHandshake
	Messages      map[wire.ID]int // count of each type

	Requests []Event // valid or not
	Cancels  []Event
	Rejects  []Event
	Blocks   []Event // received payloads
	Haves    []uint32
	DontHave []uint32 // lt_donthave

	HashRequests []HashEvent
	Hashes       []HashAnswer // received
	HashRejects  []HashEvent

	Interested bool // as last said by the program, on any connection
	Unchoked   bool
	HaveAll    bool
	Bitfield   []uint64 // as last sent, haves not included

	Invalid     int   // requests beyond the torrent, or longer than a block may be
	WhileChoked int   // requests that came although we choked and did not allow them
	OverReqq    int   // requests beyond what our reqq allows
	Wrong       int   // blocks that were not the content
	Unasked     int   // blocks that we did not ask for
	Uploaded    int64 // payload bytes sent
	Downloaded  int64 // payload bytes received
	Errors      []error
}

func (r *Record) clone() Record {
	c := *r
	c.Handshakes = slices.Clone(r.Handshakes)
	c.ExtHandshakes = slices.Clone(r.ExtHandshakes)
	c.Messages = maps.Clone(r.Messages)
	c.Requests = slices.Clone(r.Requests)
	c.Cancels = slices.Clone(r.Cancels)
	c.Rejects = slices.Clone(r.Rejects)
	c.Blocks = slices.Clone(r.Blocks)
	c.Haves = slices.Clone(r.Haves)
	c.HashRequests = slices.Clone(r.HashRequests)
	c.Hashes = slices.Clone(r.Hashes)
	c.HashRejects = slices.Clone(r.HashRejects)
	c.DontHave = slices.Clone(r.DontHave)
	c.Bitfield = slices.Clone(r.Bitfield)
	c.Errors = slices.Clone(r.Errors)
	return c
}

// Record returns a copy of what was received so far.
func (p *Peer) Record() Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rec.clone()
}

// Wait waits until the record fulfils a condition, which is tried at every
// change; it must be quick and keep nothing. The error is that of ctx.
func (p *Peer) Wait(ctx context.Context, cond func(r *Record) bool) error {
	for {
		p.mu.Lock()
		ok, changed := cond(&p.rec), p.changed
		p.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// note wakes those who wait for a change of the record. mu is held.
func (p *Peer) note() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// add appends to a list of the record, up to its limit.
func add[T any](p *Peer, list *[]T, v T) {
	if len(*list) < p.opt.MaxRecorded {
		*list = append(*list, v)
	}
}
