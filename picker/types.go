package picker

import (
	"math"
	"time"

	"torrentfs/metainfo"
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
)

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
	Block metainfo.Block
	Read  ReadID
	On    bool
}

// Config says how a Picker works.
type Config struct {
	LeafVerified bool  // blocks verify one by one (BEP 52 leaf hashes): LeafVerified serves reads, not only Verified
	Order        Order // of fresh pieces in the background
	ReadAhead    int64 // most bytes of read-ahead, for all readers together; 0: 128 MiB; negative: none
}

const defaultReadAhead = 128 << 20
