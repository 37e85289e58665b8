// Package metadata gets the info dictionary of a magnet link from peers (BEP 9).
//
// A [Search] is told what peers say, and returns whom to ask for which blocks and whom to drop. Peers claim a size; for
// each size that is claimed there is a draft, which several peers fill together. It becomes metadata only by its hash. If
// the hash of a mixture is wrong, each draft comes from one peer from then on, so that a liar is known by what it gave.
//
// It is pure policy, as the picker is: it takes the time as an argument and queues actions, which [Search.Drain] hands
// out. [Search.NextDeadline] is its only deadline. The goroutine that looks for the metadata owns it. A Search owns the
// drafts and who was asked for what. Memory is taken as blocks come, within a bound, and never by a number that a peer
// claims. It starts no goroutine, takes no lock, reads no clock, does no I/O, and does nothing with addresses but to name
// those that gave: which peers there are is the pool's concern (package peers), of which the search is the first tenant.
package metadata
