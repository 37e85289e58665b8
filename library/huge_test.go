package library

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"torrentfs/metainfo"
)

// A torrent of a terabyte in 500,000 pieces takes a few dozen bytes a piece,
// on top of its hashes: nothing is allocated by the size of the content.
func TestHugeTorrentCostsItsBitfields(t *testing.T) {
	const pieces, pieceLength, perPiece = 500_000, 2 << 20, 64
	raw := fmt.Sprintf("d4:infod6:lengthi%de4:name4:huge12:piece lengthi%de6:pieces%d:%see",
		int64(pieces)*pieceLength, pieceLength, pieces*20, strings.Repeat("01234567890123456789", pieces))
	mi, err := metainfo.Parse([]byte(raw), metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	raw = ""
	l, err := Open(Config{DataDir: t.TempDir(), ListenAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close(context.Background())
	used := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	before := used()
	tor, err := l.Add(t.Context(), mi, AddOptions{NoTrackers: true})
	if err != nil {
		t.Fatal(err)
	}
	if s := tor.Stats(); s.Total != pieces*pieceLength || s.Checking != 0 {
		t.Errorf("%+v", s)
	}
	each := float64(int64(used())-int64(before)) / pieces
	t.Logf("%.1f bytes a piece", each)
	if each > perPiece {
		t.Errorf("%.1f bytes a piece, want at most %d", each, perPiece)
	}
	runtime.KeepAlive(mi)
}
