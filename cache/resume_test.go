package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"torrentfs/internal/bitset"
)

func testIdentity() *identity {
	return &identity{v1: [20]byte{1, 2}, v2: [32]byte{3}, pieceLen: 1 << 18, pieces: 70, perPiece: 16, files: 3}
}

func drawSnapshot(t *rapid.T, id *identity) *snapshot {
	s := &snapshot{
		clean: rapid.Bool().Draw(t, "clean"), gen: rapid.Uint64().Draw(t, "gen"),
		time: rapid.Int64().Draw(t, "time"), stateIno: rapid.Uint64().Draw(t, "folder"), held: bitset.New(id.pieces), doubtful: bitset.New(id.pieces),
		files: make([]fileStat, id.files),
	}
	for p := range id.pieces {
		switch rapid.IntRange(0, 2).Draw(t, "piece") {
		case 1:
			s.held.Set(p)
		case 2:
			s.doubtful.Set(p)
		}
	}
	for range rapid.IntRange(0, 9).Draw(t, "blocks") {
		piece, block := rapid.IntRange(0, id.pieces-1).Draw(t, "piece"), rapid.IntRange(0, id.perPiece-1).Draw(t, "block")
		s.addBlock(id, int64(piece), int64(block), rapid.Uint64().Draw(t, "sum"))
	}
	for i := range s.files {
		s.files[i] = fileStat{
			size: rapid.Int64().Draw(t, "size"), mtime: rapid.Int64().Draw(t, "mtime"),
			ctime: rapid.Int64().Draw(t, "ctime"), btime: rapid.Int64().Draw(t, "btime"), ino: rapid.Uint64().Draw(t, "ino"),
		}
	}
	return s
}

func TestSnapshotRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := testIdentity()
		s := drawSnapshot(t, id)
		b := s.encode(id)
		got, err := decodeSnapshot(b, id)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("%+v came back as %+v, %v", s, got, err)
		}
		// Any damage is seen.
		i := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		b[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		if _, err := decodeSnapshot(b, id); !errors.Is(err, errResume) {
			t.Fatalf("damage at %d: %v", i, err)
		}
		if _, err := decodeSnapshot(b[:i], id); !errors.Is(err, errResume) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	})
}

// A snapshot of version 2 tells of the files, and vouches for nothing.
func TestSnapshotVersion2(t *testing.T) {
	id := testIdentity()
	s := emptySnapshot(7)
	s.clean = true
	s.held.Set(3)
	s.doubtful.Set(5)
	b := s.encode(id)
	old := append(bytes.Clone(b[:16]), 2, 0, 0, 0)
	old = append(old, b[20:snapshotHeader-8]...)
	old = append(old, b[snapshotHeader:][:2*2*8]...)
	le := binary.LittleEndian
	for i := range uint64(3) {
		old = le.AppendUint64(le.AppendUint64(le.AppendUint64(old, 10+i), 20+i), 30+i)
	}
	old = append(le.AppendUint32(old, 1), 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0)
	old = le.AppendUint32(old, crc32.Checksum(old, castagnoli))
	got, err := decodeSnapshot(old, id)
	if err != nil || count(got.held) != 0 || !got.doubtful.Has(3) || !got.doubtful.Has(5) || got.blocks != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	if f := (fileStat{size: 12, mtime: 22, ino: 32}); got.files[2] != f || !got.clean {
		t.Errorf("%+v", got)
	}
	if now := (fileStat{size: 12, mtime: 22, ctime: 9, ino: 32}); got.keeps(2, now, false) {
		t.Error("a file is trusted")
	}
	old[40]++
	if _, err := decodeSnapshot(old, id); !errors.Is(err, errResume) {
		t.Errorf("damaged: %v", err)
	}
}

func TestSnapshotOfAnotherTorrent(t *testing.T) {
	id := testIdentity()
	b := (&snapshot{held: bitset.New(70), doubtful: bitset.New(70), files: make([]fileStat, 3)}).encode(id)
	for name, change := range map[string]func(*identity){
		"hash v1": func(id *identity) { id.v1[3]++ }, "hash v2": func(id *identity) { id.v2[3]++ },
		"piece length": func(id *identity) { id.pieceLen++ }, "pieces": func(id *identity) { id.pieces-- },
		"files": func(id *identity) { id.files++ },
	} {
		other := *id
		change(&other)
		if _, err := decodeSnapshot(b, &other); !errors.Is(err, errResume) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A journal that a crash tore, anywhere, gives what it says before that.
func TestJournalTorn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := testIdentity()
		const gen = 5
		j := appendJournalHeader(nil, gen)
		n := rapid.IntRange(0, 20).Draw(t, "n")
		synced := rapid.IntRange(0, n).Draw(t, "synced")
		for i := range n {
			j = appendRecord(j, gen, uint32(i), uint32(min(i, synced)), record{kind: recHeld, index: uint32(i)})
		}
		cut := rapid.IntRange(journalHeader, len(j)).Draw(t, "cut")
		whole := (cut - journalHeader) / recordLen
		if synced < n && rapid.Bool().Draw(t, "in the midst") { // of what was not synced any sector may be missing
			bad := rapid.IntRange(synced, n-1).Draw(t, "bad")
			clear(j[journalHeader+bad*recordLen:][:recordLen])
			whole = min(whole, bad)
		}
		s := emptySnapshot(gen)
		if err := s.apply(j[:cut], id); err != nil {
			t.Fatal(err)
		}
		for i := range id.pieces {
			if s.held.Has(i) != (i < whole) {
				t.Fatalf("piece %d of %d held: %v", i, whole, s.held.Has(i))
			}
		}
	})
}

func emptySnapshot(gen uint64) *snapshot {
	return &snapshot{gen: gen, time: 100, held: bitset.New(70), doubtful: bitset.New(70), files: make([]fileStat, 3)}
}

func TestJournalRecords(t *testing.T) {
	id := testIdentity()
	const gen = 9
	j := appendJournalHeader(nil, gen)
	for i, r := range []record{
		{kind: recHeld, index: 1, value: 0},
		{kind: recHeld, index: 2, value: 0},
		{kind: recLost, index: 1, value: 0},
		{kind: recSeen, index: 1, value: 5},
		{kind: recSeen, index: 2, value: 77},
		{kind: recSeen, index: 1, value: 0},
		{kind: recHeld, index: 1 << 31, value: 0},
		{kind: recSeen, index: 1 << 31, value: 0},
		{kind: 99, index: 0, value: 0}, // of a later version
	} {
		j = appendRecord(j, gen, uint32(i), 0, r)
	}
	old := appendRecord(nil, gen-1, 9, 0, record{kind: recHeld, index: 3, value: 0})
	s := emptySnapshot(gen)
	s.doubtful.Set(2)
	err := s.apply(append(j, old...), id)
	if err != nil || !bytes.Equal(bits(s.held, 5), []byte("00100")) || s.doubtful.Has(2) || s.marks[2] != 77 || s.marks[1] != 0 {
		t.Errorf("held %s, doubtful %v, marks %v, %v", bits(s.held, 5), s.doubtful, s.marks, err)
	}
	s = emptySnapshot(gen + 1)
	if err := s.apply(j, id); err != nil || s.held.Has(2) {
		t.Error("a journal of another generation is played")
	}
}

// Damage of a record that was synced is noticed, and then nothing is held: the
// record may have taken something back.
func TestJournalDamageIsNoticed(t *testing.T) {
	id := testIdentity()
	const gen, n = 3, 12
	j := appendJournalHeader(nil, gen)
	for i := range n {
		r := record{kind: recHeld, index: uint32(i)}
		if i == 7 {
			r = record{kind: recLost, index: 2}
		}
		j = appendRecord(j, gen, uint32(i), uint32(i), r)
	}
	for at := journalHeader; at < journalHeader+(n-1)*recordLen; at++ {
		b := bytes.Clone(j)
		b[at] ^= 0x10
		s := emptySnapshot(gen)
		s.held.Set(69)
		if err := s.apply(b, id); !errors.Is(err, errResume) || count(s.held) != 0 || !s.doubtful.Has(69) {
			t.Fatalf("flip at %d: %v, held %v", at, err, s.held)
		}
	}
}

func bits(b bitset.Set, n int) (out []byte) {
	for i := range n {
		if b.Has(i) {
			out = append(out, '1')
		} else {
			out = append(out, '0')
		}
	}
	return out
}

// FuzzResume: no snapshot or journal makes the decoders panic or vouch for
// pieces that do not exist, and what decodes encodes to the same bytes.
func FuzzResume(f *testing.F) {
	id := testIdentity()
	s := &snapshot{gen: 1, held: bitset.New(70), doubtful: bitset.New(70), files: make([]fileStat, 3)}
	s.held.Set(69)
	j := appendRecord(appendJournalHeader(nil, 1), 1, 0, 0, record{kind: recHeld, index: 7})
	f.Add(s.encode(id), j)
	f.Add(s.encode(id)[:100], j[:50])
	f.Add([]byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, snap, journal []byte) {
		s, err := decodeSnapshot(snap, id)
		if err != nil {
			s = &snapshot{gen: 1, held: bitset.New(70), doubtful: bitset.New(70), files: make([]fileStat, 3)}
		} else if again := s.encode(id); snap[16] == snapshotVersion && s.clean && !bytes.Equal(again, snap) && snap[20] <= 1 {
			t.Fatal("does not encode to what it was decoded from")
		}
		_ = s.apply(journal, id)
		for _, set := range []bitset.Set{s.held, s.doubtful} {
			if set[1]>>6 != 0 {
				t.Fatal("pieces that do not exist")
			}
		}
	})
}

// FuzzJournal: damage of a journal, anywhere, never makes a piece held, or a
// state of a file vouched for, that was not at some time before; and a piece that
// was given up is held only with a file in an older state than the last.
func FuzzJournal(f *testing.F) {
	f.Add([]byte{1, 1, 3, 2, 1, 0, 4, 0, 1, 1, 2, 0, 2, 1, 0, 4, 0, 2, 1, 1}, uint16(60), byte(0x10), uint16(0))
	f.Add([]byte{1, 1, 4, 0, 1, 2, 1, 4, 0, 2}, uint16(100), byte(1), uint16(3))
	f.Fuzz(func(t *testing.T, script []byte, at uint16, flip byte, cut uint16) {
		id := testIdentity()
		const gen = 4
		j := appendJournalHeader(nil, gen)
		n, mark := uint32(0), uint64(1)
		ever := map[int]bool{}
		states := map[uint64]map[int]bool{0: {}} // by the mark that is the last then: what was held
		whole := emptySnapshot(gen)
		for ; len(script) >= 2 && n < 200; script = script[2:] {
			r := record{kind: recHeld, index: uint32(script[1]) % 70}
			switch script[0] % 4 {
			case 1:
				r.kind = recLost
			case 2: // the file changed: what is held in it is another set from now on
				mark++
				r = record{kind: recSeen, index: 0, value: mark}
			case 3:
				r = record{kind: recSeen, index: 0, value: 0}
			}
			j = appendRecord(j, gen, n, n, r)
			n++
			if r.kind == recHeld {
				ever[int(r.index)] = true
			}
			_ = whole.apply(j, id)
			held := states[whole.marks[0]]
			if held == nil {
				held = map[int]bool{}
				states[whole.marks[0]] = held
			}
			for p := range 70 {
				held[p] = held[p] || whole.held.Has(p)
			}
		}
		b := bytes.Clone(j)
		b[int(at)%len(b)] ^= flip
		b = b[:len(b)-int(cut)%(len(b)+1)]
		s := emptySnapshot(gen)
		err := s.apply(b, id)
		if err != nil && count(s.held) > 0 {
			t.Fatal("a damaged journal vouches for pieces")
		}
		for p := range 70 {
			if s.held.Has(p) && (!ever[p] || !states[s.marks[0]][p]) {
				t.Fatalf("piece %d is held with the mark %d", p, s.marks[0])
			}
		}
	})
}
