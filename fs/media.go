package fs

import (
	"path"
	"strings"
	"sync/atomic"
)

// Players and probes read the head of a film, then its end, where many mp4 and mkv files keep the
// index, then the position to play from. Each of these steps waits for the swarm. So the end is
// asked for as soon as the head is read.

const (
	mediaHead    = 1 << 20 // a first read up to here is one of the head
	mediaLeast   = 4 << 20 // smaller files are here soon enough
	mediaTailMin = 64 << 10
	mediaTailMax = 4 << 20
	mediaShare   = 512 // of the file is index, about
)

// mediaTail is the range at the end of a file that may hold its index.
func mediaTail(name string, size int64) (off int64, n int, ok bool) {
	if size < mediaLeast {
		return 0, 0, false
	}
	switch strings.ToLower(path.Ext(name)) {
	case ".mp4", ".m4v", ".m4a", ".m4b", ".mov", ".3gp", ".mkv", ".mka", ".webm", ".avi", ".wmv", ".asf", ".ogv", ".ogg",
		".flv", ".ts", ".m2ts", ".mpg", ".mpeg", ".mp3", ".flac", ".zip", ".cbz", ".epub", ".jar", ".apk", ".iso", ".pdf":
		n := min(max(size/mediaShare, mediaTailMin), mediaTailMax)
		return size - n, int(n), true
	}
	return 0, 0, false
}

// wholeReaders are programs that read a file from start to end: its end can wait.
func wholeReaders() []string {
	return []string{
		"cp", "mv", "cat", "dd", "install", "rsync", "scp", "sftp-server", "rclone", "restic", "borg", "tar", "bsdtar", "cpio",
		"md5sum", "sha1sum", "sha224sum", "sha256sum", "sha384sum", "sha512sum", "b2sum", "b3sum", "cksum", "sum", "crc32",
		"cmp", "diff", "gzip", "bzip2", "xz", "zstd", "lz4", "tee", "pv", "wc", "grep", "strings", "hexdump", "xxd", "od",
	}
}

// mediaHint asks once for the end of a file whose head is being read.
type mediaHint struct{ done atomic.Bool }

// note takes a read of a handle by the thread pid.
func (m *mediaHint) note(h *handle, pid uint32, off int64) {
	if h.hints == nil || m.done.Load() || !m.done.CompareAndSwap(false, true) || off >= mediaHead {
		return
	}
	tail, n, ok := mediaTail(h.fs.tree.name(h.fs.tree.node(h.id.index())), h.size)
	if !ok || h.ready != nil && h.ready.Ready(tail, n) {
		return
	}
	if _, whole := programOf(pid).isAny(wholeReaders()); !whole {
		h.hints.WillNeed(tail, n)
	}
}
