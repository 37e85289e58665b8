package hashes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

type memContent struct{ *bytes.Reader }

func (memContent) Close() error { return nil }

// torrent is a v2 or hybrid torrent with its data, and what an Asker looks up.
type torrent struct {
	*metainfo.MetaInfo
	data []byte
	full map[[32]byte]*metainfo.Tree // by root, down to the leaves

	lacks map[picker.PeerID]metainfo.Piece // the one piece that a peer does not have
	owed  map[picker.PeerID][]metainfo.Block
	sent  map[picker.PeerID][]metainfo.Piece
	held  []metainfo.Piece
	came  map[metainfo.Piece][]int
	good  map[metainfo.Piece][]int
	reads []metainfo.ByteRange
}

func newTorrent(t testing.TB, v metainfo.Version, pieceLength int64, sizes ...int64) *torrent {
	t.Helper()
	spec := metainfo.CreateSpec{Name: "content", Version: v, PieceLength: pieceLength, Workers: 1}
	bodies := map[string][]byte{}
	for i, size := range sizes {
		body := make([]byte, size)
		rand.NewChaCha8([32]byte{byte(i), byte(size), byte(size >> 8)}).Read(body)
		name := fmt.Sprintf("f%03d", i)
		bodies["content/"+name] = body
		spec.Files = append(spec.Files, metainfo.SourceFile{
			Path: []string{name}, Length: size,
			Open: func() (metainfo.Content, error) { return memContent{bytes.NewReader(body)}, nil },
		})
	}
	raw, err := metainfo.Create(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	mi, err := metainfo.Parse(raw, metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	o := &torrent{MetaInfo: mi, data: make([]byte, mi.Info.Size()), full: map[[32]byte]*metainfo.Tree{}}
	i := 0
	for j := range mi.Info.Files {
		f := &mi.Info.Files[j]
		if f.Pad {
			continue
		}
		body := bodies[fmt.Sprintf("content/f%03d", i)]
		i++
		if f.Length != int64(len(body)) {
			t.Fatalf("file %q has %d bytes, want %d", f.Path, f.Length, len(body))
		}
		if copy(o.data[f.Offset:], body); f.Length > 0 {
			o.full[f.PiecesRoot] = leafTree(body)
		}
	}
	o.restart()
	return o
}

// restart forgets everything that has happened.
func (o *torrent) restart() {
	o.lacks, o.owed, o.sent = map[picker.PeerID]metainfo.Piece{}, map[picker.PeerID][]metainfo.Block{}, map[picker.PeerID][]metainfo.Piece{}
	o.came, o.good = map[metainfo.Piece][]int{}, map[metainfo.Piece][]int{}
	o.held, o.reads = nil, nil
}

func leafTree(data []byte) *metainfo.Tree {
	var leaves []metainfo.SHA256
	for chunk := range slices.Chunk(data, blockSize) {
		leaves = append(leaves, sha256.Sum256(chunk))
	}
	return metainfo.NewTree(leaves, 0)
}

// hashes is the right answer to a request.
func (o *torrent) hashes(r wire.HashRange) ([]metainfo.SHA256, error) {
	tree := o.full[r.Root]
	if tree == nil {
		return nil, errors.New("no such tree")
	}
	hashes, uncles, err := tree.Hashes(int(r.Base), int(r.Index), int(r.Length), int(r.Proof))
	return append(hashes, uncles...), err
}

// The Store of an Answerer.

func (o *torrent) HasPiece(piece metainfo.Piece) bool { return slices.Contains(o.held, piece) }

func (o *torrent) ReadAt(p []byte, off int64) (int, error) { return copy(p, o.data[off:]), nil }

type store struct{ *torrent }

func (s store) Has(piece metainfo.Piece) bool { return s.HasPiece(piece) }

// The Facts of an Asker.

func (o *torrent) Has(p picker.PeerID, piece metainfo.Piece) bool {
	lacks, any := o.lacks[p]
	return !any || lacks != piece
}

func (o *torrent) Owes(p picker.PeerID, piece metainfo.Piece) bool {
	return slices.ContainsFunc(o.owed[p], func(b metainfo.Block) bool { return b.Piece == piece })
}

func (o *torrent) Sent(p picker.PeerID, piece metainfo.Piece) bool {
	return slices.Contains(o.sent[p], piece)
}

func (o *torrent) Held(piece metainfo.Piece) bool     { return slices.Contains(o.held, piece) }
func (o *torrent) UnderWay(piece metainfo.Piece) bool { return len(o.came[piece]) > 0 }

func (o *torrent) Blocks(piece metainfo.Piece, came, good bitset.Set) {
	for _, i := range o.came[piece] {
		came.Set(i)
	}
	for _, i := range o.good[piece] {
		good.Set(i)
	}
}

func (o *torrent) Awaits(r metainfo.ByteRange) bool {
	return slices.ContainsFunc(o.reads, func(d metainfo.ByteRange) bool { return d.Off < r.Off+r.Len && r.Off < d.Off+d.Len })
}

// take has a block come that a peer owes.
func (o *torrent) take(p picker.PeerID, b metainfo.Block) {
	o.owed[p] = slices.DeleteFunc(o.owed[p], func(x metainfo.Block) bool { return x == b })
	o.sent[p] = append(o.sent[p], b.Piece)
	o.came[b.Piece] = append(o.came[b.Piece], b.Index)
}
