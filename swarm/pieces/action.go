package pieces

import (
	"torrentfs/metainfo"
	"torrentfs/swarm/pieces/smartban"
)

// Kind is what an [Action] asks for.
type Kind uint8

// The kinds of actions.
const (
	// Held: the picker takes the piece for held. It is, or it is in doubt.
	Held Kind = iota
	// Have: the piece is held now, and was not: peers are told.
	Have
	// DontHave: the piece was held, and is not: peers are told.
	DontHave
	// Failed: the piece failed its hash. The picker fetches it again, but for blocks that are verified by themselves.
	Failed
	// Lost: the piece is not here, and nobody is to blame. The picker fetches it as after Failed.
	Lost
	// Discard: the store drops what it has of the piece, but for blocks that are verified by themselves.
	Discard
	// Forget: hashing the piece ends, and what is known of its blocks' proofs is dropped.
	Forget
	// Judge: the piece is complete and its hash is known now: a hash worker is to judge it.
	Judge
	// Ban: Sender sent wrong blocks of the piece.
	Ban
	// Credit: Sender, a web seed, sent all of the piece, which is right.
	Credit
	// Contradiction: the v1 and the v2 hash of the piece are of different data. The torrent cannot be trusted.
	Contradiction
	// Warn: the log is to hear that the piece could not be checked, because of Err.
	Warn
	// DuplicateWrong: too much of Duplicate is not what it should be: nothing more is taken of it. Err is that of the
	// piece, if it had one.
	DuplicateWrong
	// DuplicateDone: what could be taken of Duplicate was: Bytes, with Wrong pieces that were not what they should be.
	DuplicateDone
)

var kinds = [...]string{
	"held", "have", "don't have", "failed", "lost", "discard", "forget", "judge", "ban", "credit", "contradiction", "warn",
	"duplicate wrong", "duplicate done",
}

func (k Kind) String() string { return kinds[k] }

// Action is one thing to do.
type Action struct {
	Kind      Kind
	Piece     metainfo.Piece
	Sender    smartban.Sender
	Err       error
	Duplicate *Duplicate
	Bytes     int64
	Wrong     int
}

// Verdict is what a hash worker or a checker found of a piece as a whole.
type Verdict struct {
	Piece         metainfo.Piece
	OK            bool  // its hash is right, and it is committed
	Contradiction bool  // its v1 and its v2 hash are of different data: the torrent is at fault
	Err           error // why it could not be hashed; nil if it was
	NotCopied     bool  // Err is why it could not be copied from its duplicate
}

// unreadable reports whether the disk is at fault: it may have bytes that it did not give.
func (v *Verdict) unreadable() bool { return !v.NotCopied && Unreadable(v.Err) }
