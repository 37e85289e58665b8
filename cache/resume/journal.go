package resume

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
// that pieces are held in is recorded (FileSeen), and the next change of it is
// another.
const (
	journalMagic     = "torrentfsjournal"
	journalVersion   = 2
	JournalHeaderLen = 16 + 4 + 4 + 8 + 4 + 4
	RecordLen        = 32

	// MaxJournal bounds what is read of a journal. It is folded into a new snapshot long before.
	MaxJournal = 16 << 20
)

// RecordKind is what a record tells.
type RecordKind uint32

const (
	Held          RecordKind = iota + 1 // index: piece, verified and synced
	Lost                                // index: piece, given up
	FileOpened                          // index: file, value: its inode: we are about to write to it
	FileSeen                            // index: file, value: the mark of the state in which it holds what is held; 0: none
	BlockVerified                       // index: piece, and block, value: its checksum: verified by itself and synced
)

// Record is one entry of the journal. What its fields mean depends on the kind.
type Record struct {
	Kind  RecordKind
	Index uint32
	Value uint64
	Block uint32
}

// AppendJournalHeader appends the header of the journal that continues the snapshot of a generation.
func AppendJournalHeader(b []byte, gen uint64) []byte {
	le := binary.LittleEndian
	start := len(b)
	b = append(b, journalMagic...)
	b = le.AppendUint32(b, journalVersion)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, gen)
	b = le.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	return le.AppendUint32(b, 0)
}

// AppendRecord appends the record with that number, of which synced ones are durable.
func AppendRecord(b []byte, gen uint64, number, synced uint32, r Record) []byte {
	le := binary.LittleEndian
	start := len(b)
	b = le.AppendUint32(b, uint32(r.Kind))
	b = le.AppendUint32(b, r.Index)
	b = le.AppendUint64(b, r.Value)
	b = le.AppendUint32(b, number)
	b = le.AppendUint32(b, synced)
	b = le.AppendUint32(b, r.Block)
	return le.AppendUint32(b, recordSum(gen, b[start:]))
}

func recordSum(gen uint64, b []byte) uint32 {
	var g [8]byte
	binary.LittleEndian.PutUint64(g[:], gen)
	return crc32.Update(crc32.Checksum(g[:], castagnoli), castagnoli, b)
}

// Play plays a journal onto the snapshot that it continues. What belongs to
// another generation changes nothing. A journal that is damaged is an error,
// and then the snapshot holds nothing any more.
func (s *Snapshot) Play(journal []byte, id *Identity) error {
	if len(journal) < JournalHeaderLen || string(journal[:JournalHeaderLen]) != string(AppendJournalHeader(nil, s.Generation)) {
		return nil
	}
	records := journal[JournalHeaderLen:]
	whole := len(records) / RecordLen
	for n := range whole {
		b := records[n*RecordLen:][:RecordLen]
		if !s.valid(b, n) {
			for later := n + 1; later < whole; later++ {
				b := records[later*RecordLen:][:RecordLen]
				if s.valid(b, later) && binary.LittleEndian.Uint32(b[20:]) > uint32(n) {
					s.DoubtAll()
					return fmt.Errorf("play journal: %w: record %d of %d is damaged", ErrInvalid, n, whole)
				}
			}
			return nil
		}
		s.play(b, id)
	}
	return nil
}

// valid reports whether b is the record with that number.
func (s *Snapshot) valid(b []byte, number int) bool {
	le := binary.LittleEndian
	return le.Uint32(b[28:]) == recordSum(s.Generation, b[:28]) && le.Uint32(b[16:]) == uint32(number)
}

func (s *Snapshot) play(b []byte, id *Identity) {
	le := binary.LittleEndian
	index, value := le.Uint32(b[4:]), le.Uint64(b[8:])
	switch kind := RecordKind(le.Uint32(b)); kind {
	case Held, Lost:
		if uint64(index) >= uint64(id.Pieces) {
			return
		}
		s.Held.Clear(int(index))
		if kind == Held {
			s.Held.Set(int(index))
		}
		s.InDoubt.Clear(int(index))
		delete(s.Blocks, int(index))
	case BlockVerified:
		s.addBlock(id, int64(index), int64(le.Uint32(b[24:])), value)
	case FileOpened, FileSeen:
		if uint64(index) >= uint64(id.Files) {
			return
		}
		if s.Marks == nil {
			s.Marks, s.Inodes = make(map[int]uint64), make(map[int]uint64)
		}
		if kind == FileOpened {
			s.Inodes[int(index)] = value
		} else {
			s.Marks[int(index)] = value
		}
	}
}

// DoubtAll has all that is vouched for hashed.
func (s *Snapshot) DoubtAll() {
	for i, w := range s.Held {
		s.InDoubt[i] |= w
		s.Held[i] = 0
	}
	for piece := range s.Blocks {
		s.InDoubt.Set(piece)
	}
	s.Blocks = nil
}

// Inode is that of the file to which we wrote last under a file's name, 0 if
// there was none.
func (s *Snapshot) Inode(file int) uint64 {
	if ino, ok := s.Inodes[file]; ok {
		return ino
	}
	return s.Files[file].Ino
}

// Keeps reports whether a file is in the state for which resume data vouches.
func (s *Snapshot) Keeps(file int, now FileState, renumbered bool) bool {
	if mark, ok := s.Marks[file]; ok {
		return now.Size != FileMissing && now.Mark() == mark
	}
	return now.SameAfterRestart(s.Files[file], renumbered)
}
