package resume

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

func testIdentity() *Identity {
	return &Identity{V1: [20]byte{1, 2}, V2: [32]byte{3}, PieceLength: 1 << 18, Pieces: 70, BlocksPerPiece: 16, Files: 3}
}

func drawSnapshot(t *rapid.T, id *Identity) *Snapshot {
	s := &Snapshot{
		Clean: rapid.Bool().Draw(t, "clean"), Generation: rapid.Uint64().Draw(t, "gen"),
		Time: rapid.Int64().Draw(t, "time"), StateIno: rapid.Uint64().Draw(t, "folder"), Held: bitset.New(id.Pieces), InDoubt: bitset.New(id.Pieces),
		Files: make([]FileState, id.Files),
	}
	for p := range id.Pieces {
		switch rapid.IntRange(0, 2).Draw(t, "piece") {
		case 1:
			s.Held.Set(p)
		case 2:
			s.InDoubt.Set(p)
		}
	}
	for range rapid.IntRange(0, 9).Draw(t, "blocks") {
		piece, block := rapid.IntRange(0, id.Pieces-1).Draw(t, "piece"), rapid.IntRange(0, id.BlocksPerPiece-1).Draw(t, "block")
		s.addBlock(id, int64(piece), int64(block), rapid.Uint64().Draw(t, "sum"))
	}
	for i := range s.Files {
		s.Files[i] = FileState{
			Size: rapid.Int64().Draw(t, "size"), MTime: rapid.Int64().Draw(t, "mtime"),
			CTime: rapid.Int64().Draw(t, "ctime"), BTime: rapid.Int64().Draw(t, "btime"), Ino: rapid.Uint64().Draw(t, "ino"),
		}
	}
	return s
}

func TestSnapshotRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := testIdentity()
		s := drawSnapshot(t, id)
		b := s.Encode(id)
		got, err := DecodeSnapshot(b, id)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("%+v came back as %+v, %v", s, got, err)
		}
		// Any damage is seen.
		i := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		b[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		if _, err := DecodeSnapshot(b, id); !errors.Is(err, ErrInvalid) {
			t.Fatalf("damage at %d: %v", i, err)
		}
		if _, err := DecodeSnapshot(b[:i], id); !errors.Is(err, ErrInvalid) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	})
}

// A snapshot of version 2 tells of the files, and vouches for nothing.
func TestSnapshotVersion2(t *testing.T) {
	id := testIdentity()
	s := emptySnapshot(7)
	s.Clean = true
	s.Held.Set(3)
	s.InDoubt.Set(5)
	b := s.Encode(id)
	old := append(bytes.Clone(b[:16]), 2, 0, 0, 0)
	old = append(old, b[20:snapshotHeader-8]...)
	old = append(old, b[snapshotHeader:][:2*2*8]...)
	le := binary.LittleEndian
	for i := range uint64(3) {
		old = le.AppendUint64(le.AppendUint64(le.AppendUint64(old, 10+i), 20+i), 30+i)
	}
	old = append(le.AppendUint32(old, 1), 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0)
	old = le.AppendUint32(old, crc32.Checksum(old, castagnoli))
	got, err := DecodeSnapshot(old, id)
	if err != nil || got.Held.Count() != 0 || !got.InDoubt.Has(3) || !got.InDoubt.Has(5) || got.Blocks != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	if f := (FileState{Size: 12, MTime: 22, Ino: 32}); got.Files[2] != f || !got.Clean {
		t.Errorf("%+v", got)
	}
	if now := (FileState{Size: 12, MTime: 22, CTime: 9, Ino: 32}); got.Keeps(2, now, false) {
		t.Error("a file is trusted")
	}
	old[40]++
	if _, err := DecodeSnapshot(old, id); !errors.Is(err, ErrInvalid) {
		t.Errorf("damaged: %v", err)
	}
}

func TestSnapshotOfAnotherTorrent(t *testing.T) {
	id := testIdentity()
	b := (&Snapshot{Held: bitset.New(70), InDoubt: bitset.New(70), Files: make([]FileState, 3)}).Encode(id)
	for name, change := range map[string]func(*Identity){
		"hash v1": func(id *Identity) { id.V1[3]++ }, "hash v2": func(id *Identity) { id.V2[3]++ },
		"piece length": func(id *Identity) { id.PieceLength++ }, "pieces": func(id *Identity) { id.Pieces-- },
		"files": func(id *Identity) { id.Files++ },
	} {
		other := *id
		change(&other)
		if _, err := DecodeSnapshot(b, &other); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A journal that a crash tore, anywhere, gives what it says before that.
func TestJournalTorn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := testIdentity()
		const gen = 5
		j := AppendJournalHeader(nil, gen)
		n := rapid.IntRange(0, 20).Draw(t, "n")
		synced := rapid.IntRange(0, n).Draw(t, "synced")
		for i := range n {
			j = AppendRecord(j, gen, uint32(i), uint32(min(i, synced)), Record{Kind: Held, Index: uint32(i)})
		}
		cut := rapid.IntRange(JournalHeaderLen, len(j)).Draw(t, "cut")
		whole := (cut - JournalHeaderLen) / RecordLen
		if synced < n && rapid.Bool().Draw(t, "in the midst") { // of what was not synced any sector may be missing
			bad := rapid.IntRange(synced, n-1).Draw(t, "bad")
			clear(j[JournalHeaderLen+bad*RecordLen:][:RecordLen])
			whole = min(whole, bad)
		}
		s := emptySnapshot(gen)
		if err := s.Play(j[:cut], id); err != nil {
			t.Fatal(err)
		}
		for i := range id.Pieces {
			if s.Held.Has(i) != (i < whole) {
				t.Fatalf("piece %d of %d held: %v", i, whole, s.Held.Has(i))
			}
		}
	})
}

func emptySnapshot(gen uint64) *Snapshot {
	return &Snapshot{Generation: gen, Time: 100, Held: bitset.New(70), InDoubt: bitset.New(70), Files: make([]FileState, 3)}
}

func TestJournalRecords(t *testing.T) {
	id := testIdentity()
	const gen = 9
	j := AppendJournalHeader(nil, gen)
	for i, r := range []Record{
		{Kind: Held, Index: 1, Value: 0},
		{Kind: Held, Index: 2, Value: 0},
		{Kind: Lost, Index: 1, Value: 0},
		{Kind: FileSeen, Index: 1, Value: 5},
		{Kind: FileSeen, Index: 2, Value: 77},
		{Kind: FileSeen, Index: 1, Value: 0},
		{Kind: Held, Index: 1 << 31, Value: 0},
		{Kind: FileSeen, Index: 1 << 31, Value: 0},
		{Kind: 99, Index: 0, Value: 0}, // of a later version
	} {
		j = AppendRecord(j, gen, uint32(i), 0, r)
	}
	old := AppendRecord(nil, gen-1, 9, 0, Record{Kind: Held, Index: 3, Value: 0})
	s := emptySnapshot(gen)
	s.InDoubt.Set(2)
	err := s.Play(append(j, old...), id)
	if err != nil || !bytes.Equal(bits(s.Held, 5), []byte("00100")) || s.InDoubt.Has(2) || s.Marks[2] != 77 || s.Marks[1] != 0 {
		t.Errorf("held %s, doubtful %v, marks %v, %v", bits(s.Held, 5), s.InDoubt, s.Marks, err)
	}
	s = emptySnapshot(gen + 1)
	if err := s.Play(j, id); err != nil || s.Held.Has(2) {
		t.Error("a journal of another generation is played")
	}
}

// Damage of a record that was synced is noticed, and then nothing is held: the
// record may have taken something back.
func TestJournalDamageIsNoticed(t *testing.T) {
	id := testIdentity()
	const gen, n = 3, 12
	j := AppendJournalHeader(nil, gen)
	for i := range n {
		r := Record{Kind: Held, Index: uint32(i)}
		if i == 7 {
			r = Record{Kind: Lost, Index: 2}
		}
		j = AppendRecord(j, gen, uint32(i), uint32(i), r)
	}
	for at := JournalHeaderLen; at < JournalHeaderLen+(n-1)*RecordLen; at++ {
		b := bytes.Clone(j)
		b[at] ^= 0x10
		s := emptySnapshot(gen)
		s.Held.Set(69)
		if err := s.Play(b, id); !errors.Is(err, ErrInvalid) || s.Held.Count() != 0 || !s.InDoubt.Has(69) {
			t.Fatalf("flip at %d: %v, held %v", at, err, s.Held)
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
	s := &Snapshot{Generation: 1, Held: bitset.New(70), InDoubt: bitset.New(70), Files: make([]FileState, 3)}
	s.Held.Set(69)
	j := AppendRecord(AppendJournalHeader(nil, 1), 1, 0, 0, Record{Kind: Held, Index: 7})
	f.Add(s.Encode(id), j)
	f.Add(s.Encode(id)[:100], j[:50])
	f.Add([]byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, snap, journal []byte) {
		s, err := DecodeSnapshot(snap, id)
		if err != nil {
			s = &Snapshot{Generation: 1, Held: bitset.New(70), InDoubt: bitset.New(70), Files: make([]FileState, 3)}
		} else if again := s.Encode(id); snap[16] == snapshotVersion && s.Clean && !bytes.Equal(again, snap) && snap[20] <= 1 {
			t.Fatal("does not encode to what it was decoded from")
		}
		_ = s.Play(journal, id)
		for _, set := range []bitset.Set{s.Held, s.InDoubt} {
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
		j := AppendJournalHeader(nil, gen)
		n, mark := uint32(0), uint64(1)
		ever := map[int]bool{}
		states := map[uint64]map[int]bool{0: {}} // by the mark that is the last then: what was held
		whole := emptySnapshot(gen)
		for ; len(script) >= 2 && n < 200; script = script[2:] {
			r := Record{Kind: Held, Index: uint32(script[1]) % 70}
			switch script[0] % 4 {
			case 1:
				r.Kind = Lost
			case 2: // the file changed: what is held in it is another set from now on
				mark++
				r = Record{Kind: FileSeen, Index: 0, Value: mark}
			case 3:
				r = Record{Kind: FileSeen, Index: 0, Value: 0}
			}
			j = AppendRecord(j, gen, n, n, r)
			n++
			if r.Kind == Held {
				ever[int(r.Index)] = true
			}
			_ = whole.Play(j, id)
			held := states[whole.Marks[0]]
			if held == nil {
				held = map[int]bool{}
				states[whole.Marks[0]] = held
			}
			for p := range 70 {
				held[p] = held[p] || whole.Held.Has(p)
			}
		}
		b := bytes.Clone(j)
		b[int(at)%len(b)] ^= flip
		b = b[:len(b)-int(cut)%(len(b)+1)]
		s := emptySnapshot(gen)
		err := s.Play(b, id)
		if err != nil && s.Held.Count() > 0 {
			t.Fatal("a damaged journal vouches for pieces")
		}
		for p := range 70 {
			if s.Held.Has(p) && (!ever[p] || !states[s.Marks[0]][p]) {
				t.Fatalf("piece %d is held with the mark %d", p, s.Marks[0])
			}
		}
	})
}
