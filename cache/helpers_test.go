package cache

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

func TestMain(m *testing.M) {
	checkSteps = true
	goleak.VerifyTestMain(m)
}

// entry is a file of a test's torrent.
type entry struct {
	path string // below the top-level directory
	size int64
	attr string // "p" pad, "x" executable, "l" link
	link string
}

// torrent is a parsed v1 torrent and its content. Hashes are never looked at
// here, so there are none worth the name.
type torrent struct {
	*metainfo.Info
	data []byte // of the piece space
}

func str(s string) string { return fmt.Sprintf("%d:%s", len(s), s) }

func bencodeList(elems []string) string {
	var b strings.Builder
	for _, e := range elems {
		b.WriteString(str(e))
	}
	return "l" + b.String() + "e"
}

func newTorrent(t testing.TB, pieceLen int64, files ...entry) *torrent {
	t.Helper()
	var b strings.Builder
	total := int64(0)
	b.WriteString("d5:filesl")
	for _, f := range files {
		b.WriteString("d")
		if f.attr != "" {
			b.WriteString("4:attr" + str(f.attr))
		}
		fmt.Fprintf(&b, "6:lengthi%de4:path%s", f.size, bencodeList(strings.Split(f.path, "/")))
		if f.link != "" {
			b.WriteString("12:symlink path" + bencodeList(strings.Split(f.link, "/")))
		}
		b.WriteString("e")
		total += f.size
	}
	pieces := (total + pieceLen - 1) / pieceLen
	fmt.Fprintf(&b, "e4:name3:top12:piece lengthi%de6:pieces%s", pieceLen, str(strings.Repeat("x", int(pieces)*20)))
	b.WriteString("e")
	info, err := metainfo.ParseInfo([]byte(b.String()), metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return &torrent{Info: info, data: content(info)}
}

// newTorrentV2 is a torrent of v2 alone: each file begins with a piece.
func newTorrentV2(t testing.TB, pieceLen int64, sizes ...int64) *torrent {
	t.Helper()
	var b strings.Builder
	b.WriteString("d9:file treed")
	for i, size := range sizes {
		fmt.Fprintf(&b, "2:f%dd0:d6:lengthi%de", i, size)
		if size > 0 {
			b.WriteString("11:pieces root" + str(strings.Repeat(string(rune('a'+i)), 32)))
		}
		b.WriteString("ee")
	}
	fmt.Fprintf(&b, "e12:meta versioni2e4:name3:top12:piece lengthi%dee", pieceLen)
	info, err := metainfo.ParseInfo([]byte(b.String()), metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return &torrent{Info: info, data: content(info)}
}

// content is random, with zeros where no file is.
func content(info *metainfo.Info) []byte {
	data := make([]byte, info.Size())
	rng := rand.NewChaCha8([32]byte{1})
	for i := range info.Files {
		if f := &info.Files[i]; !f.Pad {
			_, _ = rng.Read(data[f.Offset : f.Offset+f.Length])
		}
	}
	return data
}

// mixed has all that a layout can have: files across pieces, small ones,
// empty ones, pads, a link.
func mixed(t testing.TB) *torrent {
	return newTorrent(
		t, 64<<10,
		entry{path: "a/one", size: 100_000},
		entry{path: "empty", size: 0},
		entry{path: "tiny", size: 1},
		entry{path: "b/c/two", size: 30_000},
		entry{path: ".pad/66607", size: 66_607, attr: "p"},
		entry{path: "three.sh", size: 200_001, attr: "x"},
		entry{path: "link", attr: "l", link: "a/one"},
		entry{path: "a/four", size: 70_000},
	)
}

func (tor *torrent) piece(p int) []byte {
	off := int64(p) * tor.PieceLength()
	return tor.data[off : off+tor.PieceSize(p)]
}

func (tor *torrent) block(p, b int) []byte {
	return bytes.Clone(tor.piece(p)[b*metainfo.BlockSize:][:tor.BlockLen(p, b)])
}

func (tor *torrent) put(s *Store, p int) {
	for b := range tor.NumBlocks(p) {
		s.Put(metainfo.Block{Piece: p, Index: b}, tor.block(p, b))
	}
}

// hash does what the engine does with a piece: it compares and decides.
func (tor *torrent) hash(s *Store, p int) bool {
	var got []byte
	for b := range tor.NumBlocks(p) {
		data, err := s.Unverified(metainfo.Block{Piece: p, Index: b}, nil)
		if err != nil {
			s.Discard(p)
			return false
		}
		got = append(got, data...)
	}
	if !bytes.Equal(got, tor.piece(p)) {
		s.Discard(p)
		return false
	}
	return s.Commit(p)
}

func (tor *torrent) fetch(s *Store, p int) {
	tor.put(s, p)
	s.Commit(p)
}

func (tor *torrent) fetchAll(s *Store) {
	for p := range tor.NumPieces() {
		if !s.Has(p) {
			tor.fetch(s, p)
		}
	}
}

// check reads a piece and compares.
func (tor *torrent) check(t testing.TB, s *Store, p int) {
	t.Helper()
	checkInvariants(t, s)
	got := make([]byte, tor.PieceSize(p))
	n, err := s.ReadAt(got, int64(p)*tor.PieceLength())
	if err != nil || n != len(got) {
		t.Fatalf("piece %d: read %d of %d bytes: %v", p, n, len(got), err)
	}
	if !bytes.Equal(got, tor.piece(p)) {
		t.Fatalf("piece %d: wrong bytes", p)
	}
}

func newCache(t testing.TB, memory int64) *Cache {
	t.Helper()
	c, err := New(Config{Memory: memory})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func openStore(t testing.TB, c *Cache, tor *torrent, opt Options) *Store {
	t.Helper()
	s, err := c.Open(tor.Info, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // before the folder goes
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	checkInvariants(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// checkInvariants looks whether what the store knows of its pieces agrees.
func checkInvariants(t testing.TB, s *Store) {
	t.Helper()
	if err := s.CheckInvariants(); err != nil {
		t.Error(err)
	}
}

func syncStore(t testing.TB, s *Store) {
	t.Helper()
	defer checkInvariants(t, s)
	if err := s.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func count(bits []uint64) (n int) {
	for i := range len(bits) * 64 {
		if bitset.Set(bits).Has(i) {
			n++
		}
	}
	return n
}

// untrusted are the pieces that the store tells of.
func untrusted(s *Store) (pieces []int) {
	for _, e := range s.Events() {
		pieces = append(pieces, e.Piece)
	}
	return pieces
}

// invalidate withdraws the trust in a piece, and returns the pieces that the store then tells of.
func invalidate(s *Store, piece int, reason error) []int {
	s.Invalidate(piece, reason)
	return untrusted(s)
}
