package picker

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// BlockSize is the size of a block on the wire, in bytes (BEP 3: 2^14); only a piece's last block may be shorter.
const BlockSize = 16 << 10

// Never is the deadline of a picker that waits for input alone.
const Never = time.Duration(math.MaxInt64)

type (
	// PeerID names one peer connection. The caller chooses it and uses it once: who had a part in a failed piece is remembered by it.
	PeerID int32
	// ReaderID names one reader, as a rule an open file handle. The caller chooses it.
	ReaderID int32
	// ReadID names one blocked read. Read hands it out, starting at 1.
	ReadID int64
	// BlockID is piece*BlocksPerPiece + block.
	BlockID uint32
)

// BlockRange is Count blocks of one piece, from First on.
type BlockRange struct{ Piece, First, Count int }

// ByteRange is the bytes [Off, Off+Len) of the piece space.
type ByteRange struct{ Off, Len int64 }

// Geometry is the torrent's division into pieces and blocks.
type Geometry struct {
	PieceLength    int64                 // bytes of a full piece
	Size           int64                 // end of the piece space, bytes
	NumPieces      int                   //
	BlocksPerPiece int                   // of a full piece: ⌈PieceLength/BlockSize⌉
	PieceSize      func(piece int) int64 // bytes of a piece; nil: all full but the last
	LeafVerified   bool                  // blocks verify one by one (BEP 52 leaf hashes): LeafVerified serves reads, not only Verified
	Virtual        []BlockRange          // sorted; blocks known to be zeros (pads): never requested, count as received
}

// ErrGeometry says that a geometry contradicts itself or does not fit block numbers.
var ErrGeometry = errors.New("invalid geometry")

// Validate reports whether g can be scheduled; New panics where it cannot. Errors wrap ErrGeometry.
func (g Geometry) Validate() error {
	switch {
	case g.PieceLength <= 0 || g.NumPieces < 0 || g.Size < 0:
		return fmt.Errorf("check geometry: sizes out of range: %w", ErrGeometry)
	case int64(g.BlocksPerPiece) != (g.PieceLength+BlockSize-1)/BlockSize:
		return fmt.Errorf("check geometry: %d blocks in a piece of %d bytes: %w", g.BlocksPerPiece, g.PieceLength, ErrGeometry)
	case int64(g.NumPieces) != (g.Size+g.PieceLength-1)/g.PieceLength:
		return fmt.Errorf("check geometry: %d pieces in %d bytes: %w", g.NumPieces, g.Size, ErrGeometry)
	case int64(g.NumPieces)*int64(g.BlocksPerPiece) > math.MaxUint32 || g.NumPieces > math.MaxInt32-1:
		return fmt.Errorf("check geometry: more than 2^32 blocks: %w", ErrGeometry)
	}
	last := -1
	for _, v := range g.Virtual {
		if v.Piece < last || v.Piece >= g.NumPieces || v.First < 0 || v.Count < 0 || v.First+v.Count > g.BlocksPerPiece {
			return fmt.Errorf("check geometry: virtual blocks %v: %w", v, ErrGeometry)
		}
		last = v.Piece
	}
	return nil
}

// Block returns the number of a piece's block.
func (g *Geometry) Block(piece, block int) BlockID {
	return BlockID(uint32(piece)*uint32(g.BlocksPerPiece) + uint32(block))
}

// Split is the inverse of Block.
func (g *Geometry) Split(b BlockID) (piece, block int) {
	return int(uint32(b) / uint32(g.BlocksPerPiece)), int(uint32(b) % uint32(g.BlocksPerPiece))
}

func (g *Geometry) pieceSize(piece int) int64 {
	if g.PieceSize != nil {
		return g.PieceSize(piece)
	}
	return min(g.PieceLength, g.Size-int64(piece)*g.PieceLength)
}

func (g *Geometry) numBlocks(piece int) int {
	return min(int((g.pieceSize(piece)+BlockSize-1)/BlockSize), g.BlocksPerPiece)
}

// PeerInfo is what the handshakes told about a peer.
type PeerInfo struct {
	RTT  time.Duration // of the TCP handshake; 0: unknown
	Reqq int           // most requests it queues (BEP 10 reqq); 0: unknown, 250 is taken
	Fast bool          // BEP 6: requests are answered by a piece or a reject, a choke drops none
	Seed bool          // known to have everything
}

// Credit is back pressure: for each class, the most bytes that may be outstanding (requested and not answered) after another
// request of that class is issued. The engine takes it from what it may still buffer: limit − unverified − unwritten. Background
// should get the least, urgent the most; anything at or below 0 stops a class. Until the first SetCredit there is no limit.
type Credit struct{ Urgent, ReadAhead, Background int64 }

// Verdict says what a received block is good for.
type Verdict uint8

const (
	// NewBlock is data that was missing: store it and verify it.
	NewBlock Verdict = iota
	// Duplicate of a block that is held: drop it. The peer did nothing wrong.
	Duplicate
	// Unrequested from this peer, at least lately: drop it; the peer may be at fault.
	Unrequested
)

func (v Verdict) String() string {
	return [...]string{"new", "duplicate", "unrequested"}[min(v, Unrequested)]
}

// ActionKind says what an Action asks the engine to do.
type ActionKind uint8

const (
	// Request Block from Peer. On is set where a reader needs it, now or soon: its leaf hash is worth asking for.
	Request ActionKind = iota
	// Cancel the request of Block at Peer. With the Fast extension the peer answers with a piece or a reject.
	Cancel
	// Interested tells Peer that we are (On) or are not interested; only on changes, a new peer counts as not.
	Interested
	// ReadDone: all bytes of Read are verified.
	ReadDone
)

func (k ActionKind) String() string {
	return [...]string{"request", "cancel", "interested", "read-done"}[min(k, ReadDone)]
}

// Action is one thing for the engine to do. Only the fields that its kind names are set.
type Action struct {
	Kind  ActionKind
	Peer  PeerID
	Block BlockID
	Read  ReadID
	On    bool
}

// Config tunes a Picker; zero fields take the defaults of the comments.
type Config struct {
	SlackReader  time.Duration // 20 ms: queue beyond the bandwidth-delay product while a reader was seen lately
	SlackSeek    time.Duration // 3 ms: the same while no reader reads in order; its next read waits behind the queue
	SlackUrgent  time.Duration // 20 ms: the same for urgent blocks, and for all while a read of a reader in order is blocked
	SlackBulk    time.Duration // 100 ms: the same with no reader
	ReaderLinger time.Duration // 30 s: how long a reader counts as seen lately

	HedgeBusy  float64 // 0.05: hedged share of the bytes received while a background download runs
	HedgeIdle  float64 // 0.10: the same while none does
	HedgeBurst int     // 64 blocks: most hedges saved up
	HedgeDebt  int     // 128 blocks: debt that rescues from a stall may run up

	ReadAheadTime time.Duration // 15 s of reading
	ReadAheadMax  int64         // 128 MiB for all readers together; negative: no read-ahead
}

func (c *Config) setDefaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.SlackReader, 20*time.Millisecond)
	def(&c.SlackSeek, 3*time.Millisecond)
	def(&c.SlackUrgent, 20*time.Millisecond)
	def(&c.SlackBulk, 100*time.Millisecond)
	def(&c.ReaderLinger, 30*time.Second)
	def(&c.ReadAheadTime, 15*time.Second)
	if c.HedgeBusy == 0 {
		c.HedgeBusy = 0.05
	}
	if c.HedgeIdle == 0 {
		c.HedgeIdle = 0.10
	}
	if c.HedgeBurst == 0 {
		c.HedgeBurst = 64
	}
	if c.HedgeDebt == 0 {
		c.HedgeDebt = 128
	}
	if c.ReadAheadMax == 0 {
		c.ReadAheadMax = 128 << 20
	}
}
