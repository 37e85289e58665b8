// Package hashes is the hash trees of a v2 or hybrid torrent (BEP 52): what is known of them, which peer is asked for
// which hashes, and the answers to peers that ask us.
//
// [Trees] holds, for each file, its root and the hashes of its pieces, as far as the torrent has them or peers have
// proven them. The torrent's loop, the hash workers and the checkers share it: a mutex guards what is learned. A [Proof]
// is a peer's answer; a hash worker checks it against the trees, and the blocks of a piece against its leaves.
//
// An [Asker] belongs to the loop. It is told what happens, with the time, and returns what to do, as the picker does:
// [Asker.NextDeadline] is its only deadline, and [Asker.Review] is part of the loop's housekeeping. What others own, who
// has which piece or what a read waits for, it looks up by [Facts]. Each request to a peer is in one state; the table of
// transitions (ask.go) is all that changes it.
//
// [Trees.Admit] decides which requests of peers are answered. An [Answerer] answers them, in a goroutine of its own,
// because it may have to read and hash whole pieces.
//
// The package starts no goroutine, reads no clock, touches bytes by its [Store] alone, knows nothing of connections and
// messages, and believes no hash that does not lead to a root of the torrent.
package hashes
