package resume

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"torrentfs/internal/bitset"
	"torrentfs/internal/golden"
	"torrentfs/metainfo"
)

// What lies on disk is read by later versions, and by earlier ones when somebody goes back. The
// files in formats hold its bytes. A change of theirs is a new version of the format, with a new
// file: the old one stays, and is still read.
const formats = "testdata/formats/"

// goldenIdentity is of a hybrid torrent whose last word of pieces is not full.
func goldenIdentity() *Identity {
	id := &Identity{PieceLength: 1 << 18, Pieces: 70, BlocksPerPiece: 16, Files: 4}
	for i := range id.V1 {
		id.V1[i] = byte(0x10 + i)
	}
	for i := range id.V2 {
		id.V2[i] = byte(0x80 + i)
	}
	return id
}

func goldenSnapshot(clean bool) *Snapshot {
	id := goldenIdentity()
	s := &Snapshot{
		Clean: clean, Generation: 0x0102030405060708, Time: 1_700_000_000_123_456_789, StateIno: 4711,
		Held: bitset.New(id.Pieces), InDoubt: bitset.New(id.Pieces),
		Files: []FileState{
			{Size: 1_000_000, MTime: 1_700_000_000_000_000_001, CTime: 1_700_000_000_000_000_002, BTime: 1_600_000_000_000_000_003, Ino: 42},
			{Size: FileMissing, Ino: 43},
			{Size: FileMissing},
			{Size: 17_000_000, MTime: -1, CTime: 0, BTime: 0, Ino: 1 << 63},
		},
	}
	for _, p := range []int{0, 1, 5, 63, 64, 69} {
		s.Held.Set(p)
	}
	for _, p := range []int{2, 7, 68} {
		s.InDoubt.Set(p)
	}
	s.addBlock(id, 3, 0, 0x1111222233334444)
	s.addBlock(id, 3, 15, 1)
	s.addBlock(id, 66, 7, 0xffffffffffffffff)
	return s
}

// goldenSnapshot2 is the same snapshot as version 2 had it.
func goldenSnapshot2() []byte {
	s, id := goldenSnapshot(true), goldenIdentity()
	b := s.Encode(id)
	le := binary.LittleEndian
	old := append(le.AppendUint32(bytes.Clone(b[:16]), 2), b[20:snapshotHeader-8]...)
	old = append(old, b[snapshotHeader:][:2*2*8]...)
	for _, f := range s.Files {
		old = le.AppendUint64(old, uint64(f.Size))
		old = le.AppendUint64(old, uint64(f.MTime))
		old = le.AppendUint64(old, f.Ino)
	}
	old = le.AppendUint32(old, 2)
	for _, run := range [][3]uint32{{3, 0, 1}, {66, 7, 2}} {
		for _, v := range run {
			old = le.AppendUint32(old, v)
		}
	}
	return le.AppendUint32(old, crc32.Checksum(old, castagnoli))
}

var goldenRecords = []struct {
	synced uint32
	Record
}{
	{0, Record{Kind: FileOpened, Index: 1, Value: 4242}},
	{0, Record{Kind: Held, Index: 8}},
	{1, Record{Kind: Held, Index: 2}},
	{1, Record{Kind: BlockVerified, Index: 9, Block: 3, Value: 0x0123456789abcdef}},
	{4, Record{Kind: FileSeen, Index: 1, Value: 0xfedcba9876543210}},
	{4, Record{Kind: Lost, Index: 64}},
	{6, Record{Kind: FileSeen, Index: 3}},
	{6, Record{Kind: Held, Index: 66}}, // its blocks are the piece's now
	{6, Record{Kind: 99, Index: 7, Value: 7, Block: 7}},
	{9, Record{Kind: BlockVerified, Index: 9, Block: 4, Value: 2}},
}

func goldenJournal() []byte {
	gen := goldenSnapshot(false).Generation
	j := AppendJournalHeader(nil, gen)
	for i, r := range goldenRecords {
		j = AppendRecord(j, gen, uint32(i), r.synced, r.Record)
	}
	return j
}

// describe says what a snapshot means, for people.
func describe(s *Snapshot) string {
	var b strings.Builder
	pieces := func(set bitset.Set) (out []int) {
		for i := range 64 * len(set) {
			if set.Has(i) {
				out = append(out, i)
			}
		}
		return out
	}
	fmt.Fprintf(&b, "clean %v\ngeneration %#x\ntime %d\nfolder %d\n", s.Clean, s.Generation, s.Time, s.StateIno)
	fmt.Fprintf(&b, "held %v\nin doubt %v\n", pieces(s.Held), pieces(s.InDoubt))
	for i, f := range s.Files {
		fmt.Fprintf(&b, "file %d: size %d mtime %d ctime %d btime %d inode %d mark %016x\n", i, f.Size, f.MTime, f.CTime, f.BTime, f.Ino, f.Mark())
	}
	for _, piece := range slices.Sorted(maps.Keys(s.Blocks)) {
		for _, block := range slices.Sorted(maps.Keys(s.Blocks[piece])) {
			fmt.Fprintf(&b, "piece %d block %d: checksum %016x\n", piece, block, s.Blocks[piece][block])
		}
	}
	for _, i := range slices.Sorted(maps.Keys(s.Marks)) {
		fmt.Fprintf(&b, "journal: file %d has mark %016x\n", i, s.Marks[i])
	}
	for _, i := range slices.Sorted(maps.Keys(s.Inodes)) {
		fmt.Fprintf(&b, "journal: file %d is inode %d\n", i, s.Inodes[i])
	}
	return b.String()
}

// Snapshots are read, and written anew, byte for byte.
func TestGoldenSnapshots(t *testing.T) {
	id := goldenIdentity()
	for name, want := range map[string]*Snapshot{
		"snapshot-v3-clean": goldenSnapshot(true), "snapshot-v3-unclean": goldenSnapshot(false),
	} {
		b := golden.Hex(t, formats+name+".hex", want.Encode(id))
		got, err := DecodeSnapshot(b, id)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s is read as %+v, %v", name, got, err)
		}
		if !bytes.Equal(got.Encode(id), b) {
			t.Errorf("%s is written back otherwise", name)
		}
		golden.Text(t, formats+name+".txt", describe(got))
	}
	got, err := DecodeSnapshot(golden.Hex(t, formats+"snapshot-v2.hex", goldenSnapshot2()), id)
	if err != nil {
		t.Fatal(err)
	}
	golden.Text(t, formats+"snapshot-v2.txt", describe(got))
}

// A journal is read, played onto its snapshot, and written anew, byte for byte.
func TestGoldenJournal(t *testing.T) {
	id, gen := goldenIdentity(), goldenSnapshot(false).Generation
	b := golden.Hex(t, formats+"journal-v2.hex", goldenJournal())
	again := AppendJournalHeader(nil, gen)
	le := binary.LittleEndian
	for rest := b[JournalHeaderLen:]; len(rest) > 0; rest = rest[RecordLen:] {
		again = AppendRecord(again, gen, le.Uint32(rest[16:]), le.Uint32(rest[20:]), Record{
			Kind: RecordKind(le.Uint32(rest)), Index: le.Uint32(rest[4:]), Value: le.Uint64(rest[8:]), Block: le.Uint32(rest[24:]),
		})
	}
	if !bytes.Equal(again, b) {
		t.Error("it is written back otherwise")
	}
	s, err := DecodeSnapshot(goldenSnapshot(false).Encode(id), id)
	if err == nil {
		err = s.Play(b, id)
	}
	if err != nil {
		t.Fatal(err)
	}
	golden.Text(t, formats+"journal-v2.txt", describe(s))
}

// The text files, and what a lock says of its holder.
func TestGoldenText(t *testing.T) {
	files := []metainfo.File{{Path: "top/a"}, {Path: "top/.pad/1", Pad: true}, {Path: "top/b c"}, {Path: "top/d"}}
	names := []string{"top/a", "top/.pad/1", "top/b\u00e9 \"c\"\n", "top.1/d"}
	b := golden.Hex(t, formats+"names-v1.hex", EncodeNames(files, names))
	if got, err := DecodeNames(b, files); err != nil || !slices.Equal(got, names) {
		t.Errorf("names are read as %q, %v", got, err)
	}
	complete := []CatalogueFile{{metainfo.SHA256{1, 2, 3}, 12345, "top/a"}, {metainfo.SHA256{0xff}, 1 << 40, "top/b\u00e9 \"c\""}}
	b = golden.Hex(t, formats+"catalogue-v1.hex", EncodeCatalogue(complete))
	if got, err := DecodeCatalogue(b); err != nil || !slices.Equal(got, complete) {
		t.Errorf("the catalogue is read as %v, %v", got, err)
	}
	owner := Owner{PID: 4711, Started: "0d6f3c3a-boot/12345", Purpose: "torrentfs mount on /mnt/\"film\""}
	b, err := json.Marshal(owner)
	if err != nil {
		t.Fatal(err)
	}
	b = golden.Hex(t, formats+"lock-owner.hex", append(b, '\n'))
	if got, ok := DecodeOwner(b); !ok || got != owner {
		t.Errorf("the lock's owner is read as %+v, %v", got, ok)
	}
}
