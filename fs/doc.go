// Package fs shows the files of a torrent as a read-only directory, through FUSE.
//
// It knows no peers, pieces or trackers: it asks a [Source] for names and sizes and a [File] for bytes, and it turns
// errors into errnos. A read blocks until its bytes are there; it never answers short before the end of the file and
// never shows a hole, whatever is still missing behind it.
//
// # What a mount looks like
//
// Files are 0444 (0555 if executable), directories 0555, all sizes and blocks are those of the finished torrent, and the
// times are the torrent's. Inode numbers are derived from [Source.ID] and the path, so they survive a remount. The tree
// never changes while it is mounted: the kernel may remember names, attributes, directories and pages for as long as it
// likes.
//
// # How bytes travel
//
//   - A complete file, where the kernel and the privilege allow it (Linux 6.9, CAP_SYS_ADMIN): the kernel reads the
//     backing file itself and no READ arrives here ([BackedFile]).
//   - Bytes in memory: the slices of the cache are written to the kernel without a copy ([MemoryFile]).
//   - Anything else: [File.ReadAt] into the reply's buffer.
//
// A file that completes while it is open is given a second kernel inode with the same inode number: open handles go on
// as they are, later opens pass through ([CompletionSource]).
//
// # The bounce
//
// The kernel reads ahead in requests of up to 128 KiB, whose pages stay locked until the whole request is answered: a
// reader of 4 KiB would wait for bytes that nobody asked for, and no signal would reach us. An asynchronous read-ahead
// may fail unseen, though: the kernel then asks again, for exactly the page that is needed, with a request that signals
// can interrupt. So a large request that misses bytes is failed with EAGAIN, once, and the [Prefetcher] hears of it when the
// kernel then asks for its first page: a page fault, around which the kernel would have read, asks for one in the
// middle. Each mount tries this on a file of its own before it relies on it. A reader that goes through a file in order
// needs the bytes of its read-ahead anyway and would only be slowed down by being served in single pages; it is bounced
// only with [BounceOn].
//
// # Who owns what
//
// A [Mounted] owns its go-fuse server, the goroutine that notifies the kernel, and every handle, and waits for all of them.
// The tree is immutable. State per inode (open handles by mode, the kernel's backing id) is guarded by that inode's
// own lock. A handle owns its [File] and closes it once, after its last read.
package fs
