package resume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// ErrInvalid says that a resume file is not one, is damaged or is of another
// torrent. It is never fatal: what it would have vouched for is hashed again.
var ErrInvalid = errors.New("invalid resume data")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot is the content of the .resume file:
//
//	magic "torrentfs resume", version u32, flags u32, generation u64,
//	time i64 (ns since 1970), info-hash v1 [20] and v2 [32],
//	piece length u64, pieces u32, files u32, inode of StateDir u64,
//	held, doubtful: bits of pieces in u64 words,
//	for each file: size i64, mtime, ctime and btime i64 (ns), inode u64,
//	number of blocks u32, for each block that is verified although its
//	piece is not: piece u32, block u32, checksum u64 (Checksum),
//	CRC-32C of all before
//
// all little-endian. Its length follows from the torrent and from the length
// of the file, so nothing in it decides how much is read or allocated.
//
// Version 2 had no inode of StateDir, of files size, mtime and inode alone, and
// runs of blocks of 12 bytes. It is read for what it tells of the files: what it
// vouched for is hashed. Version 1 is not read.
type Snapshot struct {
	Clean      bool       // published by Close
	Generation uint64     // the journal that continues it has the same
	Time       int64      // when it was published
	StateIno   uint64     // of StateDir; 0: not known
	Held       bitset.Set // verified and synced
	InDoubt    bitset.Set // there may be something; still to be hashed
	Files      []FileState
	Blocks     map[int]BlockSums // by piece: blocks verified by themselves and synced; nil: none

	// What the journal says of files, which replaces files: in which state they
	// are vouched for, and to which ones we wrote.
	Marks, Inodes map[int]uint64
}

const (
	snapshotMagic   = "torrentfs resume"
	snapshotVersion = 3
	snapshotHeader  = 16 + 4 + 4 + 8 + 8 + 20 + 32 + 8 + 4 + 4 + 8
	fileStatLen     = 5 * 8
	flagClean       = 1
	blockLen        = 16

	snapshotVersion2 = 2
	fileStatLen2     = 3 * 8
	blockLen2        = 12

	maxBlocks = 1 << 20 // that are kept of incomplete pieces; what exceeds them is fetched again
)

// Identity is what binds resume data to a torrent.
type Identity struct {
	V1             [20]byte
	V2             [32]byte
	PieceLength    int64
	Pieces         int
	BlocksPerPiece int // blocks of a full piece
	Files          int
}

// snapshotLen is the length of a snapshot without blocks.
func (id *Identity) snapshotLen() int {
	return snapshotHeader + 2*8*((id.Pieces+63)/64) + fileStatLen*id.Files + 4 + 4
}

// MaxSnapshot is the most that a snapshot may have.
func (id *Identity) MaxSnapshot() int { return id.snapshotLen() + blockLen*maxBlocks }

// VerifiedBlock is a block that is verified by itself.
type VerifiedBlock struct {
	metainfo.Block
	Sum uint64 // see [Checksum]; 0: not known
}

// BlockSums are the checksums of blocks that are verified by themselves.
type BlockSums map[int]uint64

// Checksum is a checksum of a block: two that do not depend on each other, and
// that processors compute faster than any hash. 0 stands for none.
func Checksum(b []byte) uint64 {
	return max(uint64(crc32.ChecksumIEEE(b))<<32|uint64(crc32.Checksum(b, castagnoli)), 1)
}

// addBlock notes a block, if there can be such a one.
func (s *Snapshot) addBlock(id *Identity, piece, block int64, sum uint64) bool {
	if piece >= int64(id.Pieces) || block >= int64(id.BlocksPerPiece) {
		return false
	}
	if s.Blocks == nil {
		s.Blocks = make(map[int]BlockSums)
	}
	if s.Blocks[int(piece)] == nil {
		s.Blocks[int(piece)] = make(BlockSums)
	}
	s.Blocks[int(piece)][int(block)] = sum
	return true
}

// listBlocks lists the blocks in order.
func (s *Snapshot) listBlocks() (out []VerifiedBlock) {
	for _, piece := range slices.Sorted(maps.Keys(s.Blocks)) {
		for _, block := range slices.Sorted(maps.Keys(s.Blocks[piece])) {
			if len(out) == maxBlocks {
				return out
			}
			out = append(out, VerifiedBlock{metainfo.Block{Piece: piece, Index: block}, s.Blocks[piece][block]})
		}
	}
	return out
}

// Encode makes the bytes of a snapshot of the torrent id.
func (s *Snapshot) Encode(id *Identity) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, id.snapshotLen())
	b = append(b, snapshotMagic...)
	b = le.AppendUint32(b, snapshotVersion)
	var flags uint32
	if s.Clean {
		flags |= flagClean
	}
	b = le.AppendUint32(b, flags)
	b = le.AppendUint64(b, s.Generation)
	b = le.AppendUint64(b, uint64(s.Time))
	b = append(b, id.V1[:]...)
	b = append(b, id.V2[:]...)
	b = le.AppendUint64(b, uint64(id.PieceLength))
	b = le.AppendUint32(b, uint32(id.Pieces))
	b = le.AppendUint32(b, uint32(id.Files))
	b = le.AppendUint64(b, s.StateIno)
	for _, set := range []bitset.Set{s.Held, s.InDoubt} {
		for _, w := range set {
			b = le.AppendUint64(b, w)
		}
	}
	for _, f := range s.Files {
		b = f.append(b)
	}
	blocks := s.listBlocks()
	b = le.AppendUint32(b, uint32(len(blocks)))
	for _, x := range blocks {
		b = le.AppendUint32(b, uint32(x.Piece))
		b = le.AppendUint32(b, uint32(x.Index))
		b = le.AppendUint64(b, x.Sum)
	}
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// DecodeSnapshot reads a snapshot of version 2 or 3. The error is [ErrInvalid] if it is damaged, or of
// another torrent than id.
func DecodeSnapshot(b []byte, id *Identity) (*Snapshot, error) {
	le := binary.LittleEndian
	if len(b) < snapshotHeader || string(b[:16]) != snapshotMagic {
		return nil, fmt.Errorf("decode snapshot: %w: not a snapshot", ErrInvalid)
	}
	version := le.Uint32(b[16:])
	header, fixed, each := snapshotHeader, id.snapshotLen(), blockLen
	switch version {
	case snapshotVersion:
	case snapshotVersion2:
		header, fixed, each = header-8, fixed-8-(fileStatLen-fileStatLen2)*id.Files, blockLen2
	default:
		return nil, fmt.Errorf("decode snapshot: %w: version %d", ErrInvalid, version)
	}
	switch {
	case len(b) < fixed || (len(b)-fixed)%each != 0:
		return nil, fmt.Errorf("decode snapshot: %w: %d bytes, want %d and blocks", ErrInvalid, len(b), fixed)
	case crc32.Checksum(b[:len(b)-4], castagnoli) != le.Uint32(b[len(b)-4:]):
		return nil, fmt.Errorf("decode snapshot: %w: checksum", ErrInvalid)
	}
	want := (&Snapshot{}).Encode(id)
	if string(b[40:snapshotHeader-8]) != string(want[40:snapshotHeader-8]) {
		return nil, fmt.Errorf("decode snapshot: %w: of another torrent", ErrInvalid)
	}
	s := &Snapshot{
		Clean:      le.Uint32(b[20:])&flagClean != 0,
		Generation: le.Uint64(b[24:]), Time: int64(le.Uint64(b[32:])),
		Held: bitset.New(id.Pieces), InDoubt: bitset.New(id.Pieces),
		Files: make([]FileState, id.Files),
	}
	if version == snapshotVersion {
		s.StateIno = le.Uint64(b[header-8:])
	}
	if err := s.decodeBody(b[header:], id, version); err != nil {
		return nil, err
	}
	return s, nil
}

// decodeBody decodes what follows the header.
func (s *Snapshot) decodeBody(b []byte, id *Identity, version uint32) error {
	le := binary.LittleEndian
	for _, set := range []bitset.Set{s.Held, s.InDoubt} {
		for i := range set {
			set[i] = le.Uint64(b)
			b = b[8:]
		}
		if tail := id.Pieces % 64; tail != 0 && set[len(set)-1]>>tail != 0 {
			return fmt.Errorf("decode snapshot: %w: more pieces than the torrent has", ErrInvalid)
		}
	}
	if version == snapshotVersion2 {
		for i := range s.Files {
			s.Files[i] = FileState{Size: int64(le.Uint64(b)), MTime: int64(le.Uint64(b[8:])), Ino: le.Uint64(b[16:])}
			b = b[fileStatLen2:]
		}
		s.DoubtAll()
		return nil
	}
	for i := range s.Files {
		s.Files[i] = decodeFileStat(b)
		b = b[fileStatLen:]
	}
	if n := (len(b) - 8) / blockLen; uint64(le.Uint32(b)) != uint64(n) {
		return fmt.Errorf("decode snapshot: %w: number of blocks", ErrInvalid)
	}
	for b = b[4:]; len(b) >= blockLen; b = b[blockLen:] {
		if !s.addBlock(id, int64(le.Uint32(b)), int64(le.Uint32(b[4:])), le.Uint64(b[8:])) {
			return fmt.Errorf("decode snapshot: %w: blocks that the torrent does not have", ErrInvalid)
		}
	}
	return nil
}
