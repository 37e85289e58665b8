package swarm

import (
	"crypto/sha1"
	"crypto/sha256"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// metadataDraft is an info dictionary on its way, of a size that peers claim.
// It becomes metadata only by its hash. The search's mutex guards it.
type metadataDraft struct {
	size  int64
	n     int // blocks
	users int // connections
	data  []byte
	got   bitset.Set
	asked []*metadataPeer // who was asked for a block last
	gave  map[*metadataPeer]int
	solo  *metadataPeer // after a mixture failed: the one peer that fills the draft
	mixed bool          // a mixture failed
}

func newMetadataDraft(size int64) *metadataDraft {
	n := int((size + wire.MetadataBlock - 1) / wire.MetadataBlock)
	return &metadataDraft{
		size: size, n: n, got: bitset.New(n), asked: make([]*metadataPeer, n), gave: map[*metadataPeer]int{},
	}
}

// assign chooses the blocks that a peer is asked for now.
func (d *metadataDraft) assign(p *metadataPeer) (blocks []int) {
	if d.mixed && d.solo == nil {
		d.solo = p
	}
	if d.mixed && d.solo != p {
		return nil
	}
	for i := range d.n {
		if !d.got.Has(i) && d.asked[i] == nil {
			blocks = append(blocks, i)
		}
	}
	if len(blocks) == 0 && d.gave[p] == 0 { // all are under way elsewhere: ask here as well, once
		for i := range d.n {
			if !d.got.Has(i) && d.asked[i] != p {
				blocks = append(blocks, i)
			}
		}
	}
	if share := (d.n + metadataShare - 1) / metadataShare; len(blocks) > share && !d.mixed {
		blocks = blocks[:share] // leave some for others
	}
	for _, i := range blocks {
		d.asked[i] = p
	}
	return blocks
}

// metadataShare is into how many parts a large dictionary is divided among peers.
const metadataShare = 4

// put takes a block and says whether it was wanted.
func (d *metadataDraft) put(p *metadataPeer, block int, data []byte) bool {
	if block >= d.n || d.got.Has(block) || d.mixed && d.solo != p {
		return false
	}
	off := block * wire.MetadataBlock
	if need := off + len(data); need > len(d.data) {
		d.data = append(d.data, make([]byte, need-len(d.data))...)
	}
	copy(d.data[off:], data)
	d.got.Set(block)
	d.gave[p]++
	return true
}

func (d *metadataDraft) whole() bool { return d.got.Count() == d.n }

// givers is how many peers the blocks came from.
func (d *metadataDraft) givers() int { return len(d.gave) }

// empty begins a draft anew; mixed means that one peer at a time fills it.
func (d *metadataDraft) empty(mixed bool) {
	users := d.users
	*d = *newMetadataDraft(d.size)
	d.users, d.mixed = users, mixed
}

// release gives back what a peer was asked for and did not send.
func (d *metadataDraft) release(p *metadataPeer) {
	for i, a := range d.asked {
		if a == p && !d.got.Has(i) {
			d.asked[i] = nil
		}
	}
	if d.solo == p {
		d.empty(true)
	}
}

const (
	// maxDrafts is how many drafts are kept that nobody works on.
	maxDrafts = 4
	// maxDrafted is how many bytes of all drafts together.
	maxDrafted = 2 * wire.MaxMetadata
)

// join finds the draft of a claimed size. The claim is bounded, memory is taken
// as blocks come. mu is held.
func (m *metadataSearch) join(size int64) *metadataDraft {
	d := m.bySize[size]
	if d == nil {
		d = newMetadataDraft(size)
		m.bySize[size] = d
	}
	d.users++
	return d
}

// part takes a peer's connection from its draft. mu is held.
func (m *metadataSearch) part(p *metadataPeer) {
	d := p.draft
	if d == nil {
		return
	}
	d.release(p)
	if d.users--; d.users == 0 && len(m.bySize) > maxDrafts {
		delete(m.bySize, d.size)
	}
}

// drafted is the size of what came. mu is held.
func (m *metadataSearch) drafted() (n int) {
	for _, d := range m.bySize {
		n += len(d.data)
	}
	return n
}

// judge looks whether a draft that is whole is what was sought, and whether one
// peer alone is to blame if it is not. mu is held.
func (m *metadataSearch) judge(d *metadataDraft) (right, alone bool) {
	alone = d.givers() == 1
	right = metadataMatches(d.data, m.cfg.Hash)
	if !right {
		d.empty(!alone) // of a mixture, each block comes from one peer from now on
		return false, alone
	}
	m.result = d.data
	for g := range d.gave {
		m.givers = append(m.givers, g.Addr)
	}
	return true, alone
}

func metadataMatches(info []byte, h metainfo.InfoHash) bool {
	return (!h.HasV1 || sha1.Sum(info) == h.V1) && (!h.HasV2 || sha256.Sum256(info) == h.V2)
}
