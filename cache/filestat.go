package cache

import (
	"crypto/sha256"
	"encoding/binary"

	"torrentfs/cache/vfs"
)

// fileStat is a state of a file: what was verified in it holds for as long as
// it has this one.
//
// Within a session all of it is compared. Over a restart dev is not: device
// numbers of NFS, btrfs and LVM are others after the next boot. Nor is the inode
// number, if that of our own folder is another as well: file systems like FAT
// make numbers up at each mount. The dates have to be the same to the
// nanosecond then; no program can set ctime.
type fileStat struct {
	size  int64 // fileMissing: there was none, or nothing is vouched for
	mtime int64
	ctime int64 // 0 where the system has none, as btime
	btime int64
	ino   uint64
	dev   uint64 // not in resume data
}

const fileMissing = int64(-1)

func statOf(st vfs.Info) fileStat {
	return fileStat{st.Size, st.MTime, st.CTime, st.BTime, st.Ino, st.Dev}
}

// another reports whether st is another file, or shorter: our own writing
// changes neither.
func (f fileStat) another(st fileStat) bool {
	return st.ino != f.ino || st.dev != f.dev || st.btime != f.btime || st.size < f.size
}

// kept reports whether the file is in the state that resume data tells of.
// renumbered says that the file system gave out new inode numbers since.
func (f fileStat) kept(then fileStat, renumbered bool) bool {
	f.dev, then.dev = 0, 0
	if f.size == fileMissing && then.size == fileMissing {
		return true
	}
	if renumbered && f.ctime != 0 {
		f.ino, then.ino = 0, 0
	}
	return f == then
}

// mark is what the journal remembers of a state: never 0, which vouches for
// nothing.
func (f fileStat) mark() uint64 {
	sum := sha256.Sum256(f.append(nil))
	return max(binary.LittleEndian.Uint64(sum[:]), 1)
}

func (f fileStat) append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, uint64(f.size))
	b = le.AppendUint64(b, uint64(f.mtime))
	b = le.AppendUint64(b, uint64(f.ctime))
	b = le.AppendUint64(b, uint64(f.btime))
	return le.AppendUint64(b, f.ino)
}

func decodeFileStat(b []byte) fileStat {
	le := binary.LittleEndian
	return fileStat{
		size: int64(le.Uint64(b)), mtime: int64(le.Uint64(b[8:])),
		ctime: int64(le.Uint64(b[16:])), btime: int64(le.Uint64(b[24:])), ino: le.Uint64(b[32:]),
	}
}
