package resume

import (
	"crypto/sha256"
	"encoding/binary"
)

// FileState is a state of a file: what was verified in it holds for as long as
// it has this one.
//
// Within a session all of it is compared. Over a restart dev is not: device
// numbers of NFS, btrfs and LVM are others after the next boot. Nor is the inode
// number, if that of our own folder is another as well: file systems like FAT
// make numbers up at each mount. The dates have to be the same to the
// nanosecond then; no program can set ctime.
type FileState struct {
	Size  int64 // fileMissing: there was none, or nothing is vouched for
	MTime int64
	CTime int64 // 0 where the system has none, as btime
	BTime int64
	Ino   uint64
	Dev   uint64 // not in resume data
}

// FileMissing is the size of a file that is not there, or of which nothing is vouched for.
const FileMissing = int64(-1)

// Another reports whether st is another file, or shorter: our own writing
// changes neither.
func (f FileState) Another(st FileState) bool {
	return st.Ino != f.Ino || st.Dev != f.Dev || st.BTime != f.BTime || st.Size < f.Size
}

// SameAfterRestart reports whether the file is in the state that resume data tells of.
// renumbered says that the file system gave out new inode numbers since.
func (f FileState) SameAfterRestart(then FileState, renumbered bool) bool {
	f.Dev, then.Dev = 0, 0
	if f.Size == FileMissing && then.Size == FileMissing {
		return true
	}
	if renumbered && f.CTime != 0 {
		f.Ino, then.Ino = 0, 0
	}
	return f == then
}

// Mark is what the journal remembers of a state: never 0, which vouches for
// nothing.
func (f FileState) Mark() uint64 {
	sum := sha256.Sum256(f.append(nil))
	return max(binary.LittleEndian.Uint64(sum[:]), 1)
}

func (f FileState) append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, uint64(f.Size))
	b = le.AppendUint64(b, uint64(f.MTime))
	b = le.AppendUint64(b, uint64(f.CTime))
	b = le.AppendUint64(b, uint64(f.BTime))
	return le.AppendUint64(b, f.Ino)
}

func decodeFileStat(b []byte) FileState {
	le := binary.LittleEndian
	return FileState{
		Size: int64(le.Uint64(b)), MTime: int64(le.Uint64(b[8:])),
		CTime: int64(le.Uint64(b[16:])), BTime: int64(le.Uint64(b[24:])), Ino: le.Uint64(b[32:]),
	}
}
