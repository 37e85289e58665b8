package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"torrentfs/internal/bitset"
)

// errResume says that a resume file is not one, is damaged or is of another
// torrent. It is never fatal: what it would have vouched for is hashed again.
var errResume = errors.New("invalid resume data")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// snapshot is the content of the .resume file:
//
//	magic "torrentfs resume", version u32, flags u32, generation u64,
//	time i64 (ns since 1970), info-hash v1 [20] and v2 [32],
//	piece length u64, pieces u32, files u32, inode of stateDir u64,
//	held, doubtful: bits of pieces in u64 words,
//	for each file: size i64, mtime, ctime and btime i64 (ns), inode u64,
//	number of blocks u32, for each block that is verified although its
//	piece is not: piece u32, block u32, checksum u64 (sumOf),
//	CRC-32C of all before
//
// all little-endian. Its length follows from the torrent and from the length
// of the file, so nothing in it decides how much is read or allocated.
//
// Version 2 had no inode of stateDir, of files size, mtime and inode alone, and
// runs of blocks of 12 bytes. It is read for what it tells of the files: what it
// vouched for is hashed. Version 1 is not read.
type snapshot struct {
	clean    bool       // published by Close
	gen      uint64     // the journal that continues it has the same
	time     int64      // when it was published
	stateIno uint64     // of stateDir; 0: not known
	held     bitset.Set // verified and synced
	doubtful bitset.Set // there may be something; still to be hashed
	files    []fileStat
	blocks   map[int]blockSums // by piece: blocks verified by themselves and synced; nil: none

	// What the journal says of files, which replaces files: in which state they
	// are vouched for, and to which ones we wrote.
	marks, inodes map[int]uint64
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

// identity is what binds resume data to a torrent.
type identity struct {
	v1       [20]byte
	v2       [32]byte
	pieceLen int64
	pieces   int
	perPiece int // blocks of a full piece
	files    int
}

// snapshotLen is the length of a snapshot without blocks.
func (id *identity) snapshotLen() int {
	return snapshotHeader + 2*8*((id.pieces+63)/64) + fileStatLen*id.files + 4 + 4
}

// maxSnapshot is the most that a snapshot may have.
func (id *identity) maxSnapshot() int { return id.snapshotLen() + blockLen*maxBlocks }

// blockSums are the checksums of blocks that are verified by themselves.
type blockSums map[int]uint64

// sumOf is a checksum of a block: two that do not depend on each other, and
// that processors compute faster than any hash. 0 stands for none.
func sumOf(b []byte) uint64 {
	return max(uint64(crc32.ChecksumIEEE(b))<<32|uint64(crc32.Checksum(b, castagnoli)), 1)
}

// addBlock notes a block, if there can be such a one.
func (s *snapshot) addBlock(id *identity, piece, block int64, sum uint64) bool {
	if piece >= int64(id.pieces) || block >= int64(id.perPiece) {
		return false
	}
	if s.blocks == nil {
		s.blocks = make(map[int]blockSums)
	}
	if s.blocks[int(piece)] == nil {
		s.blocks[int(piece)] = make(blockSums)
	}
	s.blocks[int(piece)][int(block)] = sum
	return true
}

// listBlocks lists the blocks in order.
func (s *snapshot) listBlocks() (out []goodBlock) {
	for _, piece := range slices.Sorted(maps.Keys(s.blocks)) {
		for _, block := range slices.Sorted(maps.Keys(s.blocks[piece])) {
			if len(out) == maxBlocks {
				return out
			}
			out = append(out, goodBlock{piece, block, s.blocks[piece][block]})
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
	b = le.AppendUint64(b, s.stateIno)
	for _, set := range []bitset.Set{s.held, s.doubtful} {
		for _, w := range set {
			b = le.AppendUint64(b, w)
		}
	}
	for _, f := range s.files {
		b = f.append(b)
	}
	blocks := s.listBlocks()
	b = le.AppendUint32(b, uint32(len(blocks)))
	for _, x := range blocks {
		b = le.AppendUint32(b, uint32(x.piece))
		b = le.AppendUint32(b, uint32(x.block))
		b = le.AppendUint64(b, x.sum)
	}
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeSnapshot(b []byte, id *identity) (*snapshot, error) {
	le := binary.LittleEndian
	if len(b) < snapshotHeader || string(b[:16]) != snapshotMagic {
		return nil, fmt.Errorf("decode snapshot: %w: not a snapshot", errResume)
	}
	version := le.Uint32(b[16:])
	header, fixed, each := snapshotHeader, id.snapshotLen(), blockLen
	switch version {
	case snapshotVersion:
	case snapshotVersion2:
		header, fixed, each = header-8, fixed-8-(fileStatLen-fileStatLen2)*id.files, blockLen2
	default:
		return nil, fmt.Errorf("decode snapshot: %w: version %d", errResume, version)
	}
	switch {
	case len(b) < fixed || (len(b)-fixed)%each != 0:
		return nil, fmt.Errorf("decode snapshot: %w: %d bytes, want %d and blocks", errResume, len(b), fixed)
	case crc32.Checksum(b[:len(b)-4], castagnoli) != le.Uint32(b[len(b)-4:]):
		return nil, fmt.Errorf("decode snapshot: %w: checksum", errResume)
	}
	want := (&snapshot{}).encode(id)
	if string(b[40:snapshotHeader-8]) != string(want[40:snapshotHeader-8]) {
		return nil, fmt.Errorf("decode snapshot: %w: of another torrent", errResume)
	}
	s := &snapshot{
		clean: le.Uint32(b[20:])&flagClean != 0,
		gen:   le.Uint64(b[24:]), time: int64(le.Uint64(b[32:])),
		held: bitset.New(id.pieces), doubtful: bitset.New(id.pieces),
		files: make([]fileStat, id.files),
	}
	if version == snapshotVersion {
		s.stateIno = le.Uint64(b[header-8:])
	}
	if err := s.decodeBody(b[header:], id, version); err != nil {
		return nil, err
	}
	return s, nil
}

// decodeBody decodes what follows the header.
func (s *snapshot) decodeBody(b []byte, id *identity, version uint32) error {
	le := binary.LittleEndian
	for _, set := range []bitset.Set{s.held, s.doubtful} {
		for i := range set {
			set[i] = le.Uint64(b)
			b = b[8:]
		}
		if tail := id.pieces % 64; tail != 0 && set[len(set)-1]>>tail != 0 {
			return fmt.Errorf("decode snapshot: %w: more pieces than the torrent has", errResume)
		}
	}
	if version == snapshotVersion2 {
		for i := range s.files {
			s.files[i] = fileStat{size: int64(le.Uint64(b)), mtime: int64(le.Uint64(b[8:])), ino: le.Uint64(b[16:])}
			b = b[fileStatLen2:]
		}
		s.doubtAll()
		return nil
	}
	for i := range s.files {
		s.files[i] = decodeFileStat(b)
		b = b[fileStatLen:]
	}
	if n := (len(b) - 8) / blockLen; uint64(le.Uint32(b)) != uint64(n) {
		return fmt.Errorf("decode snapshot: %w: number of blocks", errResume)
	}
	for b = b[4:]; len(b) >= blockLen; b = b[blockLen:] {
		if !s.addBlock(id, int64(le.Uint32(b)), int64(le.Uint32(b[4:])), le.Uint64(b[8:])) {
			return fmt.Errorf("decode snapshot: %w: blocks that the torrent does not have", errResume)
		}
	}
	return nil
}
