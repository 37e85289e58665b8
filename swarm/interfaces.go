package swarm

import (
	"context"
	"net/netip"
	"os"

	"torrentfs/cache/state"
	"torrentfs/metainfo"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/peers"
)

// Store keeps one torrent's payload. Package cache has the real one. Its methods may be called from
// any goroutine; offsets are in the piece space.
type Store interface {
	BlockStore
	Content
	PieceStates
}

// BlockStore takes blocks in, and the verdicts on them.
type BlockStore interface {
	// Put takes an unverified block and the ownership of data. It never blocks on the disk.
	Put(b metainfo.Block, data []byte)
	// Unverified returns a block as it was put; scratch may be used to hold it.
	Unverified(b metainfo.Block, scratch []byte) ([]byte, error)
	// Commit publishes a piece whose hash was right. It is false if what was hashed may not be
	// what is there now: a file was changed since. Then all of the piece is to be read
	// (Unverified) and hashed anew.
	Commit(p metainfo.Piece) bool
	// Discard drops a piece whose hash was wrong, but for blocks that are committed by themselves.
	Discard(p metainfo.Piece)
	// CommitBlock publishes one block, whose own hash was right, before its piece is complete. A
	// block that was never put is ignored. It is false as Commit is.
	CommitBlock(b metainfo.Block) bool
	// DiscardBlock drops one block, whose own hash was wrong.
	DiscardBlock(b metainfo.Block)
	// Dirty is how many bytes were put and are not yet on disk.
	Dirty() int64
	// Stalled reports whether the disk takes nothing now: it refuses, or has been at one write for
	// seconds.
	Stalled() bool
	// Drop gives up committed pieces that a stalled disk does not take, until no more than most
	// bytes are dirty, and returns them.
	Drop(most int64) (lost []metainfo.Piece)
}

// Content is the bytes that are committed.
type Content interface {
	// Read reads committed bytes within the piece space. n of them are here, and missing is the rest
	// of p if its first byte is not committed; it has length 0 if all of p is here. An error is the
	// disk's, at a byte that is committed and could not be read in two attempts.
	Read(p []byte, off int64) (n int, missing metainfo.ByteRange, err error)
	// ReadAt is Read for those who do not wait: a missing byte is an error, too.
	ReadAt(p []byte, off int64) (int, error)
	// Section is where committed bytes lie on disk, if they are there and in one file.
	Section(off int64, n int) (f *os.File, at int64, ok bool)
}

// PieceStates is what is known of pieces and blocks. The store is their owner.
type PieceStates interface {
	// Held is the set of pieces that need no hashing, at the time of opening.
	Held() []uint64
	// InDoubt is the set of pieces that have bytes on disk which nobody vouches for.
	InDoubt() []uint64
	// Has reports whether a piece is committed; it takes no lock.
	Has(p metainfo.Piece) bool
	// HasBlock reports whether a block is committed, by itself or with its piece.
	HasBlock(b metainfo.Block) bool
	// Blocks yields the pieces that are not committed and have blocks that are, as bits of the
	// blocks: block i is bit i%64 of word i/64.
	Blocks(yield func(p metainfo.Piece, blocks []uint64) bool)
	// Invalidate withdraws the trust in a committed piece that could not be read, and in others
	// that the reason concerns. Events returns those that are to be hashed.
	Invalidate(p metainfo.Piece, reason error)
	// Changed has a token when Events may have something to return, or Dirty has shrunk.
	Changed() <-chan struct{}
	// Events returns the changes since the last call, of pieces that were committed: those in doubt
	// are to be hashed, and then committed or discarded.
	Events() []state.Event
}

// What a session needs to know of how connections are made: see package conn.
type (
	// Encryption is the policy on Message Stream Encryption.
	Encryption = conn.Encryption
	// Dialer opens outgoing connections. Package egress has one, whose ErrDown does not speak against the peer.
	Dialer = conn.Dialer
	// Transport is a way to peers beside TCP.
	Transport = conn.Transport
)

// The policies: see [conn.EncryptionPrefer].
const (
	EncryptionPrefer  = conn.EncryptionPrefer
	EncryptionRequire = conn.EncryptionRequire
	EncryptionDisable = conn.EncryptionDisable
)

// Introducer is who told of an address. Introducers that are equal are one.
type Introducer = peers.Introducer

// The ways in which addresses become known. ByUser is for addresses that the user, or
// the link that the user chose, names.
const (
	ByUser    = peers.ByUser
	ByTracker = peers.ByTracker
	ByDHT     = peers.ByDHT
	ByLSD     = peers.ByLSD
	ByPeer    = peers.ByPeer
)

// PeerSource finds peers: trackers, a DHT, a file.
type PeerSource interface {
	// Run finds peers for w until ctx ends, and says goodbye before it returns.
	Run(ctx context.Context, w PeerSink) error
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

// PeerSink is where peers are wanted: what a [PeerSource] brings its finds to.
type PeerSink interface {
	// Found takes peers' addresses, and who told of them. It does not keep the slice.
	Found(by Introducer, peers []netip.AddrPort)
	// SeenAt takes our own address as a tracker sees it (BEP 24); by is the tracker's host.
	SeenAt(by string, self netip.Addr)
	// Totals are payload bytes received and sent since start, and about how
	// many lack. They come from counters: no wait.
	Totals() (received, sent, left int64)
	// Settled is closed once everything found on disk has been hashed: what
	// Totals says of the bytes that lack is true from then on.
	Settled() <-chan struct{}
}
