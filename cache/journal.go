package cache

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The .journal file continues an unclean snapshot of the same generation:
//
//	magic "torrentfsjournal", version u32, zero u32, generation u64,
//	CRC-32C of these u32, zero u32
//
// and then records of 32 bytes: kind u32, index u32, value u64, number u32,
// number of records that were synced before u32, block u32, CRC-32C u32 of the
// generation and the record. Little-endian.
//
// The journal ends before the first record that does not check: a crash tore
// it, and nothing that was done relied on it. A later record may say otherwise,
// that it had been synced; then the journal is damaged and vouches for nothing,
// for a record that takes something back may be among those that are lost.
//
// Where the end of a journal is lost, the files tell: each state of a file
// that pieces are held in is recorded (recSeen), and the next change of it is
// another.
const (
	journalMagic   = "torrentfsjournal"
	journalVersion = 2
	journalHeader  = 16 + 4 + 4 + 8 + 4 + 4
	recordLen      = 32

	// maxJournal bounds what is read; compactJournal is where it is folded
	// into a new snapshot, long before.
	maxJournal     = 16 << 20
	compactJournal = 1 << 20
)

type recordKind uint32

const (
	recHeld  recordKind = iota + 1 // index: piece, verified and synced
	recLost                        // index: piece, given up
	recFile                        // index: file, value: its inode: we are about to write to it
	recSeen                        // index: file, value: the mark of the state in which it holds what is held; 0: none
	recBlock                       // index: piece, and block, value: its checksum: verified by itself and synced
)

type record struct {
	kind  recordKind
	index uint32
	value uint64
	block uint32
}

func appendJournalHeader(b []byte, gen uint64) []byte {
	le := binary.LittleEndian
	start := len(b)
	b = append(b, journalMagic...)
	b = le.AppendUint32(b, journalVersion)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, gen)
	b = le.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	return le.AppendUint32(b, 0)
}

// appendRecord appends the record with that number, of which synced ones are durable.
func appendRecord(b []byte, gen uint64, number, synced uint32, r record) []byte {
	le := binary.LittleEndian
	start := len(b)
	b = le.AppendUint32(b, uint32(r.kind))
	b = le.AppendUint32(b, r.index)
	b = le.AppendUint64(b, r.value)
	b = le.AppendUint32(b, number)
	b = le.AppendUint32(b, synced)
	b = le.AppendUint32(b, r.block)
	return le.AppendUint32(b, recordSum(gen, b[start:]))
}

func recordSum(gen uint64, b []byte) uint32 {
	var g [8]byte
	binary.LittleEndian.PutUint64(g[:], gen)
	return crc32.Update(crc32.Checksum(g[:], castagnoli), castagnoli, b)
}

// apply plays a journal onto the snapshot that it continues. What belongs to
// another generation changes nothing. A journal that is damaged is an error,
// and then the snapshot holds nothing any more.
func (s *snapshot) apply(journal []byte, id *identity) error {
	if len(journal) < journalHeader || string(journal[:journalHeader]) != string(appendJournalHeader(nil, s.gen)) {
		return nil
	}
	records := journal[journalHeader:]
	whole := len(records) / recordLen
	for n := range whole {
		b := records[n*recordLen:][:recordLen]
		if !s.valid(b, n) {
			for later := n + 1; later < whole; later++ {
				b := records[later*recordLen:][:recordLen]
				if s.valid(b, later) && binary.LittleEndian.Uint32(b[20:]) > uint32(n) {
					s.doubtAll()
					return fmt.Errorf("play journal: %w: record %d of %d is damaged", errResume, n, whole)
				}
			}
			return nil
		}
		s.play(b, id)
	}
	return nil
}

// valid reports whether b is the record with that number.
func (s *snapshot) valid(b []byte, number int) bool {
	le := binary.LittleEndian
	return le.Uint32(b[28:]) == recordSum(s.gen, b[:28]) && le.Uint32(b[16:]) == uint32(number)
}

func (s *snapshot) play(b []byte, id *identity) {
	le := binary.LittleEndian
	index, value := le.Uint32(b[4:]), le.Uint64(b[8:])
	switch kind := recordKind(le.Uint32(b)); kind {
	case recHeld, recLost:
		if uint64(index) >= uint64(id.pieces) {
			return
		}
		s.held.Clear(int(index))
		if kind == recHeld {
			s.held.Set(int(index))
		}
		s.doubtful.Clear(int(index))
		delete(s.blocks, int(index))
	case recBlock:
		s.addBlock(id, int64(index), int64(le.Uint32(b[24:])), value)
	case recFile, recSeen:
		if uint64(index) >= uint64(id.files) {
			return
		}
		if s.marks == nil {
			s.marks, s.inodes = make(map[int]uint64), make(map[int]uint64)
		}
		if kind == recFile {
			s.inodes[int(index)] = value
		} else {
			s.marks[int(index)] = value
		}
	}
}

// doubtAll has all that is vouched for hashed.
func (s *snapshot) doubtAll() {
	for i, w := range s.held {
		s.doubtful[i] |= w
		s.held[i] = 0
	}
	for piece := range s.blocks {
		s.doubtful.Set(piece)
	}
	s.blocks = nil
}

// inode is that of the file to which we wrote last under a file's name, 0 if
// there was none.
func (s *snapshot) inode(file int) uint64 {
	if ino, ok := s.inodes[file]; ok {
		return ino
	}
	return s.files[file].ino
}

// keeps reports whether a file is in the state for which resume data vouches.
func (s *snapshot) keeps(file int, now fileStat, renumbered bool) bool {
	if mark, ok := s.marks[file]; ok {
		return now.size != fileMissing && now.mark() == mark
	}
	return now.kept(s.files[file], renumbered)
}
