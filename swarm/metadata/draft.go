package metadata

import (
	"net/netip"

	"torrentfs/internal/bitset"
	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

// nobody is no peer.
const nobody picker.PeerID = -1

// shares is into how many parts a large dictionary is divided among peers.
const shares = 4

// draft is an info dictionary on its way, of a size that peers claim.
type draft struct {
	size  int64
	n     int      // blocks
	users int      // connections
	data  [][]byte // by block
	bytes int      // of data
	got   bitset.Set
	asked []picker.PeerID                  // who was asked for a block last
	gave  map[picker.PeerID]netip.AddrPort // peers that blocks came from
	solo  picker.PeerID                    // after a mixture failed: the one peer that fills the draft
	mixed bool                             // a mixture failed
}

func newDraft(size int64) *draft {
	n := int((size + wire.MetadataBlock - 1) / wire.MetadataBlock)
	d := &draft{
		size: size, n: n, data: make([][]byte, n), got: bitset.New(n), asked: make([]picker.PeerID, n), gave: map[picker.PeerID]netip.AddrPort{}, solo: nobody,
	}
	for i := range d.asked {
		d.asked[i] = nobody
	}
	return d
}

// assign chooses the blocks that a peer is asked for now: those that no other was asked for, or, when all were, those
// that are not here, so that the slowest peer does not decide.
func (d *draft) assign(id picker.PeerID) (blocks []int) {
	if d.mixed && d.solo == nobody {
		d.solo = id
	}
	if d.mixed && d.solo != id {
		return nil
	}
	for i := range d.n {
		if !d.got.Has(i) && d.asked[i] == nobody {
			blocks = append(blocks, i)
		}
	}
	if _, gave := d.gave[id]; len(blocks) == 0 && !gave { // all are under way elsewhere: ask here as well, once
		for i := range d.n {
			if !d.got.Has(i) && d.asked[i] != id {
				blocks = append(blocks, i)
			}
		}
	}
	if share := (d.n + shares - 1) / shares; len(blocks) > share && !d.mixed {
		blocks = blocks[:share] // leave some for others
	}
	for _, i := range blocks {
		d.asked[i] = id
	}
	return blocks
}

// owes reports whether a peer was the last to be asked for a block that is not here.
func (d *draft) owes(id picker.PeerID) bool {
	for i, a := range d.asked {
		if a == id && !d.got.Has(i) {
			return true
		}
	}
	return false
}

// put takes a block, and data with it, and reports whether it was wanted. A block is of the length that the size of the draft says (see
// [wire.ParseMetadata]).
func (d *draft) put(id picker.PeerID, addr netip.AddrPort, block int, data []byte) bool {
	if block >= d.n || d.got.Has(block) || d.mixed && d.solo != id {
		return false
	}
	d.data[block] = data
	d.bytes += len(data)
	d.got.Set(block)
	d.gave[id] = addr
	return true
}

func (d *draft) whole() bool { return d.got.Count() == d.n }

// empty begins a draft anew; mixed means that one peer at a time fills it.
func (d *draft) empty(mixed bool) {
	users := d.users
	*d = *newDraft(d.size)
	d.users, d.mixed = users, mixed
}

// release gives back what a peer was asked for and did not send.
func (d *draft) release(id picker.PeerID) {
	for i, a := range d.asked {
		if a == id && !d.got.Has(i) {
			d.asked[i] = nobody
		}
	}
	if d.solo == id {
		d.empty(true)
	}
}
