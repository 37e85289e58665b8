// Package fakepeer is a BitTorrent peer for tests; its misbehaviour is configured. It speaks to a
// program under test over any net.Conn: one from internal/simnet in virtual time, or a socket on
// loopback.
//
// A [Peer] with the zero behaviour is honest: it serves what it has, as fast as the connection,
// unchokes all that are interested, and downloads what it is told to. [Options] make it partial,
// slow or choking; [Behaviour]s spoil its answers block by block (late, corrupt, twice, of a wrong
// length, never, cut by a reset); raw bytes at the start of a connection (bad bitfields, floods,
// absurd lengths) do the rest. What the program sent is in its [Record], to be asserted on; a
// message that breaks the protocol ends the connection and is in Record.Errors.
//
// State: a Peer owns its connections and two goroutines for each; Close ends and
// waits for them. One mutex guards all of it, and is never held during input or
// output. It sleeps on timers and channels alone, so it runs in a
// testing/synctest bubble. It is no client: it picks blocks in their order,
// knows no trackers and keeps no files.
package fakepeer
