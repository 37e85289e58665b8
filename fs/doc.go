// Package fs shows the files of a torrent as a read-only directory, through FUSE.
//
// It knows no peers, pieces or trackers: it asks a [Source] for names and sizes and a [File] for
// bytes, and it turns errors into errnos. A read blocks until its bytes are there; it never answers
// short before the end of the file, and it never shows a hole.
//
// # What a mount looks like
//
// Files are 0644 (0755 if executable), directories 0755, although the mount refuses all writes:
// copies take the modes over, and their owner must be able to change and delete them. All sizes and
// blocks are those of the finished torrent, and the times are the torrent's. Inode numbers are
// derived from [Source.ID] and the path, so they survive a remount. The tree never changes while it
// is mounted: the kernel may remember names, attributes, directories and pages for as long as it
// likes.
//
// # How bytes travel
//
//   - A complete file, if the kernel and the privilege allow it (Linux 6.9, CAP_SYS_ADMIN): the
//     kernel reads the backing file itself and no READ arrives here ([BackedFile]).
//   - Bytes in memory: the slices of the cache are written to the kernel without a copy
//     ([MemoryFile]).
//   - Anything else: [File.ReadAt] into the reply's buffer.
//
// A file that completes while it is open is given a second kernel inode with the same inode number:
// open handles go on as they are, later opens pass through ([CompletionSource]).
//
// # The bounce
//
// The kernel reads ahead in requests of up to 128 KiB, whose pages stay locked until the whole
// request is answered: a reader of 4 KiB would wait for bytes that it did not ask for, and no
// signal would reach us. An asynchronous read-ahead may fail unseen, though: the kernel then asks
// again, for exactly the page that is needed, with a request that signals can interrupt. So a large
// request that misses bytes is failed with EAGAIN, once. The [Prefetcher] is told when the kernel
// then asks for the first page; a page fault, around which the kernel would have read, asks for one
// in the middle. Each mount tries this on a file of its own before it relies on it. A sequential
// reader needs the bytes of its read-ahead anyway, and single pages would slow it down; it is
// bounced only with [BounceOn]. If single blocks can be verified, all of the bounced range is
// fetched at once when its first page is asked for: else each of its blocks would cost a round
// trip.
//
// # Who waits, and for how long
//
// A read waits for its bytes as long as its File lets it. It ends with EINTR for a signal that
// kills its program, and for one that asks it to end (SIGINT, SIGTERM, SIGHUP, SIGQUIT), handled or
// not: the handler runs only once the read has ended. Other handled signals do not end it, because
// runtimes and timers send them all the time. It ends with EIO when the mount ends, when the File
// fails, or when its policy says that the bytes will not come ([ErrUnavailable]). The kernel
// reports signals only for requests of one page; for read-ahead it sends only a FLUSH, which ends
// that of the handle. So the pending signals of waiting readers are read from /proc. A page fault
// that ends this way is a SIGBUS. Programs that would read a whole library to index it are kept
// from incomplete files ([Options.DenyReaders]).
//
// When the head of a film is read, its end is prefetched ([Prefetcher]): players and probes go
// there next, and each such step costs a wait. In a swarm of five peers at 20 Mbit/s and 50 ms,
// ffprobe on a cold mp4 of 54 MB with its index at the end took 0.5 s.
//
// # What the kernel is told, and why
//
//   - Requests that block count as background ones: at the default limit of 12, thirty readers of
//     missing data hang a reader of a complete file on the same mount. The limit is 65535; a
//     blocked reader costs about 6 KB here, and no thread.
//   - Nothing ever changes: names, attributes and directories may be kept for an hour, and OPENDIR
//     is told to be skipped, which lets the kernel keep directories too.
//   - Sizes and blocks are those of the finished file and SEEK_HOLE finds none: cp and tar write
//     zeros for what they take for holes.
//   - Security labels and ACLs are answered with ENOTSUP: ls -l then asks once instead of three
//     times per file, which for 20,000 files was 7 s.
//   - A short answer before the end of a file is its end, to an application; so a read is answered
//     in full or fails.
//   - NOTIFY_STORE could fill the kernel's cache at 3 GB/s, and blocks while a READ of the same
//     page is in flight: it can deadlock, and is not used.
//   - The sysctls fs.fuse.*_request_timeout, if set, abort connections whose reads wait: there is a
//     warning.
//   - FUSE's cached reads of an ordinary mount reach a third to four fifths of a native file's, by
//     the kernel's smaller folios; passthrough has none of that.
//
// # What it is held to
//
//  1. A complete file as root is as fast as the native one, and no READ arrives: TestPassthroughServesNoReads,
//     TestFiguresNative, TestFiguresPassthrough (CPU time, for busy machines).
//  2. Without the privilege, 1.5 GB/s from our memory: TestFiguresNative, the rows memory and ReadAt.
//  3. 4 KiB of a hot piece: p50 of 25 µs at most, 20,000 reads per second by one job: TestFiguresHotReads.
//  4. No download of what nobody reads: TestNobodyAsksForMoreThanIsRead, TestReadWaitsForItsPageOnly.
//  5. A thousand blocked readers disturb nobody: TestBlockedReadersStarveNobody, TestFiguresBlockedReaders.
//  6. Signals free a reader, SIGTERM a mount with blocked readers, and nothing is left behind: TestSignalsFreeReader,
//     TestHandledRequestsToEndFreeReader, TestHandledSignalsDoNotEndRead, TestUnmountWithBlockedReaders, TestUnmountLeavesNothing, TestDetachedByOthers, TestStaleMountIsHealed,
//     TestFiguresEnds.
//  7. A file may complete while it is open: TestCompletionWhileOpen; with TORRENTFS_BENCH=1 during 100,000 opens and more.
//  8. Large directories and torrents: TestLargeDirectory, TestManyFilesAreSmall (a million files), TestFiguresMetadata.
//
// The figures are printed by TORRENTFS_BENCH=1 go test -run Figures -v ./fs. What programs make of
// a mount is tested by integration, TestProgramsOnLocalFile.
//
// # Who owns what
//
// A [Mounted] owns its go-fuse server, the goroutines that notify the kernel and watch the mount
// table, and every handle, and waits for all of them. The tree is immutable. State per inode (open
// handles by mode, the kernel's backing id) is guarded by that inode's own lock. A handle owns its
// [File] and closes it once, after its last read.
package fs
