package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
)

// errResume says that a resume file is not one, is damaged or is of another
// torrent. It is never fatal: what it would have vouched for is hashed again.
var errResume = errors.New("invalid resume data")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// snapshot is the content of the .resume file:
//
//	magic "torrentfs resume", version u32, flags u32, generation u64,
//	time i64 (ns since 1970), info-hash v1 [20] and v2 [32],
//	piece length u64, pieces u32, files u32,
//	held, doubtful: bits of pieces in u64 words,
//	for each file: size i64, mtime i64 (ns), inode u64,
//	number of runs u32, for each run of blocks that are verified although
//	their piece is not: piece u32, first block u32, count u32,
//	CRC-32C of all before
//
// all little-endian. Its length follows from the torrent and from the length
// of the file, so nothing in it decides how much is read or allocated.
type snapshot struct {
	clean    bool   // published by Close: the files are exactly as listed
	gen      uint64 // the journal that continues it has the same
	time     int64  // when it was published
	held     bitset // verified and synced
	doubtful bitset // there may be something; still to be hashed
	files    []fileStat
	blocks   map[int]bitset // by piece: blocks verified by themselves and synced; nil: none
}

// fileStat is what a snapshot remembers of a file, to see whether it changed.
type fileStat struct {
	size  int64 // fileMissing: there was none
	mtime int64
	ino   uint64
}

const (
	fileMissing     = int64(-1)
	snapshotMagic   = "torrentfs resume"
	snapshotVersion = 2
	snapshotHeader  = 16 + 4 + 4 + 8 + 8 + 20 + 32 + 8 + 4 + 4
	flagClean       = 1
	runLen          = 12
	maxRuns         = 1 << 20 // of blocks; what exceeds them is fetched again
)

// identity is what binds resume data to a torrent.
type identity struct {
	v1       [20]byte
	v2       [32]byte
	pieceLen int64
	pieces   int
	perPiece int // blocks of a full piece
	files    int
}

// snapshotLen is the length of a snapshot without runs of blocks.
func (id *identity) snapshotLen() int {
	return snapshotHeader + 2*8*((id.pieces+63)/64) + 24*id.files + 4 + 4
}

// maxSnapshot is the most that a snapshot may have.
func (id *identity) maxSnapshot() int { return id.snapshotLen() + runLen*maxRuns }

// addBlocks notes a run of blocks, if there can be one.
func (s *snapshot) addBlocks(id *identity, piece, first, count int64) bool {
	if piece >= int64(id.pieces) || count <= 0 || first+count > int64(id.perPiece) {
		return false
	}
	set := s.blocks[int(piece)]
	if set == nil {
		if s.blocks == nil {
			s.blocks = make(map[int]bitset)
		}
		set = newBitset(id.perPiece)
		s.blocks[int(piece)] = set
	}
	for b := first; b < first+count; b++ {
		set.set(int(b))
	}
	return true
}

// runs lists the blocks in order.
func (s *snapshot) runs() (out []blockRun) {
	for _, piece := range slices.Sorted(maps.Keys(s.blocks)) {
		for first, count := range s.blocks[piece].runs {
			if len(out) == maxRuns {
				return out
			}
			out = append(out, blockRun{piece, first, count})
		}
	}
	return out
}

func (s *snapshot) encode(id *identity) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, id.snapshotLen())
	b = append(b, snapshotMagic...)
	b = le.AppendUint32(b, snapshotVersion)
	var flags uint32
	if s.clean {
		flags |= flagClean
	}
	b = le.AppendUint32(b, flags)
	b = le.AppendUint64(b, s.gen)
	b = le.AppendUint64(b, uint64(s.time))
	b = append(b, id.v1[:]...)
	b = append(b, id.v2[:]...)
	b = le.AppendUint64(b, uint64(id.pieceLen))
	b = le.AppendUint32(b, uint32(id.pieces))
	b = le.AppendUint32(b, uint32(id.files))
	for _, set := range []bitset{s.held, s.doubtful} {
		for _, w := range set {
			b = le.AppendUint64(b, w)
		}
	}
	for _, f := range s.files {
		b = le.AppendUint64(b, uint64(f.size))
		b = le.AppendUint64(b, uint64(f.mtime))
		b = le.AppendUint64(b, f.ino)
	}
	runs := s.runs()
	b = le.AppendUint32(b, uint32(len(runs)))
	for _, r := range runs {
		b = le.AppendUint32(b, uint32(r.piece))
		b = le.AppendUint32(b, uint32(r.first))
		b = le.AppendUint32(b, uint32(r.count))
	}
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeSnapshot(b []byte, id *identity) (*snapshot, error) {
	le := binary.LittleEndian
	switch {
	case len(b) < snapshotHeader || string(b[:16]) != snapshotMagic:
		return nil, fmt.Errorf("decode snapshot: %w: not a snapshot", errResume)
	case le.Uint32(b[16:]) != snapshotVersion:
		return nil, fmt.Errorf("decode snapshot: %w: version %d", errResume, le.Uint32(b[16:]))
	case len(b) < id.snapshotLen() || (len(b)-id.snapshotLen())%runLen != 0:
		return nil, fmt.Errorf("decode snapshot: %w: %d bytes, want %d and runs", errResume, len(b), id.snapshotLen())
	case crc32.Checksum(b[:len(b)-4], castagnoli) != le.Uint32(b[len(b)-4:]):
		return nil, fmt.Errorf("decode snapshot: %w: checksum", errResume)
	}
	want := (&snapshot{}).encode(id)
	if string(b[40:snapshotHeader]) != string(want[40:snapshotHeader]) {
		return nil, fmt.Errorf("decode snapshot: %w: of another torrent", errResume)
	}
	s := &snapshot{
		clean: le.Uint32(b[20:])&flagClean != 0,
		gen:   le.Uint64(b[24:]), time: int64(le.Uint64(b[32:])),
		held: newBitset(id.pieces), doubtful: newBitset(id.pieces),
		files: make([]fileStat, id.files),
	}
	b = b[snapshotHeader:]
	for _, set := range []bitset{s.held, s.doubtful} {
		for i := range set {
			set[i] = le.Uint64(b)
			b = b[8:]
		}
		if tail := id.pieces % 64; tail != 0 && set[len(set)-1]>>tail != 0 {
			return nil, fmt.Errorf("decode snapshot: %w: more pieces than the torrent has", errResume)
		}
	}
	for i := range s.files {
		s.files[i] = fileStat{int64(le.Uint64(b)), int64(le.Uint64(b[8:])), le.Uint64(b[16:])}
		b = b[24:]
	}
	if n := (len(b) - 8) / runLen; uint64(le.Uint32(b)) != uint64(n) {
		return nil, fmt.Errorf("decode snapshot: %w: number of runs", errResume)
	}
	for b = b[4:]; len(b) >= runLen; b = b[runLen:] {
		piece, first, count := int64(le.Uint32(b)), int64(le.Uint32(b[4:])), int64(le.Uint32(b[8:]))
		if !s.addBlocks(id, piece, first, count) {
			return nil, fmt.Errorf("decode snapshot: %w: blocks that the torrent does not have", errResume)
		}
	}
	return s, nil
}
