// Package pieces decides what becomes of each piece of a torrent: what is here, what has to be hashed before anyone may
// read it, what has to be fetched again, and who sent what was wrong.
//
// # The states of a piece
//
//	          first block                 right
//	missing ---------------> under way ----------------> held
//	   ^  ^                     |                          |
//	   |  |   wrong, or could   |                          |  could not be read, or
//	   |  +---- not be read ----+                          |  a file was changed
//	   |                                                   v
//	   +-------- wrong ------------- in doubt <------------+
//	   |                              |    ^  (also what was found on disk,
//	   +---- could not be read -------+    |   and what a duplicate has)
//	   |                                   |
//	   +--> unchecked (beside it) ---------+  after a pause
//
// A piece in doubt has bytes on disk that nobody vouches for. A checker hashes it (recheck.go): one that a read waits
// for first. Nobody is asked for it until the check says that it is wrong.
//
// An unchecked piece may be right on disk, which did not give it back. It is missing, and is fetched as any that is;
// but the disk may work again before anyone sends it, so it is tried with growing pauses (unchecked.go).
//
// A duplicate is a file on this machine that has the content of one of the torrent's files. Its pieces are in doubt,
// and a checker copies one before it hashes it (duplicates.go).
//
// A piece that failed its hash is suspicious until it is right: each of its blocks is to be proven by its leaf, if the
// torrent has leaves (BEP 52). Package smartban finds out who sent it.
//
// # What crosses on the way
//
// A worker commits a piece before the ledger hears of it, and who cannot read a piece withdraws it from the store before
// the ledger hears of that; each comes by its own channel. So a verdict says what was, and the store says what is: what
// Config.Committed reports decides at the end of each check and each hashing. A piece that comes from a peer while a
// checker has it stays, whatever the check says; one that is withdrawn before its verdict is known is checked again.
//
// # How it is used
//
// It is pure policy, as the picker is: a [Ledger] is told what happened, with the time, and returns [Action] values, to
// be carried out in their order before it is told anything else. [Ledger.NextDeadline] is its only deadline. The
// goroutine that owns the torrent owns its Ledger.
//
// It starts no goroutine, takes no lock, reads no clock, does no I/O and hashes nothing: that is for the hash workers
// and the checkers. It knows nothing of peers but who sent a block.
package pieces
