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
// second goroutine syncs the files of pieces that are verified and written, about
// every second, and only then writes the pieces down in the journal, so that what
// the journal says is true after any crash.
//
// Of v2 torrents single blocks verify as well: CommitBlock makes one readable,
// and the resume data remembers it, while its piece is not complete.
//
// # The states of a piece
//
// A piece has one state, which the store owns; package state has the names and which may follow which:
//
//	Missing ──▶ Partial ──▶ Verified ──▶ Written ──▶ Durable
//	   ▲          │  ▲ │        │           │          │  │
//	   ├──────────┘  │ ▼        ▼           ▼          ▼  ▼
//	   ├──────────── InDoubt ◀──┴───────────┴──────────┘ Evicted
//	   └──────────── dropped: the disk is stalled (Verified)
//
// Verified, Written and Durable can be read. Others are told of changes that they did not ask for by
// events ([Store.Events]), and keep no copy. CheckInvariants compares the states with the blocks, the
// files and the sums that belong to them.
//
// # On disk
//
// Below DataDir lie ordinary sparse files under the torrent's own names, as
// any other client would lay them out, so that either can take over from the
// other. A file with content appears with the first block that is written to
// it (a torrent that is only looked at leaves no thousands of names behind);
// empty files and symbolic links, which no block would ever create, are made
// when the store is opened. Padding is not stored and reads as zeros. Files
// are never truncated or preallocated. Before anything is written, Open decides
// under which names the files lie (names.go, locate.go, place*.go): files that
// are not the torrent's are left as they are, and its own get other names,
// which DataDir/.torrentfs/INFO-HASH.names records. All payload files are opened below
// DataDir ([os.Root]): no link leads out.
//
// DataDir/.torrentfs holds, by info-hash, the snapshot (.resume), the journal
// (.journal) and the lock (.lock), and a lock per top-level name, because two
// torrents of one name would write into each other's files. Of v2 torrents a
// catalogue of complete files by the roots of their trees lies there as well
// (.files): other torrents find them by it ([FindDuplicates], [Store.Fill]). Resume
// data of an earlier version vouches for nothing: all is hashed.
//
// # What survives
//
// After Close: all that is verified, without hashing. After a kill or a power
// cut: what is in the journal, without hashing for each file that was not
// being written to, and after hashing for the others. Blocks of a piece that was
// not verified yet are fetched again.
//
// What makes a file the same is its inode number, size, mtime, ctime and time of
// birth, to the nanosecond (fileStat). They are recorded when it has been synced,
// and the journal vouches for the pieces in that state of the file alone. In
// any other state all of it is hashed: after cp -a to another disk, or when
// somebody changed the date and nothing else. Device numbers are not recorded,
// since they change when a system starts anew.
//
// # Changes by others
//
// Each read from disk compares the file with the state that our own last write
// left. In another state the trust in all that it holds is withdrawn: pieces are
// hashed again, and a hash that was taken of blocks before they were written
// counts no more for those that lie on disk ([Store.Commit] is false). A change
// during a write of ours leaves a state that looks like ours; there the system is
// asked who wrote ([vfs.Witness]).
//
// A disk that refuses to write loses nothing: blocks wait in memory, readable
// if verified, and are tried again with growing pauses; Dirty tells the caller of
// Put to hold back, and Drop gives up what is too much.
//
// A sync that failed may have cost what it was to save, and the next one works
// without a further word. So nothing of the file is journaled until then; what
// of it was not durable is then written again, from memory or as the system
// reads it, and put in doubt ([Store.Events]): it is hashed, fetched again where
// it is lost, synced, and only then durable ([Store.Durable]). At a stop in
// between it is left in doubt for the next start.
//
// A disk that does not answer holds up nothing for long: a read is left behind
// after ten seconds, in a goroutine and a buffer of its own, and until that is answered the
// disk is asked to read nothing else. Writes and syncs are the two
// goroutines' own, and Close does not wait for them then.
//
// # What is in memory
//
// Blocks that wait for the disk, blocks that wait for their verification
// (bounded by Options.UnverifiedMemory), and the memory tier (bounded by
// Config.Memory): an LRU window of new blocks before ristretto. What is read
// from disk enters it only when it is read again before long; a scan is left
// to the page cache, where it is already. Blocks of a store that was closed
// stay in the tier until others take their place.
//
// # Who owns what
//
// The store owns every buffer given to Put, and nobody writes to it again:
// readers get slices of it without a copy. Buffers are left to the garbage
// collector and never pooled. Files that a store hands out ([Store.Section],
// [Store.Backing]) stay the store's; callers never close them.
//
// What this package never does: know peers, judge hashes, choose what to fetch,
// or take a file's size and date as proof of its content.
package cache
