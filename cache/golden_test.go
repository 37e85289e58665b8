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
func goldenIdentity() *identity {
	id := &identity{pieceLen: 1 << 18, pieces: 70, perPiece: 16, files: 4}
	for i := range id.v1 {
		id.v1[i] = byte(0x10 + i)
	}
	for i := range id.v2 {
		id.v2[i] = byte(0x80 + i)
	}
	return id
}

func goldenSnapshot(clean bool) *snapshot {
	id := goldenIdentity()
	s := &snapshot{
		clean: clean, gen: 0x0102030405060708, time: 1_700_000_000_123_456_789, stateIno: 4711,
		held: bitset.New(id.pieces), doubtful: bitset.New(id.pieces),
		files: []fileStat{
			{size: 1_000_000, mtime: 1_700_000_000_000_000_001, ctime: 1_700_000_000_000_000_002, btime: 1_600_000_000_000_000_003, ino: 42},
			{size: fileMissing, ino: 43},
			{size: fileMissing},
			{size: 17_000_000, mtime: -1, ctime: 0, btime: 0, ino: 1 << 63},
		},
	}
	for _, p := range []int{0, 1, 5, 63, 64, 69} {
		s.held.Set(p)
	}
	for _, p := range []int{2, 7, 68} {
		s.doubtful.Set(p)
	}
	s.addBlock(id, 3, 0, 0x1111222233334444)
	s.addBlock(id, 3, 15, 1)
	s.addBlock(id, 66, 7, 0xffffffffffffffff)
	return s
}

// goldenSnapshot2 is the same snapshot as version 2 had it.
func goldenSnapshot2() []byte {
	s, id := goldenSnapshot(true), goldenIdentity()
	b := s.encode(id)
	le := binary.LittleEndian
	old := append(le.AppendUint32(bytes.Clone(b[:16]), 2), b[20:snapshotHeader-8]...)
	old = append(old, b[snapshotHeader:][:2*2*8]...)
	for _, f := range s.files {
		old = le.AppendUint64(old, uint64(f.size))
		old = le.AppendUint64(old, uint64(f.mtime))
		old = le.AppendUint64(old, f.ino)
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
	record
}{
	{0, record{kind: recFile, index: 1, value: 4242}},
	{0, record{kind: recHeld, index: 8}},
	{1, record{kind: recHeld, index: 2}},
	{1, record{kind: recBlock, index: 9, block: 3, value: 0x0123456789abcdef}},
	{4, record{kind: recSeen, index: 1, value: 0xfedcba9876543210}},
	{4, record{kind: recLost, index: 64}},
	{6, record{kind: recSeen, index: 3}},
	{6, record{kind: recHeld, index: 66}}, // its blocks are the piece's now
	{6, record{kind: 99, index: 7, value: 7, block: 7}},
	{9, record{kind: recBlock, index: 9, block: 4, value: 2}},
}

func goldenJournal() []byte {
	gen := goldenSnapshot(false).gen
	j := appendJournalHeader(nil, gen)
	for i, r := range goldenRecords {
		j = appendRecord(j, gen, uint32(i), r.synced, r.record)
	}
	return j
}

// describe says what a snapshot means, for people.
func describe(s *snapshot) string {
	var b strings.Builder
	pieces := func(set bitset.Set) (out []int) {
		for i := range 64 * len(set) {
			if set.Has(i) {
				out = append(out, i)
			}
		}
		return out
	}
	fmt.Fprintf(&b, "clean %v\ngeneration %#x\ntime %d\nfolder %d\n", s.clean, s.gen, s.time, s.stateIno)
	fmt.Fprintf(&b, "held %v\nin doubt %v\n", pieces(s.held), pieces(s.doubtful))
	for i, f := range s.files {
		fmt.Fprintf(&b, "file %d: size %d mtime %d ctime %d btime %d inode %d mark %016x\n", i, f.size, f.mtime, f.ctime, f.btime, f.ino, f.mark())
	}
	for _, piece := range slices.Sorted(maps.Keys(s.blocks)) {
		for _, block := range slices.Sorted(maps.Keys(s.blocks[piece])) {
			fmt.Fprintf(&b, "piece %d block %d: checksum %016x\n", piece, block, s.blocks[piece][block])
		}
	}
	for _, i := range slices.Sorted(maps.Keys(s.marks)) {
		fmt.Fprintf(&b, "journal: file %d has mark %016x\n", i, s.marks[i])
	}
	for _, i := range slices.Sorted(maps.Keys(s.inodes)) {
		fmt.Fprintf(&b, "journal: file %d is inode %d\n", i, s.inodes[i])
	}
	return b.String()
}

// Snapshots are read, and written anew, byte for byte.
func TestGoldenSnapshots(t *testing.T) {
	id := goldenIdentity()
	for name, want := range map[string]*snapshot{
		"snapshot-v3-clean": goldenSnapshot(true), "snapshot-v3-unclean": goldenSnapshot(false),
	} {
		golden(t, name, want.encode(id))
		b := goldenBytes(t, name)
		got, err := decodeSnapshot(b, id)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s is read as %+v, %v", name, got, err)
		}
		if !bytes.Equal(got.encode(id), b) {
			t.Errorf("%s is written back otherwise", name)
		}
		goldenText(t, name, describe(got))
	}
	golden(t, "snapshot-v2", goldenSnapshot2())
	got, err := decodeSnapshot(goldenBytes(t, "snapshot-v2"), id)
	if err != nil {
		t.Fatal(err)
	}
	goldenText(t, "snapshot-v2", describe(got))
}

// A journal is read, played onto its snapshot, and written anew, byte for byte.
func TestGoldenJournal(t *testing.T) {
	id, gen := goldenIdentity(), goldenSnapshot(false).gen
	golden(t, "journal-v2", goldenJournal())
	b := goldenBytes(t, "journal-v2")
	again := appendJournalHeader(nil, gen)
	le := binary.LittleEndian
	for rest := b[journalHeader:]; len(rest) > 0; rest = rest[recordLen:] {
		again = appendRecord(again, gen, le.Uint32(rest[16:]), le.Uint32(rest[20:]), record{
			kind: recordKind(le.Uint32(rest)), index: le.Uint32(rest[4:]), value: le.Uint64(rest[8:]), block: le.Uint32(rest[24:]),
		})
	}
	if !bytes.Equal(again, b) {
		t.Error("it is written back otherwise")
	}
	s, err := decodeSnapshot(goldenBytes(t, "snapshot-v3-unclean"), id)
	if err == nil {
		err = s.apply(b, id)
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
	golden(t, "names-v1", encodeNames(files, names))
	if got, err := decodeNames(goldenBytes(t, "names-v1"), files); err != nil || !slices.Equal(got, names) {
		t.Errorf("names are read as %q, %v", got, err)
	}
	complete := []catalogued{{metainfo.SHA256{1, 2, 3}, 12345, "top/a"}, {metainfo.SHA256{0xff}, 1 << 40, "top/b\u00e9 \"c\""}}
	golden(t, "catalogue-v1", encodeCatalogue(complete))
	if got, err := decodeCatalogue(goldenBytes(t, "catalogue-v1")); err != nil || !slices.Equal(got, complete) {
		t.Errorf("the catalogue is read as %v, %v", got, err)
	}
	owner := lockOwner{PID: 4711, Started: "0d6f3c3a-boot/12345", Purpose: "torrentfs mount on /mnt/\"film\""}
	b, err := json.Marshal(owner)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "lock-owner", append(b, '\n'))
	if got, ok := parseOwner(goldenBytes(t, "lock-owner")); !ok || got != owner {
		t.Errorf("the lock's owner is read as %+v, %v", got, ok)
	}
}

// stateFiles are the files in the state directory of a disk, by their ends.
func stateFiles(t *testing.T, disk *crashfs.FS, tor *torrent) map[string][]byte {
	t.Helper()
	out := make(map[string][]byte)
	for _, end := range []string{".resume", ".journal", ".names", ".files"} {
		f, err := disk.OpenFile(stateDir+"/"+tor.Hash.String()+end, os.O_RDONLY, 0)
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
		goldenFiles(t, name+"-running", stateFiles(t, disk, tor))
		closeStore(t, s)
		goldenFiles(t, name+"-closed", stateFiles(t, disk, tor))
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
