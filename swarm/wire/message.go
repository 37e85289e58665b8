package wire

import (
	"errors"
	"fmt"
)

// ID is the type of a peer message.
type ID uint8

// Message types. [KeepAlive] has no id on the wire (its length is 0); the value
// here is one that the wire never uses.
const (
	Choke         ID = 0
	Unchoke       ID = 1
	Interested    ID = 2
	NotInterested ID = 3
	Have          ID = 4
	Bitfield      ID = 5
	Request       ID = 6
	Piece         ID = 7
	Cancel        ID = 8
	Port          ID = 9 // BEP 5
	Suggest       ID = 13
	HaveAll       ID = 14
	HaveNone      ID = 15
	Reject        ID = 16
	AllowedFast   ID = 17 // 13 to 17: BEP 6
	Extended      ID = 20 // BEP 10
	HashRequest   ID = 21
	Hashes        ID = 22
	HashReject    ID = 23 // 21 to 23: BEP 52
	KeepAlive     ID = 255
)

var idNames = map[ID]string{
	Choke: "choke", Unchoke: "unchoke", Interested: "interested", NotInterested: "not interested",
	Have: "have", Bitfield: "bitfield", Request: "request", Piece: "piece", Cancel: "cancel",
	Port: "port", Suggest: "suggest piece", HaveAll: "have all", HaveNone: "have none",
	Reject: "reject request", AllowedFast: "allowed fast", Extended: "extended",
	HashRequest: "hash request", Hashes: "hashes", HashReject: "hash reject", KeepAlive: "keep-alive",
}

// String returns the message's name as the BEPs spell it.
func (id ID) String() string {
	if s, ok := idNames[id]; ok {
		return s
	}
	return fmt.Sprintf("message %d", uint8(id))
}

// Sizes and limits. Lengths are in bytes.
const (
	// MaxBlock is the longest payload of a [Piece] message that is accepted,
	// and the longest that may be asked for (BEP 3).
	MaxBlock = 16 << 10
	// MaxPieces bounds a bitfield while the number of pieces is not known.
	MaxPieces = 1 << 21
	// MaxExtended is the limit of an [Extended] message's body. The
	// largest in use is ut_metadata's data: 16 KiB and a small dictionary.
	MaxExtended = 64 << 10
	// MaxHashLength is the largest number of base-layer hashes that one
	// [Hashes] message is accepted with (BEP 52: "SHOULD NOT be greater than 512").
	MaxHashLength = 512

	// maxProofLayers bounds the uncle hashes of one Hashes message: a tree has
	// fewer than 64 layers.
	maxProofLayers = 64
	hashHeaderLen  = 32 + 4*4
	maxEmptyReads  = 100
)

// ErrProtocol is wrapped by every error of a peer that broke the protocol, as opposed to a
// connection that failed.
var ErrProtocol = errors.New("protocol violation")

// protocolErrorf returns an error "read NAME: protocol violation: DETAIL".
func protocolErrorf(id ID, format string, args ...any) error {
	return fmt.Errorf("read %s: %w: %s", id, ErrProtocol, fmt.Sprintf(format, args...))
}

// Message is one decoded message. Which fields have a meaning depends on ID;
// the others are zero.
type Message struct {
	ID    ID
	ExtID uint8  // Extended: 0 is the extension handshake, others are ids of our own choice
	Port  uint16 // Port: UDP port of the peer's DHT node

	Piece  uint32 // Have, Request, Piece, Cancel, Suggest, Reject, AllowedFast
	Begin  uint32 // Request, Piece, Cancel, Reject: offset in the piece, bytes
	Length uint32 // Request, Cancel, Reject: as the peer wrote it; Piece: payload bytes, 1 to MaxBlock

	Hash HashRange // HashRequest, Hashes, HashReject

	// Payload is a Bitfield's bits, an Extended message's body, or the hashes
	// of a Hashes message (a multiple of 32 bytes). It belongs to the Reader and
	// is valid until its next call of Next.
	Payload []byte
}

// Limits is what a [Reader] holds the other side to.
type Limits struct {
	// Pieces is the torrent's number of pieces; 0 while it is not known
	// (a magnet link), when a bitfield of up to MaxPieces bits is accepted.
	Pieces int
	// PieceLength is the length of a full piece in bytes; 0 if not known.
	PieceLength int64
	// Features are those that both sides announced. Messages of BEP 6 need
	// FeatureFast ("the peer MUST close the connection"), those of BEP 52
	// FeatureV2, which the engine also sets on a connection that was opened
	// under a v2 info-hash. Extended and Port messages need no feature: peers
	// send them without the bit.
	Features Features
}

// check judges a message's type and the number of bytes behind the id, before
// any of them is read.
func (l *Limits) check(id ID, n uint32) error {
	lo, hi := uint32(0), uint32(0)
	need := Features(0)
	switch id {
	case Choke, Unchoke, Interested, NotInterested:
	case HaveAll, HaveNone:
		need = FeatureFast
	case Have:
		lo, hi = 4, 4
	case Suggest, AllowedFast:
		lo, hi, need = 4, 4, FeatureFast
	case Bitfield:
		lo, hi = l.bitfieldLen()
	case Request, Cancel:
		lo, hi = 12, 12
	case Reject:
		lo, hi, need = 12, 12, FeatureFast
	case Piece:
		lo, hi = 8+1, 8+MaxBlock
	case Port:
		lo, hi = 2, 2
	case Extended:
		lo, hi = 1, 1+MaxExtended
	case HashRequest, HashReject:
		lo, hi, need = hashHeaderLen, hashHeaderLen, FeatureV2
	case Hashes:
		lo, hi, need = hashHeaderLen, hashHeaderLen+32*(MaxHashLength+maxProofLayers), FeatureV2
	default:
		return protocolErrorf(id, "unknown type")
	}
	if !l.Features.Has(need) {
		return protocolErrorf(id, "not negotiated")
	}
	if n < lo || n > hi {
		return protocolErrorf(id, "length %d, want %d to %d", n, lo, hi)
	}
	return nil
}

func (l *Limits) bitfieldLen() (lo, hi uint32) {
	if l.Pieces <= 0 {
		return 0, MaxPieces / 8
	}
	n := uint32((l.Pieces + 7) / 8)
	return n, n
}
