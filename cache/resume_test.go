package cache

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func testIdentity() *identity {
	return &identity{v1: [20]byte{1, 2}, v2: [32]byte{3}, pieceLen: 1 << 18, pieces: 70, perPiece: 16, files: 3}
}

func drawSnapshot(t *rapid.T, id *identity) *snapshot {
	s := &snapshot{
		clean: rapid.Bool().Draw(t, "clean"), gen: rapid.Uint64().Draw(t, "gen"),
		time: rapid.Int64().Draw(t, "time"), held: newBitset(id.pieces), doubtful: newBitset(id.pieces),
		files: make([]fileStat, id.files),
	}
	for p := range id.pieces {
		switch rapid.IntRange(0, 2).Draw(t, "piece") {
		case 1:
			s.held.set(p)
		case 2:
			s.doubtful.set(p)
		}
	}
	for range rapid.IntRange(0, 4).Draw(t, "runs") {
		first := rapid.IntRange(0, id.perPiece-1).Draw(t, "first")
		count := rapid.IntRange(1, id.perPiece-first).Draw(t, "count")
		s.addBlocks(id, int64(rapid.IntRange(0, id.pieces-1).Draw(t, "piece")), int64(first), int64(count))
	}
	for i := range s.files {
		s.files[i] = fileStat{rapid.Int64().Draw(t, "size"), rapid.Int64().Draw(t, "mtime"), rapid.Uint64().Draw(t, "ino")}
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

func TestSnapshotOfAnotherTorrent(t *testing.T) {
	id := testIdentity()
	b := (&snapshot{held: newBitset(70), doubtful: newBitset(70), files: make([]fileStat, 3)}).encode(id)
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

// A journal cut or damaged anywhere gives what its whole records say.
func TestJournalDamage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := testIdentity()
		const gen = 5
		j := appendJournalHeader(nil, gen)
		n := rapid.IntRange(0, 20).Draw(t, "n")
		for i := range n {
			j = appendRecord(j, gen, uint32(i), record{kind: recHeld, index: uint32(i)})
		}
		cut := rapid.IntRange(journalHeader, len(j)).Draw(t, "cut")
		bad := rapid.IntRange(-1, n-1).Draw(t, "bad")
		if bad >= 0 {
			j[journalHeader+bad*recordLen+rapid.IntRange(0, recordLen-1).Draw(t, "at")] ^= 0x40
		}
		s := &snapshot{gen: gen, held: newBitset(id.pieces), doubtful: newBitset(id.pieces), files: make([]fileStat, 3)}
		s.apply(j[:cut], id)
		for i := range id.pieces {
			want := i < (cut-journalHeader)/recordLen && i != bad
			if s.held.has(i) != want {
				t.Fatalf("piece %d held: %v", i, !want)
			}
		}
	})
}

func TestJournalRecords(t *testing.T) {
	id := testIdentity()
	const gen = 9
	j := appendJournalHeader(nil, gen)
	for i, r := range []record{
		{recHeld, 1, 0},
		{recHeld, 2, 0},
		{recLost, 1, 0},
		{recAlive, 0, 300},
		{recAlive, 0, 200},
		{recFile, 2, 77},
		{recHeld, 1 << 31, 0},
		{recFile, 1 << 31, 0},
		{99, 0, 0}, // of a later version
	} {
		j = appendRecord(j, gen, uint32(i), r)
	}
	old := appendRecord(nil, gen-1, 0, record{recHeld, 3, 0})
	s := &snapshot{gen: gen, time: 100, held: newBitset(70), doubtful: newBitset(70), files: make([]fileStat, 3)}
	s.doubtful.set(2)
	alive := s.apply(append(j, old...), id)
	if alive != 300 || !bytes.Equal(bits(s.held, 5), []byte("00100")) || s.doubtful.has(2) || s.files[2].ino != 77 {
		t.Errorf("alive %d, held %s, doubtful %v, files %v", alive, bits(s.held, 5), s.doubtful, s.files)
	}
	s = &snapshot{gen: gen + 1, time: 100, held: newBitset(70), doubtful: newBitset(70), files: make([]fileStat, 3)}
	if alive := s.apply(j, id); alive != 100 || s.held.has(2) {
		t.Error("a journal of another generation is played")
	}
}

func bits(b bitset, n int) (out []byte) {
	for i := range n {
		if b.has(i) {
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
	s := &snapshot{gen: 1, held: newBitset(70), doubtful: newBitset(70), files: make([]fileStat, 3)}
	s.held.set(69)
	j := appendRecord(appendJournalHeader(nil, 1), 1, 0, record{kind: recHeld, index: 7})
	f.Add(s.encode(id), j)
	f.Add(s.encode(id)[:100], j[:50])
	f.Add([]byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, snap, journal []byte) {
		s, err := decodeSnapshot(snap, id)
		if err != nil {
			s = &snapshot{gen: 1, held: newBitset(70), doubtful: newBitset(70), files: make([]fileStat, 3)}
		} else if again := s.encode(id); s.clean && !bytes.Equal(again, snap) && snap[20] <= 1 {
			t.Fatal("does not encode to what it was decoded from")
		}
		s.apply(journal, id)
		for _, set := range []bitset{s.held, s.doubtful} {
			if set[1]>>6 != 0 {
				t.Fatal("pieces that do not exist")
			}
		}
	})
}
