package wire

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// allFeatures are those that let every message through.
const allFeatures = FeatureExtension | FeatureDHT | FeatureFast | FeatureV2

// dataDir returns the folder of the samples, and whether it is there.
func dataDir() (string, bool) {
	dir := os.Getenv("TORRENTFS_TESTDATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "testdata")
	}
	_, err := os.Stat(filepath.Join(dir, "torrents", "INDEX.tsv"))
	return dir, err == nil
}

// testdata returns the folder of the samples, or skips the test without it.
func testdata(tb testing.TB) string {
	tb.Helper()
	dir, ok := dataDir()
	if !ok {
		tb.Skipf("no samples in %s: set TORRENTFS_TESTDATA", dir)
	}
	return dir
}

// stream is a reader and, with vectored set, a VectoredReader that serves at
// most step bytes a call. It counts the calls.
type stream struct {
	data  []byte
	step  int
	calls int
}

func (s *stream) Read(p []byte) (int, error) { return s.read([][]byte{p}) }

func (s *stream) read(bufs [][]byte) (int, error) {
	s.calls++
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	left := len(s.data)
	if s.step > 0 {
		left = min(left, s.step)
	}
	total := 0
	for _, b := range bufs {
		n := copy(b, s.data[:left])
		s.data, left, total = s.data[n:], left-n, total+n
	}
	return total, nil
}

type vectoredStream struct{ stream }

func (s *vectoredStream) ReadVectored(bufs [][]byte) (int, error) { return s.read(bufs) }

// pattern returns n bytes that differ at every offset nearby.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func appendPiece(b []byte, piece, begin uint32, data []byte) []byte {
	return append(AppendPieceHeader(b, piece, begin, uint32(len(data))), data...)
}

func mustEqual(tb testing.TB, what string, got, want []byte) {
	tb.Helper()
	if !bytes.Equal(got, want) {
		tb.Fatalf("%s: got %x, want %x", what, got, want)
	}
}
