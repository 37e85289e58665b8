package cache

import (
	"encoding/binary"
	"hash/crc32"
)

// The .journal file continues an unclean snapshot of the same generation:
//
//	magic "torrentfsjournal", version u32, zero u32, generation u64,
//	CRC-32C of these u32, zero u32
//
// and then records of 24 bytes: kind u32, index u32, value u64, number u32,
// CRC-32C u32 of the generation and the record. Little-endian. Each record
// stands by itself: one that does not check (torn by a crash, left from an
// older generation) is passed over.
const (
	journalMagic   = "torrentfsjournal"
	journalVersion = 1
	journalHeader  = 16 + 4 + 4 + 8 + 4 + 4
	recordLen      = 24

	// maxJournal bounds what is read; compactJournal is where it is folded
	// into a new snapshot, long before.
	maxJournal     = 16 << 20
	compactJournal = 1 << 20
)

type recordKind uint32

const (
	recHeld   recordKind = iota + 1 // index: piece, verified and synced
	recLost                         // index: piece, given up
	recAlive                        // value: time (ns since 1970) at which we were about to write
	recFile                         // index: file, value: its inode: we are about to write to it
	recBlocks                       // index: piece, value: first block | count << 32, verified by themselves and synced
)

type record struct {
	kind  recordKind
	index uint32
	value uint64
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

func appendRecord(b []byte, gen uint64, number uint32, r record) []byte {
	le := binary.LittleEndian
	start := len(b)
	b = le.AppendUint32(b, uint32(r.kind))
	b = le.AppendUint32(b, r.index)
	b = le.AppendUint64(b, r.value)
	b = le.AppendUint32(b, number)
	return le.AppendUint32(b, recordSum(gen, b[start:]))
}

func recordSum(gen uint64, b []byte) uint32 {
	var g [8]byte
	binary.LittleEndian.PutUint64(g[:], gen)
	return crc32.Update(crc32.Checksum(g[:], castagnoli), castagnoli, b)
}

// apply plays a journal onto the snapshot that it continues and returns the
// last time at which the writer was known to live. What belongs to another
// generation changes nothing.
func (s *snapshot) apply(journal []byte, id *identity) (alive int64) {
	alive = s.time
	le := binary.LittleEndian
	if len(journal) < journalHeader || string(journal[:journalHeader]) != string(appendJournalHeader(nil, s.gen)) {
		return alive
	}
	for b := journal[journalHeader:]; len(b) >= recordLen; b = b[recordLen:] {
		if le.Uint32(b[20:]) != recordSum(s.gen, b[:20]) {
			continue
		}
		index, value := le.Uint32(b[4:]), le.Uint64(b[8:])
		switch recordKind(le.Uint32(b)) {
		case recHeld:
			if uint64(index) < uint64(id.pieces) {
				s.held.set(int(index))
				s.doubtful.clear(int(index))
				delete(s.blocks, int(index))
			}
		case recLost:
			if uint64(index) < uint64(id.pieces) {
				s.held.clear(int(index))
				s.doubtful.clear(int(index))
				delete(s.blocks, int(index))
			}
		case recBlocks:
			s.addBlocks(id, int64(index), int64(uint32(value)), int64(value>>32))
		case recAlive:
			alive = max(alive, int64(value))
		case recFile:
			if uint64(index) < uint64(id.files) {
				s.files[index].ino = value
			}
		}
	}
	return alive
}
