package swarm

import (
	"context"
	"net"
	"net/netip"
	"os"
)

// Store keeps one torrent's payload. Package cache has the real one. Its
// methods may be called from any goroutine; offsets are in the piece space.
type Store interface {
	// Held is the set of pieces that need no hashing, at the time of opening.
	Held() []uint64
	// Doubtful is the set of pieces that have bytes on disk which nobody vouches for.
	Doubtful() []uint64

	// Put takes an unverified block and the ownership of data. It never blocks on the disk.
	Put(piece, block int, data []byte)
	// Unverified returns a block as it was put; scratch may be used to hold it.
	Unverified(piece, block int, scratch []byte) ([]byte, error)
	// Commit publishes a piece whose hash was right, Discard drops one whose
	// hash was wrong, but for blocks that are committed by themselves. Commit is
	// false if what was hashed may not be what is there now: a file was changed
	// since. Then all of the piece is to be read (Unverified) and hashed anew.
	Commit(piece int) bool
	Discard(piece int)
	// Doubt withdraws the trust in a committed piece that could not be read,
	// and in others that the reason concerns. It returns those that are to be
	// hashed, and then committed or discarded.
	Doubt(piece int, reason error) (doubtful []int)
	// Recheck withdraws the trust in committed pieces that a disk which failed may
	// have lost, and returns them likewise. [Torrent.Recheck] says that there are any.
	Recheck() (doubtful []int)
	// Shed gives up committed pieces that a stalled disk does not take, until
	// no more than most bytes are dirty, and returns them.
	Shed(most int64) (lost []int)
	// CommitBlock publishes one block, whose own hash was right, before its
	// piece is complete. A block that was never put is ignored. It is false as
	// Commit is.
	CommitBlock(piece, block int) bool
	// DiscardBlock drops one block, whose own hash was wrong.
	DiscardBlock(piece, block int)
	// HasBlock says whether a block is committed, by itself or with its piece.
	HasBlock(piece, block int) bool
	// Blocks yields the pieces that are not committed and have blocks that are,
	// as bits of the blocks: block i is bit i%64 of word i/64.
	Blocks(yield func(piece int, blocks []uint64) bool)
	// Dirty is how many bytes were put and are not yet on disk.
	Dirty() int64
	// Stalled says that the disk takes nothing now: it refuses, or has been at
	// one write for seconds.
	Stalled() bool

	// Has says whether a piece is committed; it takes no lock.
	Has(piece int) bool
	// ReadAt reads committed bytes. Before the first byte that is not
	// committed, or that could not be read in two attempts, it stops with an error.
	ReadAt(p []byte, off int64) (int, error)
	// Section is where committed bytes lie on disk, if they are there and in one file.
	Section(off int64, n int) (f *os.File, at int64, ok bool)
}

// Dialer opens outgoing connections. [net.Dialer] is one, and [egress.Network], whose
// ErrDown does not speak against the peer.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// PeerSource finds peers: trackers, a DHT, a file.
type PeerSource interface {
	// Run finds peers for w until ctx ends, and says goodbye before it returns.
	Run(ctx context.Context, w Seeker) error
	// NeedPeers says that few peers are left and none is known that could be
	// dialled. It does not block.
	NeedPeers()
}

// Regainer is a [PeerSource] that is to know when a torrent that was complete lacks pieces
// again: who was told of a seed was told of no seeds (BEP 3).
type Regainer interface {
	// Incomplete says so. It does not block.
	Incomplete()
}

// Seeker is who wants peers: a [Torrent], or the search for its metadata.
type Seeker interface {
	// Found takes peers' addresses, and who told of them. It does not keep the slice.
	Found(by Introducer, peers []netip.AddrPort)
	// Totals are payload bytes received and sent since start, and about how
	// many lack. They come from counters: no wait.
	Totals() (received, sent, left int64)
	// Settled is closed once everything found on disk has been hashed: what
	// Totals says of the bytes that lack is true from then on.
	Settled() <-chan struct{}
}
