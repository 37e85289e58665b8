package conn

import (
	"fmt"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// Kind is what an [Event] tells.
type Kind uint8

// The kinds.
const (
	Message   Kind = iota // a message of BEP 3, 6 or 52: ID and its fields
	Progress              // Length bytes are here of the block that comes at Begin of Piece
	Hello                 // the extension handshake, which may come again with changes (BEP 10): Ext.Hello
	Metadata              // about the info dictionary (BEP 9): Ext.Metadata
	PEX                   // other peers, at least one (BEP 11): Ext.Added
	Holepunch             // BEP 55: Ext.Holepunch
	DontHave              // the peer lost Piece (BEP 54)
	DHTPort               // the UDP port of the peer's DHT node, not 0 (BEP 5): Begin
	Parked                // the connection was parked; nothing follows before the next Run
	Gone                  // the connection has ended, for the reason Err; nothing follows
)

var kindNames = [...]string{
	"message", "progress", "extension handshake", "metadata", "PEX", "holepunch", "don't have", "DHT port", "parked", "gone",
}

// String names the kind.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Event is what a connection tells its owner. Its memory belongs to the receiver.
type Event struct {
	Peer   int // Config.Peer
	Kind   Kind
	ID     wire.ID        // of a Message
	Piece  metainfo.Piece // not checked in requests, rejects and hints
	Begin  int            // offset in the piece, bytes; likewise
	Length int            // bytes; likewise
	Data   []byte         // payload of a block, of the length that the geometry says
	Bits   bitset.Set     // of a bitfield, as many as there are pieces
	Hash   wire.HashRange // of hash requests, hashes and hash rejects (BEP 52)
	Hashes []metainfo.SHA256
	Ext    *Extension
	Err    error
}

// Extension is what an extension message said. One field is set.
type Extension struct {
	Hello     *wire.ExtHandshake
	Metadata  *wire.Metadata
	Added     []wire.PEXPeer
	Holepunch *wire.Holepunch
}

// Our numbers for extension messages (BEP 10), by which the reader knows them.
const (
	ExtMetadata  = 1 // ut_metadata (BEP 9)
	ExtPEX       = 2 // ut_pex (BEP 11)
	ExtHolepunch = 3 // ut_holepunch (BEP 55)
	ExtDontHave  = 7 // lt_donthave (BEP 54)
)
