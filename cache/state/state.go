package state

import "torrentfs/metainfo"

// Piece is the state of a piece.
type Piece uint8

// The states. The order matters: those that can be read follow each other.
const (
	Missing  Piece = iota // nothing of it is here
	Partial               // some blocks came; single ones may be verified (BEP 52)
	InDoubt               // there are bytes on disk that nobody vouches for: they are to be hashed
	Verified              // its hash was right; some of it waits in memory for the disk
	Written               // and all of it was given to the file system
	Durable               // and was synced, and is in the journal
	Evicted               // it was on disk, and its place there was given back: for a quota
)

var names = [...]string{"missing", "partial", "in doubt", "verified", "written", "durable", "evicted"}

func (p Piece) String() string { return names[p] }

// Readable reports whether the bytes of such a piece may be read.
func (p Piece) Readable() bool { return p-Verified <= Durable-Verified }

// OnDisk reports whether all of such a piece is verified and lies in the files.
func (p Piece) OnDisk() bool { return p-Written <= Durable-Written }

// next has a bit for each state that may follow a state.
var next = [...]uint8{
	Missing:  1<<Partial | 1<<InDoubt | 1<<Verified | 1<<Written, // the latter of what was copied into place, and of padding
	Partial:  1<<Missing | 1<<InDoubt | 1<<Verified | 1<<Written,
	InDoubt:  1<<Missing | 1<<Partial | 1<<Verified | 1<<Written,
	Verified: 1<<Missing | 1<<InDoubt | 1<<Written,
	Written:  1<<InDoubt | 1<<Durable | 1<<Evicted,
	Durable:  1<<InDoubt | 1<<Evicted,
	Evicted:  1<<Missing | 1<<Partial | 1<<InDoubt | 1<<Verified,
}

// Becomes reports whether a piece of this state may get the other one in one step.
func (p Piece) Becomes(to Piece) bool { return next[p]&(1<<to) != 0 }

// Event is a change of a piece that nobody asked for.
type Event struct {
	Piece metainfo.Piece
	To    Piece // InDoubt: it is to be hashed, and then committed or discarded
	// Err is why the disk did not give the piece when it was read; nil if that is not why.
	Err error
}
