package cache

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"torrentfs/internal/bitset"
	"torrentfs/internal/crashfs"
	"torrentfs/metainfo"
)

// What lies on disk is read by later versions, and by earlier ones when somebody goes back. These
// files hold its bytes. A change of theirs is a new version of the format, with a new file: the old
// one stays, and is still read.
var update = flag.Bool("update", false, "write the golden files anew")

const formats = "testdata/formats"

// golden compares bytes with those of a golden file, which is a dump in hexadecimal.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		writeGolden(t, name+".hex", hex.Dump(got))
	}
	if want := goldenBytes(t, name); !bytes.Equal(got, want) {
		t.Errorf("%s: the bytes on disk are others now:\n%s", name, hex.Dump(got))
	}
}

// goldenText compares what was decoded, in words.
func goldenText(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		writeGolden(t, name+".txt", got)
	}
	want, err := os.ReadFile(filepath.Join(formats, name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is read as\n%swant\n%s", name, got, want)
	}
}

func writeGolden(t *testing.T, name, text string) {
	t.Helper()
	name = filepath.Join(formats, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func goldenBytes(t *testing.T, name string) (b []byte) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(formats, name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		_, line, found := strings.Cut(line, "  ")
		line, _, _ = strings.Cut(line, "|")
		if !found {
			continue // the number of bytes
		}
		if b, err = hex.AppendDecode(b, []byte(strings.Join(strings.Fields(line), ""))); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

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
		golden(t, name, want.Encode(id))
		b := goldenBytes(t, name)
		got, err := DecodeSnapshot(b, id)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s is read as %+v, %v", name, got, err)
		}
		if !bytes.Equal(got.Encode(id), b) {
			t.Errorf("%s is written back otherwise", name)
		}
		goldenText(t, name, describe(got))
	}
	golden(t, "snapshot-v2", goldenSnapshot2())
	got, err := DecodeSnapshot(goldenBytes(t, "snapshot-v2"), id)
	if err != nil {
		t.Fatal(err)
	}
	goldenText(t, "snapshot-v2", describe(got))
}

// A journal is read, played onto its snapshot, and written anew, byte for byte.
func TestGoldenJournal(t *testing.T) {
	id, gen := goldenIdentity(), goldenSnapshot(false).Generation
	golden(t, "journal-v2", goldenJournal())
	b := goldenBytes(t, "journal-v2")
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
	s, err := DecodeSnapshot(goldenBytes(t, "snapshot-v3-unclean"), id)
	if err == nil {
		err = s.Play(b, id)
	}
	if err != nil {
		t.Fatal(err)
	}
	goldenText(t, "journal-v2", describe(s))
}

// The text files, and what a lock says of its holder.
func TestGoldenText(t *testing.T) {
	files := []metainfo.File{{Path: "top/a"}, {Path: "top/.pad/1", Pad: true}, {Path: "top/b c"}, {Path: "top/d"}}
	names := []string{"top/a", "top/.pad/1", "top/b\u00e9 \"c\"\n", "top.1/d"}
	golden(t, "names-v1", EncodeNames(files, names))
	if got, err := DecodeNames(goldenBytes(t, "names-v1"), files); err != nil || !slices.Equal(got, names) {
		t.Errorf("names are read as %q, %v", got, err)
	}
	complete := []CatalogueFile{{metainfo.SHA256{1, 2, 3}, 12345, "top/a"}, {metainfo.SHA256{0xff}, 1 << 40, "top/b\u00e9 \"c\""}}
	golden(t, "catalogue-v1", EncodeCatalogue(complete))
	if got, err := DecodeCatalogue(goldenBytes(t, "catalogue-v1")); err != nil || !slices.Equal(got, complete) {
		t.Errorf("the catalogue is read as %v, %v", got, err)
	}
	owner := Owner{PID: 4711, Started: "0d6f3c3a-boot/12345", Purpose: "torrentfs mount on /mnt/\"film\""}
	b, err := json.Marshal(owner)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "lock-owner", append(b, '\n'))
	if got, ok := DecodeOwner(goldenBytes(t, "lock-owner")); !ok || got != owner {
		t.Errorf("the lock's owner is read as %+v, %v", got, ok)
	}
}

// filesOfState are the files in the state directory of a disk, by their ends.
func filesOfState(t *testing.T, disk *crashfs.FS, tor *torrent) map[string][]byte {
	t.Helper()
	out := make(map[string][]byte)
	for _, end := range []string{".resume", ".journal", ".names", ".files"} {
		f, err := disk.OpenFile(StateDir+"/"+tor.Hash.String()+end, os.O_RDONLY, 0)
		if err != nil {
			continue
		}
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, st.Size)
		if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		out[end] = b
	}
	return out
}

// goldenFiles compares the files in the state directory; none is missing, and none is more.
func goldenFiles(t *testing.T, name string, files map[string][]byte) {
	t.Helper()
	for end, b := range files {
		golden(t, name+end, b)
	}
	if all, _ := filepath.Glob(filepath.Join(formats, name+".*.hex")); len(all) != len(files) {
		t.Errorf("%s: %d files in the state directory, want %q", name, len(files), all)
	}
}

// goldenRun has a store do something on a disk, and compares what it left in the state directory.
func goldenRun(t *testing.T, name string, tor *torrent, disk *crashfs.FS, run func(s *Store)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Open(tor.Info, Options{FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		run(s)
		goldenFiles(t, name+"-running", filesOfState(t, disk, tor))
		closeStore(t, s)
		goldenFiles(t, name+"-closed", filesOfState(t, disk, tor))
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// What whole runs leave on disk: a new torrent, the same again with a file that was changed and
// with pieces that are lost, one with blocks that are verified by themselves and a file that is complete.
func TestGoldenRuns(t *testing.T) {
	tor, disk := mixed(t), crashfs.New()
	goldenRun(t, "run-new", tor, disk, func(s *Store) {
		for _, p := range []int{3, 0, 5} {
			tor.fetch(s, p)
			syncStore(t, s)
		}
		tor.put(s, 1) // not verified
		tor.fetch(s, 2)
		syncStore(t, s)
	})
	goldenRun(t, "run-again", tor, disk, func(s *Store) {
		tor.fetch(s, 4)
		syncStore(t, s)
		change(t, disk, s.Path(0), "x")
		if n := len(s.Doubt(0, ErrChanged)); n == 0 {
			t.Error("nothing is in doubt")
		}
		syncStore(t, s)
		s.Discard(0)
	})
	two, disk := newTorrentV2(t, 64<<10, 50_000, 200_000), crashfs.New()
	goldenRun(t, "run-v2", two, disk, func(s *Store) {
		two.fetch(s, 0)
		for b := range 3 {
			s.Put(2, b, two.block(2, b))
			s.CommitBlock(2, b)
		}
		syncStore(t, s)
	})
}

// change is another program that writes to a file.
func change(t *testing.T, disk *crashfs.FS, name, text string) {
	t.Helper()
	disk.Others(func() {
		f, err := disk.OpenFile(name, os.O_RDWR, 0)
		if err == nil {
			_, err = f.WriteAt([]byte(text), 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}
