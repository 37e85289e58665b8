// Package cache keeps the content of torrents: blocks as they come from the
// swarm, verified pieces in memory and on disk, and the record of what was
// verified that lets the next start skip the hashing.
//
// A [Cache] is the memory tier and the descriptors of one process. A [Store]
// is one torrent. A block takes this way:
//
//	Put ─ waiting for the disk ─ written ─┬─ Commit: readable, memory tier
//	                                      └─ Discard: forgotten
//
// Put never waits for the disk: one goroutine per store writes behind it,
// adjacent blocks in one call. Commit may come before or after the write. A
// piece that is committed and written is sealed; a second goroutine syncs the
// files of sealed pieces about every second and only then writes the pieces
// down in the journal, so that what the journal says is true after any crash.
//
// # On disk
//
// Below DataDir lie ordinary sparse files under the torrent's own names, as
// any other client would lay them out, so that either can take over from the
// other. A file with content appears with the first block that is written to
// it (a torrent that is only looked at leaves no thousands of names behind);
// empty files and symbolic links, which no block would ever create, are made
// when the store is opened. Padding is not stored and reads as zeros. Files
// are never truncated or preallocated. All payload files are opened below
// DataDir ([os.Root]): no link leads out.
//
// DataDir/.torrentfs holds, by info-hash, the snapshot (.resume), the journal
// (.journal) and the lock (.lock), and a lock per top-level name, because two
// torrents of one name would write into each other's files.
//
// # Who owns what
//
// The store owns every buffer given to Put, and nobody writes to it again:
// readers get slices of it without a copy. Buffers are left to the garbage
// collector and never pooled. Files that a store hands out ([Store.Section],
// [Store.Backing]) stay the store's; callers never close them.
//
// What this package never does: know peers, hash, choose what to fetch, or
// take a file's size or date alone as proof of its content.
package cache
