package metainfo

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memFile is content in memory that notices whether it is closed.
type memFile struct {
	*bytes.Reader
	open *atomic.Int32
}

func (f memFile) Close() error { f.open.Add(-1); return nil }

// source makes a SourceFile of n bytes that depend on the path alone.
func source(path string, n int, open *atomic.Int32) SourceFile {
	data := content(path, n)
	f := SourceFile{Length: int64(n), Open: func() (Content, error) {
		open.Add(1)
		return memFile{bytes.NewReader(data), open}, nil
	}}
	if path != "" {
		f.Path = strings.Split(path, "/")
	}
	return f
}

func content(path string, n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8(sha256.Sum256([]byte(path))).Read(data)
	return data
}

var sampleFiles = []struct {
	path string
	n    int
}{
	{"a/z", 100}, {"a.b", 40_000}, {"a/y", 5}, {"b", 0}, {"C", 16384}, {"big", 300_001}, {"ü/ñ", 70_000}, {"zero", 0},
}

// sampleStream is the piece space of the samples (sorted), with gaps filled up if files are
// aligned.
func sampleStream(align int) (stream []byte) {
	for _, i := range []int{4, 2, 0, 1, 3, 5, 7, 6} {
		f := sampleFiles[i]
		if align > 0 && f.n > 0 {
			stream = append(stream, make([]byte, -len(stream)&(align-1))...)
		}
		stream = append(stream, content(f.path, f.n)...)
	}
	return stream
}

// slowRoot computes a pieces root as BEP 52 defines it, level by level over
// all leaves.
func slowRoot(data []byte) SHA256 {
	var level []SHA256
	for len(data) > 0 {
		k := min(len(data), BlockSize)
		level = append(level, sha256.Sum256(data[:k]))
		data = data[k:]
	}
	for len(level)&(len(level)-1) != 0 {
		level = append(level, SHA256{})
	}
	for len(level) > 1 {
		var up []SHA256
		for i := 0; i < len(level); i += 2 {
			up = append(up, sha256.Sum256(append(level[i][:], level[i+1][:]...)))
		}
		level = up
	}
	return level[0]
}

func TestCreate(t *testing.T) {
	for _, version := range []Version{V1, V2, Hybrid} {
		for _, pieceLength := range []int{16384, 65536, 1 << 20} {
			for _, workers := range []int{1, 4} {
				t.Run(fmt.Sprintf("%v/%d/%d", version, pieceLength, workers), func(t *testing.T) {
					testCreate(t, version, pieceLength, workers)
				})
			}
		}
	}
}

func testCreate(t *testing.T, version Version, pieceLength, workers int) {
	var open atomic.Int32
	var progress []int64
	spec := CreateSpec{
		Name: "sample", Version: version, PieceLength: int64(pieceLength), Workers: workers,
		Trackers: [][]string{{"http://a/announce", "udp://b:1"}, {"http://c/announce"}}, WebSeeds: []string{"http://w/"},
		Comment: "c", Source: "s", CreatedBy: "test", Created: time.Unix(1e9, 0), Private: true, Nodes: []string{"[::1]:6881"},
		Progress: func(done, total int64) { progress = append(progress, done, total) },
	}
	for _, f := range sampleFiles {
		spec.Files = append(spec.Files, source(f.path, f.n, &open))
	}
	data, err := Create(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d files left open", n)
	}
	m, err := Parse(data, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, m.Info)
	checkHashes(t, m, pieceLength)
	if n := len(progress); progress[n-2] != 426_490 || progress[n-1] != 426_490 || progress[1] != 426_490 {
		t.Errorf("progress ended with %v", progress[n-2:])
	}
	want := &MetaInfo{
		Trackers: spec.Trackers, WebSeeds: spec.WebSeeds, Comment: "c", CreatedBy: "test",
		Created: spec.Created.UTC(), Nodes: spec.Nodes,
	}
	m.PieceLayers = nil
	info := m.Info
	m.Info = nil
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
	if !info.Private || info.Source != "s" || info.TotalLength() != 426_490 {
		t.Errorf("private %v, source %q, %d bytes", info.Private, info.Source, info.TotalLength())
	}
}

// checkHashes compares the hashes of a torrent of the samples with ones that
// are computed another way.
func checkHashes(t *testing.T, m *MetaInfo, pieceLength int) {
	t.Helper()
	info := m.Info
	align := 0
	if info.Hash.HasV2 {
		align = pieceLength
	}
	stream := sampleStream(align)
	if int64(len(stream)) != info.Size() {
		t.Fatalf("piece space of %d bytes, want %d", info.Size(), len(stream))
	}
	if info.Hash.HasV1 {
		for p := range info.NumPieces() {
			piece := stream[p*pieceLength : min(len(stream), (p+1)*pieceLength)]
			if info.PieceSHA1(p) != SHA1(sha1.Sum(piece)) {
				t.Errorf("SHA-1 of piece %d is wrong", p)
			}
		}
	}
	if !info.Hash.HasV2 {
		return
	}
	for i := range info.Files {
		f := &info.Files[i]
		if f.Length == 0 || f.Pad {
			continue
		}
		data := stream[f.Offset : f.Offset+f.Length]
		if f.PiecesRoot != slowRoot(data) {
			t.Errorf("root of %s is wrong", f.Path)
		}
		layer := m.PieceLayers[f.PiecesRoot]
		if f.Length <= int64(pieceLength) {
			if layer != nil {
				t.Errorf("%s of one piece has a layer", f.Path)
			}
			continue
		}
		for k, node := range layer {
			var leaves []SHA256
			for b := k * pieceLength; b < min(len(data), (k+1)*pieceLength); b += BlockSize {
				leaves = append(leaves, sha256.Sum256(data[b:min(len(data), b+BlockSize)]))
			}
			if PieceHash(leaves, LevelOf(int64(pieceLength))) != node {
				t.Errorf("%s: node of piece %d is wrong", f.Path, k)
			}
		}
	}
}

func TestCreateSingle(t *testing.T) {
	for _, version := range []Version{V1, V2, Hybrid} {
		for _, n := range []int{1, BlockSize, BlockSize + 1, 100_000} {
			var open atomic.Int32
			f := source("", n, &open)
			f.Executable, f.ModTime = true, time.Unix(1e9, 0).UTC()
			data, err := Create(context.Background(), CreateSpec{Name: "file.bin", Version: version, Files: []SourceFile{f}})
			if err != nil {
				t.Fatal(err)
			}
			m, err := Parse(data, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			i := m.Info
			got := i.Files[0]
			if !i.Single || len(i.Files) != 1 || got.Path != "file.bin" || got.Length != int64(n) || !got.Executable || !got.ModTime.Equal(f.ModTime) {
				t.Errorf("%v: %+v", version, got)
			}
			if i.Hash.HasV2 && got.PiecesRoot != slowRoot(content("", n)) {
				t.Errorf("%v: wrong root of %d bytes", version, n)
			}
		}
	}
}

func TestCreateAlign(t *testing.T) {
	var open atomic.Int32
	data, err := Create(context.Background(), CreateSpec{
		Name: "t", Align: true, PieceLength: 3 * BlockSize, // v1 need not have a power of two
		Files: []SourceFile{source("b", 60_000, &open), source("a", 10, &open)},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(data, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	i := m.Info
	if len(i.Files) != 3 || !i.Files[1].Pad || i.Files[1].Length != 3*BlockSize-10 || i.Files[2].Offset != 3*BlockSize {
		t.Errorf("files %+v", i.Files)
	}
	if d := cmp.Diff([]BlockRange{{0, 1, 2}}, i.VirtualBlocks()); d != "" {
		t.Error(d)
	}
}

func TestCreateRefuses(t *testing.T) {
	var open atomic.Int32
	ok := func(path string) SourceFile { return source(path, 10, &open) }
	link := func(path, target string) SourceFile {
		return SourceFile{Path: strings.Split(path, "/"), Symlink: target}
	}
	big := func(n int64) SourceFile { return SourceFile{Path: []string{"a"}, Length: n, Open: ok("a").Open} }
	short := ok("short")
	short.Length = 11
	broken := ok("broken")
	broken.Open = func() (Content, error) { return nil, io.ErrUnexpectedEOF }
	tests := map[string]struct {
		spec CreateSpec
		want error
		text string
	}{
		"empty":      {CreateSpec{Name: "x"}, ErrEmpty, ""},
		"no bytes":   {CreateSpec{Name: "x", Files: []SourceFile{{Path: []string{"a"}}}}, ErrEmpty, ""},
		"name":       {CreateSpec{Name: "..", Files: []SourceFile{ok("a")}}, ErrSpec, "name"},
		"slash":      {CreateSpec{Name: "x", Files: []SourceFile{{Path: []string{"a/b"}, Length: 1}}}, ErrSpec, "no name"},
		"no path":    {CreateSpec{Name: "x", Files: []SourceFile{ok(""), ok("a")}}, ErrSpec, "no path"},
		"duplicate":  {CreateSpec{Name: "x", Files: []SourceFile{ok("a"), ok("b"), ok("a")}}, ErrSpec, "another file"},
		"file, dir":  {CreateSpec{Name: "x", Files: []SourceFile{ok("a/b"), ok("a")}}, ErrSpec, "another file"},
		"version":    {CreateSpec{Name: "x", Version: 7, Files: []SourceFile{ok("a")}}, ErrSpec, "version 7"},
		"v2 pieces":  {CreateSpec{Name: "x", Version: V2, PieceLength: 20000, Files: []SourceFile{ok("a")}}, ErrSpec, "power of two"},
		"pieces":     {CreateSpec{Name: "x", PieceLength: -1, Files: []SourceFile{ok("a")}}, ErrSpec, "piece length"},
		"blocks":     {CreateSpec{Name: "x", PieceLength: 3 << 13, Files: []SourceFile{ok("a")}}, ErrSpec, "no multiple of 16384"},
		"long":       {CreateSpec{Name: "x", PieceLength: 1 << 30, Files: []SourceFile{ok("a")}}, ErrLimit, "536870912"},
		"too many":   {CreateSpec{Name: "x", PieceLength: BlockSize, Files: []SourceFile{big(BlockSize << 22)}}, ErrLimit, "longer pieces"},
		"hashes":     {CreateSpec{Name: "x", PieceLength: BlockSize, Files: []SourceFile{big(BlockSize << 20)}}, ErrLimit, "bytes of piece hashes"},
		"too big":    {CreateSpec{Name: "x", PieceLength: 512 << 20, Version: V2, Files: []SourceFile{big(1 << 50)}}, ErrLimit, "blocks"},
		"overflow":   {CreateSpec{Name: "x", Files: []SourceFile{{Path: []string{"a"}, Length: 1 << 62, Open: ok("a").Open}, {Path: []string{"b"}, Length: 1 << 62, Open: ok("b").Open}}}, ErrSpec, "64 bits"},
		"no opener":  {CreateSpec{Name: "x", Files: []SourceFile{{Path: []string{"a"}, Length: 1}}}, ErrSpec, "open"},
		"link out":   {CreateSpec{Name: "x", Files: []SourceFile{ok("a"), link("d/l", "../../e")}}, ErrSpec, "not inside"},
		"link abs":   {CreateSpec{Name: "x", Files: []SourceFile{ok("a"), link("l", "/etc/passwd")}}, ErrSpec, "not inside"},
		"short file": {CreateSpec{Name: "x", Files: []SourceFile{short, ok("b")}}, nil, `hash "short": ends at byte 10`},
		"open fails": {CreateSpec{Name: "x", Files: []SourceFile{ok("a"), broken}}, io.ErrUnexpectedEOF, `hash "broken"`},
	}
	for name, tt := range tests {
		_, err := Create(context.Background(), tt.spec)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d files left open", n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Create(ctx, CreateSpec{Name: "x", Files: []SourceFile{ok("a")}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestAutoPieceLength(t *testing.T) {
	// What libtorrent 2.0.8 chooses, in KiB.
	for total, want := range map[int64]int64{
		1: 16, 100 << 10: 16, 2684355: 16, 2684356: 32, 10 << 20: 32, 50 << 20: 128, 200 << 20: 256, 700 << 20: 512,
		1 << 30: 512, 4 << 30: 1024, 16 << 30: 2048, 100 << 30: 4096, 1 << 40: 16384,
	} {
		if got := AutoPieceLength(total); got != want<<10 {
			t.Errorf("AutoPieceLength(%d) = %d KiB, want %d", total, got>>10, want)
		}
	}
	for _, total := range []int64{1 << 50, 1<<63 - 1} {
		if got := AutoPieceLength(total); got > DefaultPieceLength {
			t.Errorf("AutoPieceLength(%d) = %d", total, got)
		}
	}
}

func BenchmarkCreate(b *testing.B) {
	data := make([]byte, 64<<20)
	for _, v := range []Version{V1, V2, Hybrid} {
		b.Run(v.String(), func(b *testing.B) {
			var open atomic.Int32
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				_, err := Create(context.Background(), CreateSpec{Name: "x", Version: v, Files: []SourceFile{{
					Length: int64(len(data)),
					Open:   func() (Content, error) { open.Add(1); return memFile{bytes.NewReader(data), &open}, nil },
				}}})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
