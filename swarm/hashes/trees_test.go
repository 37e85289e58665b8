package hashes

import (
	"slices"
	"testing"

	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

var v2Versions = []metainfo.Version{metainfo.V2, metainfo.Hybrid}

// Every piece belongs to the file that its bytes are of, and its leaves cover these bytes and no padding.
func TestGeometryOfTrees(t *testing.T) {
	const piece = 64 << 10
	sizes := []int64{1, blockSize, blockSize + 1, piece - 1, piece, piece + 1, 3*piece + 5*blockSize/2, 0}
	for _, v := range v2Versions {
		o := newTorrent(t, v, piece, sizes...)
		trees := NewTrees(o.Info, o.PieceLayers)
		if trees.lacks() {
			t.Error("layers of the torrent are not known")
		}
		for i := range o.Info.Files {
			f := &o.Info.Files[i]
			if f.Length == 0 || f.Pad {
				continue
			}
			tree := leafTree(o.data[f.Offset : f.Offset+f.Length])
			leaf, left := 0, f.Length
			for p := o.Info.PieceOf(f.Offset); left > 0; p++ {
				file := trees.File(p)
				if file == nil || file.root != f.PiecesRoot {
					t.Fatalf("%v: piece %d is not of file %d", v, p, i)
				}
				if got := file.leafIndex(p); got != leaf {
					t.Errorf("%v: the first leaf of piece %d is %d, want %d", v, p, got, leaf)
				}
				if got, want := file.Bytes(p), min(left, piece); got != want {
					t.Errorf("%v: piece %d holds %d bytes of its file, want %d", v, p, got, want)
				}
				var covered int64
				for b := range file.Leaves(p) {
					covered += int64(file.LeafLen(metainfo.Block{Piece: p, Index: b}))
				}
				if covered != file.Bytes(p) {
					t.Errorf("%v: the leaves of piece %d cover %d bytes", v, p, covered)
				}
				node, known := trees.Node(file, p)
				want, _, err := tree.Hashes(file.level, int(p-file.first)&^1, 2, 0)
				if file.pieces == 1 {
					want, err = []metainfo.SHA256{tree.Root(), {}}, nil
				}
				if err != nil || !known || node != want[int(p-file.first)&1] {
					t.Errorf("%v: node of piece %d is %x, known %v, want %x; %v", v, p, node, known, want, err)
				}
				leaf, left = leaf+file.Leaves(p), left-file.Bytes(p)
			}
		}
	}
	if NewTrees(newTorrent(t, metainfo.V1, piece, 1000).Info, nil) != nil {
		t.Error("a v1 torrent has trees")
	}
}

// What is asked for is what proves: a right answer holds, one with a wrong hash anywhere does not, and what holds is
// learned.
func TestProofs(t *testing.T) {
	const piece = 128 << 10
	o := newTorrent(t, metainfo.V2, piece, 5*piece+3*blockSize+1, piece, 100)
	for _, known := range []bool{true, false} {
		for p := range o.Info.NumPieces() {
			for b := 0; ; b++ {
				layers := o.PieceLayers
				if !known {
					layers = nil
				}
				trees := NewTrees(o.Info, layers)
				f := trees.File(p)
				if b >= f.Leaves(p) || f.level == 0 {
					break
				}
				for n := 2; n <= 1<<f.level; n *= 2 {
					r := trees.leafRange(f, metainfo.Block{Piece: p, Index: b}, n)
					hashes, err := o.hashes(r)
					if err != nil || len(hashes) != r.NumHashes() {
						t.Fatalf("%+v: %d hashes, %v", r, len(hashes), err)
					}
					for i := range hashes {
						bad := slices.Clone(hashes)
						bad[i][5] ^= 1
						if (&Proof{r, bad}).Holds(trees, f) {
							t.Fatalf("%+v holds with a wrong hash %d", r, i)
						}
					}
					pr := &Proof{r, hashes}
					if !pr.Holds(trees, f) {
						t.Fatalf("%+v does not hold", r)
					}
					if _, learned := trees.Node(f, p); !learned {
						t.Fatalf("%+v: the piece's node is not learned", r)
					}
					first, leaves := pr.Leaves(f, p)
					if first > b || first+len(leaves) <= b || first+len(leaves) > f.Leaves(p) {
						t.Errorf("%+v: leaves %d to %d for block %d of %d", r, first, first+len(leaves), b, f.Leaves(p))
					}
				}
			}
		}
	}
}

// A layer comes in parts that are asked for one by one, and no wrong part is learned.
func TestLayersInParts(t *testing.T) {
	o := newTorrent(t, metainfo.V2, blockSize, 1300*blockSize+5, 2*blockSize)
	trees := NewTrees(o.Info, nil)
	asks := 0
	for i := range trees.files {
		f := &trees.files[i]
		for at := trees.gap(f, 0); at >= 0; at = trees.gap(f, at) {
			r := layerRange(f, at)
			hashes, err := o.hashes(r)
			if err != nil || !r.Valid() || r.Length > wire.MaxHashLength {
				t.Fatalf("%+v: %v", r, err)
			}
			bad := slices.Clone(hashes)
			bad[len(bad)-1][0] ^= 1
			if (&Proof{r, bad}).layerHolds(trees, f) || trees.Layer(f) != nil {
				t.Fatalf("%+v: a wrong answer holds", r)
			}
			if !(&Proof{r, hashes}).layerHolds(trees, f) {
				t.Fatalf("%+v does not hold", r)
			}
			asks++
		}
		if !slices.Equal(trees.Layer(f), o.PieceLayers[f.root]) {
			t.Errorf("the layer of file %d is another", i)
		}
	}
	if trees.lacks() || asks != 4 {
		t.Errorf("after %d requests layers are missing: %v", asks, trees.lacks())
	}
}
