// Package peers is the pool of peers of one info-hash, from the first second of a magnet link on: whose addresses are
// known, who is dialled next, who is let in, what peers are told of each other (PEX, BEP 11) and who brings whom together
// (holepunching, BEP 55).
//
// A [Pool] has one [Tenant] at a time: first, if the metadata is not known, the search for it (BEP 9), then the torrent. A
// change of tenant keeps the addresses, the connections, the votes on our own address and the bans.
//
// It is pure policy, as the picker is: a Pool is told what happens, with the time, and queues actions (dial, close, send,
// ask the sources of peers), which [Pool.Drain] hands out. [Pool.NextDeadline] is its only deadline. The goroutine of the
// tenant owns it. A Pool owns the facts of which addresses are known and how attempts at them went, which connections
// there are, and what each one was told about others. It starts no goroutine, takes no lock of its own, reads no clock,
// does no I/O, and knows nothing of pieces.
//
// What all pools of a process share is in [Limits]: connections, dials under way, and how many dials may fail, of each
// host, network and introducer (see dialPolicy). [Arrivals] and [Handshaking] bound the connections that come to us before
// it is known which pool they belong to. These three may be used by any goroutine; their mutexes are leaves.
package peers
