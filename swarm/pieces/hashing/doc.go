// Package hashing hashes the pieces of torrents: as their blocks come, and on disk.
//
// A [Pool] is the hash workers of all torrents of a session. A [Hasher] is one torrent's part: its loop hands over each
// block that came, and hears of blocks and pieces by [Result] values. All blocks of a piece go to the same worker, which
// hashes them as they come, in whatever order: by SHA-1 what is contiguous (v1), and each block by itself (v2), so that
// the last block of a piece costs a block's hashing, not a piece's. A v2 block whose leaf is proven (BEP 52) is judged by
// itself. What is right is committed to the [Store] by the worker, before the loop hears of it: readers see it at once.
//
// The checkers of a Hasher are goroutines that hash pieces on disk which nobody vouches for, after they copied them, if
// they are to come from a duplicate. They take a piece from [Hasher.Checks], and the next one when the verdict on it was
// taken from [Hasher.Checked].
//
// # Who owns what
//
// The loop owns the Hasher, but for its channels and [Hasher.Backlog]. A piece's state belongs to its worker from its
// first block to its verdict. A Hasher ends when the done channel that it was made with is closed; [Hasher.Wait] waits
// for its checkers and for its jobs. [Pool.Close] waits for the workers. A block's buffer is shared with the store, and
// is only read. Queues are not bounded here: the picker's credit bounds what is requested.
//
// It decides nothing: package pieces does. It never shows a byte to anyone whose hash was not right.
package hashing
