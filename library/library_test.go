package library

import (
	"bytes"
	"context"
	"crypto/sha1"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"torrentfs/metainfo"
	"torrentfs/metainfo/bencode"
	"torrentfs/tracker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testFile is a file of a test's torrent.
type testFile struct {
	path []string
	data []byte
}

// testTorrent makes a multi-file v1 torrent and its content.
func testTorrent(t testing.TB, announce string) (*metainfo.MetaInfo, []testFile) {
	t.Helper()
	r := rand.NewChaCha8([32]byte{7})
	var files []testFile
	for _, f := range []struct {
		path []string
		size int
	}{
		{[]string{"a.bin"}, 300_001},
		{[]string{"empty"}, 0},
		{[]string{"dir", "one"}, 1},
		{[]string{"dir", "b.bin"}, 1 << 20},
		{[]string{"dir", "ünïcode ✓.txt"}, 70_000},
	} {
		data := make([]byte, f.size)
		r.Read(data)
		files = append(files, testFile{f.path, data})
	}
	const pieceLength = 64 << 10
	var all, pieces []byte
	var list []any
	for _, f := range files {
		all = append(all, f.data...)
		var path []any
		for _, p := range f.path {
			path = append(path, p)
		}
		list = append(list, map[string]any{"length": int64(len(f.data)), "path": path})
	}
	for p := all; len(p) > 0; p = p[min(pieceLength, len(p)):] {
		h := sha1.Sum(p[:min(pieceLength, len(p))])
		pieces = append(pieces, h[:]...)
	}
	top := map[string]any{"info": map[string]any{
		"name": "set", "piece length": int64(pieceLength), "files": list, "pieces": string(pieces),
	}}
	if announce != "" {
		top["announce"] = announce
	}
	b, err := bencode.Encode(top)
	if err != nil {
		t.Fatal(err)
	}
	mi, err := metainfo.Parse(b, metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return mi, files
}

func writeFiles(t testing.TB, dir string, files []testFile) {
	t.Helper()
	for _, f := range files {
		path := filepath.Join(append([]string{dir, "set"}, f.path...)...)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func openLibrary(t testing.TB, dir string) *Library {
	t.Helper()
	l, err := Open(Config{DataDir: dir, ListenAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(context.Background()) })
	return l
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func addTorrent(t testing.TB, l *Library, mi *metainfo.MetaInfo, o AddOptions) *Torrent {
	t.Helper()
	tor, err := l.Add(deadline(t), mi, o)
	if err != nil {
		t.Fatal(err)
	}
	return tor
}

func awaitComplete(t testing.TB, tor *Torrent) {
	t.Helper()
	select {
	case <-tor.Complete():
	case <-deadline(t).Done():
		t.Fatalf("not complete: %+v", tor.Stats())
	}
}

// Data of another client is adopted by hashing, seeded, fetched by a second
// library that learns of the first from a tracker, and found again after a
// restart without hashing.
func TestAdoptSeedFetchResume(t *testing.T) {
	srv := tracker.New(tracker.Config{})
	web := httptest.NewServer(srv)
	defer web.Close()
	mi, files := testTorrent(t, web.URL+"/announce")

	seedDir := t.TempDir()
	writeFiles(t, seedDir, files)
	seeder := openLibrary(t, seedDir)
	seed := addTorrent(t, seeder, mi, AddOptions{})
	awaitComplete(t, seed)
	if s := seed.Stats(); s.Verified != mi.Info.TotalLength() || !s.Complete || s.Checking != 0 || s.Downloaded != 0 {
		t.Errorf("seeder after adopting: %+v", s)
	}

	dir := t.TempDir()
	leecher := openLibrary(t, dir)
	leech := addTorrent(t, leecher, mi, AddOptions{})
	awaitComplete(t, leech)
	for _, f := range files {
		got, err := os.ReadFile(filepath.Join(append([]string{dir, "set"}, f.path...)...))
		if err != nil || !bytes.Equal(got, f.data) {
			t.Errorf("%v: %d bytes on disk, differ from the torrent's (%v)", f.path, len(got), err)
		}
	}
	if up := seed.Stats().Uploaded; up < mi.Info.TotalLength() {
		t.Errorf("seeder sent %d bytes of %d", up, mi.Info.TotalLength())
	}
	if err := leecher.Close(context.Background()); err != nil {
		t.Fatal(err)
	}

	again := openLibrary(t, dir)
	tor := addTorrent(t, again, mi, AddOptions{NoTrackers: true})
	if s := tor.Stats(); !s.Complete || s.Checking != 0 {
		t.Errorf("after a clean stop: %+v; want it complete at once", s)
	}
}

// The tree reads right through its files, at every edge, while it downloads.
func TestTreeReadsWhileDownloading(t *testing.T) {
	mi, files := testTorrent(t, "")
	seedDir := t.TempDir()
	writeFiles(t, seedDir, files)
	seeder := openLibrary(t, seedDir)
	addTorrent(t, seeder, mi, AddOptions{})
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(seeder.Port()))

	l := openLibrary(t, t.TempDir())
	tor := addTorrent(t, l, mi, AddOptions{Peers: []netip.AddrPort{addr}, NoPrefetch: true})
	src := tor.Source()
	entries := src.Entries()
	if len(entries) != len(files) {
		t.Fatalf("%d entries, want %d", len(entries), len(files))
	}
	for i, f := range files {
		if entries[i].Size != int64(len(f.data)) {
			t.Errorf("%s has size %d, want %d", entries[i].Path, entries[i].Size, len(f.data))
		}
		h, err := src.Open(i)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(f.data)+10)
		n, err := h.ReadAt(deadline(t), got, 0)
		if n != len(f.data) || err != io.EOF || !bytes.Equal(got[:n], f.data) {
			t.Errorf("%s: read %d bytes, %v; want %d and EOF", entries[i].Path, n, err, len(f.data))
		}
		if len(f.data) > 100 {
			n, err := h.ReadAt(deadline(t), got[:77], int64(len(f.data)-77))
			if n != 77 || err != nil || !bytes.Equal(got[:77], f.data[len(f.data)-77:]) {
				t.Errorf("%s: tail read %d bytes, %v", entries[i].Path, n, err)
			}
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A read that waits can be seen, and ends with its context.
func TestBlockedReadIsSeenAndCancelled(t *testing.T) {
	mi, _ := testTorrent(t, "")
	l := openLibrary(t, t.TempDir())
	tor := addTorrent(t, l, mi, AddOptions{})
	h, err := tor.Source().Open(3)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := h.ReadAt(ctx, make([]byte, 10), 500)
		done <- err
	}()
	for end := deadline(t); ; {
		if b := tor.Stats().Blocked; len(b) == 1 {
			if b[0].Path != "set/dir/b.bin" || b[0].Offset != 500 || b[0].Length != 10 {
				t.Errorf("blocked read shown as %+v", b[0])
			}
			break
		}
		if end.Err() != nil {
			t.Fatal("the blocked read never shows")
		}
	}
	cancel()
	if err := <-done; err != context.Canceled {
		t.Errorf("cancelled read ended with %v", err)
	}
	if b := tor.Stats().Blocked; len(b) != 0 {
		t.Errorf("still blocked after its end: %+v", b)
	}
}

type memoryContent struct{ *bytes.Reader }

func (memoryContent) Close() error { return nil }

// createTorrent makes a torrent of files below a top-level name.
func createTorrent(t testing.TB, name string, version metainfo.Version, pieceLength int64, files []testFile) *metainfo.MetaInfo {
	t.Helper()
	spec := metainfo.CreateSpec{Name: name, Version: version, PieceLength: pieceLength}
	for _, f := range files {
		spec.Files = append(spec.Files, metainfo.SourceFile{
			Path: f.path, Length: int64(len(f.data)),
			Open: func() (metainfo.Content, error) { return memoryContent{bytes.NewReader(f.data)}, nil },
		})
	}
	data, err := metainfo.Create(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	mi, err := metainfo.Parse(data, metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return mi
}
