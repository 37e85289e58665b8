// Package picker decides which block to request from which peer, now, so that a blocked read ends as soon as it physically can, a
// player does not stall on a slow peer, and the rest of the torrent still comes rarest-first at the link's rate.
//
// It is pure policy: one Picker for each torrent, fed with everything that happened (peers, HAVEs, blocks, blocked reads) and
// with the time at which it happened, gives back the requests to send. It starts no goroutine, takes no lock, reads no clock,
// does no I/O and logs nothing. The goroutine that owns the torrent owns its Picker.
//
//	id := p.Read(now, handle, off, n) // any inputs …
//	actions = p.Drain(actions[:0])    // … then what to do about them
//	timer.Reset(p.NextDeadline() - now)
//
// # Glossary
//
// A block is 16 KiB of a piece, the unit of requests. A piece is fresh (nothing of it requested or received), started (a
// partial), or held (verified). A peer's pipe is what we requested and it has not answered. To hedge is to request a block from a
// second or third peer; the first arrival cancels the others. A peer finishes a block at F, its estimated arrival were it
// requested now.
//
// # State
//
// A Picker is five types, each with a check of its own (invariants.go): pieces, what is held, started, fresh and wanted; peers, the
// connections and what they owe; readers, what reads wait for and what is reserved for them; plan, how the blocks of blocked reads
// are shared out; hedges, the budget of copies. The methods of Picker take the inputs and decide between them.
//
// # Peers (peer_model.go)
//
// A rate is measured over busy time: with each block, dt = now − max(last arrival, sent + RTT), and the rate is the decayed sum
// of bytes over that of dt. The RTT is the handshake's, then the least of blocks requested into an empty pipe. The j-th queued
// block comes j block times after the first; an overdue first block is extrapolated from its bytes, or if none come, expected to
// take as long again. A connection that idled starts slowly (RFC 5681): 10 segments in the first round trip, doubling; far peers'
// first blocks take two. A peer's queue is its bandwidth-delay product and 3 to 100 ms of slack: longer queues buy no throughput,
// and each millisecond delays every later urgent block. While the rate still grows, it is taken times 2.5, or 1.25 where a reader
// seeks and no read needs the peer. A peer that drains its queue in a burst and then pauses, as Transmission does, gets a queue
// that doubles with each burst until it sends for most of the time (bursts.go).
//
// # Urgent blocks (urgent.go, hedge.go)
//
// Those of blocked reads; where only pieces verify, all blocks of the pieces. T* is when the holders could complete all unissued
// ones, each a whole number of them. The next block goes to the peer that finishes it first, if by T*; else it stays unbound,
// since a faster peer will have room in time. Until all are bound, peers that finish by T* take nothing else, and the others keep
// short queues. A read that blocks cancels what is queued so far from the wire that a CANCEL works; how far that is, is learned
// for each peer. Hedges cost bytes, so each block received pays for a share of one; rescues from a stall may run a debt.
//
// # Read-ahead (readahead.go)
//
// A run of 128 KiB opens a window of four times the run, up to 15 s of reading. Blocks are taken in order; a peer takes one if it
// delivers it well before the reader comes to it, or no later than the whole swarm would. Late ones are hedged.
//
// # Background (background.go, rarest.go, partials.go)
//
// The peer's own piece, then partial pieces, then the rarest fresh one (or what Config.Order wants instead, order.go), never a piece that a reader waits for or is about to. A
// HAVE is one swap in an array grouped by availability; seeds are not counted. A piece that failed its hash is fetched from one
// peer (retry.go), so that the next failure names the culprit.
//
// # Silence and back pressure (suspect.go, refusal.go, credit.go)
//
// A CANCEL that was obeyed without a reject is resolved by the next answer to a later request. A silent peer's blocks are free
// again after two seconds and more; it is probed with one block, ever less often, as is one that rejects 16 in a row. A piece of
// which a peer rejected a block is not asked of that peer again before a pause, which grows from a quarter of a second to half a
// minute (refusal.go). SetCredit bounds what may be outstanding: background stops first, then read-ahead, urgent blocks last.
//
// # Costs
//
// Nothing is allocated for a block. Memory is some 14 bytes for each piece, its bits for each peer that is no seed, and five bits
// for each block of a started piece. Package sim judges the policy against what is physically possible.
package picker
