package metainfo

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func leavesOf(data []byte) (out []SHA256) {
	for b := range slices.Chunk(data, BlockSize) {
		out = append(out, sha256.Sum256(b))
	}
	return out
}

func TestMerkleLevels(t *testing.T) {
	for length, want := range map[int64]int{0: 0, 1: 0, BlockSize: 0, BlockSize + 1: 1, 2 * BlockSize: 1, 2*BlockSize + 1: 2, 5 * BlockSize: 3, 8 * BlockSize: 3, 1 << 40: 26} {
		if got := TreeHeight(length); got != want {
			t.Errorf("TreeHeight(%d) = %d, want %d", length, got, want)
		}
	}
	for length, want := range map[int64]int{BlockSize: 0, 2 * BlockSize: 1, 1 << 20: 6, 512 << 20: 15} {
		if got := LevelOf(length); got != want {
			t.Errorf("LevelOf(%d) = %d, want %d", length, got, want)
		}
	}
	zero := SHA256{}
	if PadHash(0) != zero || PadHash(2) != HashPair(HashPair(zero, zero), HashPair(zero, zero)) {
		t.Error("PadHash")
	}
}

// Every way to the root must agree with the definition over all leaves.
func TestMerkleRoots(t *testing.T) {
	for _, blocks := range []int{1, 2, 3, 4, 5, 7, 8, 9, 16, 17} {
		data := content("merkle", blocks*BlockSize-100)
		leaves := leavesOf(data)
		want := slowRoot(data)
		height := TreeHeight(int64(len(data)))
		if got := LayerRoot(leaves, 0); got != want {
			t.Errorf("%d blocks: LayerRoot of the leaves is wrong", blocks)
		}
		if got := PieceHash(leaves, height); got != want {
			t.Errorf("%d blocks: PieceHash is wrong", blocks)
		}
		tree := NewTree(leaves, 0)
		if tree.Root() != want || tree.Height() != height {
			t.Errorf("%d blocks: tree of height %d, want %d", blocks, tree.Height(), height)
		}
		for level := range height {
			per := 1 << level
			var layer []SHA256
			for piece := range slices.Chunk(leaves, per) {
				layer = append(layer, PieceHash(piece, level))
			}
			before := slices.Clone(layer)
			if LayerRoot(layer, level) != want {
				t.Errorf("%d blocks: LayerRoot of level %d is wrong", blocks, level)
			}
			if !slices.Equal(layer, before) {
				t.Fatalf("LayerRoot changed its layer")
			}
		}
	}
	if LayerRoot(nil, 3) != PadHash(3) {
		t.Error("root of nothing")
	}
}

// A hash request's answer proves what it should and nothing else: any answer
// of a tree verifies, up to any layer, and no answer with one bit changed, for
// another index or another node does.
func TestMerkleProofs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 70).Draw(t, "leaves")
		leaves := make([]SHA256, n)
		for i := range leaves {
			leaves[i] = sha256.Sum256(fmt.Append(nil, i))
		}
		tree := NewTree(leaves, 0)
		base := rapid.IntRange(0, tree.Height()-1).Draw(t, "base")
		up := rapid.IntRange(1, tree.Height()-base).Draw(t, "log2(length)")
		length := 1 << up
		index := length * rapid.IntRange(0, 1<<(tree.Height()-base-up)-1).Draw(t, "index")
		proof := rapid.IntRange(0, max(tree.Height()-base-1, 0)).Draw(t, "proof")
		hashes, uncles, err := tree.Hashes(base, index, length, proof)
		if err != nil {
			t.Fatal(err)
		}
		if len(hashes) != length || len(uncles) != max(proof-up+1, 0) {
			t.Fatalf("%d hashes and %d uncles", len(hashes), len(uncles))
		}
		level := base + up + len(uncles)
		at := index >> up >> len(uncles)
		want := tree.node(level, at)
		if err := VerifyProof(base, index, hashes, uncles, want, level, at); err != nil {
			t.Fatal(err)
		}
		if level == tree.Height() && want != tree.Root() {
			t.Fatal("proof ends beside the root")
		}
		for what, err := range map[string]error{
			"level": VerifyProof(base, index, hashes, uncles, want, level+1, at),
			"place": VerifyProof(base, index, hashes, uncles, want, level, at+1),
			"index": VerifyProof(base, index+1, hashes, uncles, want, level, at),
			"node":  VerifyProof(base, index, hashes, uncles, HashPair(want, want), level, at),
			"hash":  VerifyProof(base, index, flip(t, hashes), uncles, want, level, at),
			"none":  VerifyProof(base, index, nil, uncles, want, level, at),
			"three": VerifyProof(base, 0, make([]SHA256, 3), uncles, want, level, at),
		} {
			if !errors.Is(err, ErrProof) {
				t.Fatalf("proof with a wrong %s: %v", what, err)
			}
		}
		if len(uncles) > 0 {
			if err := VerifyProof(base, index, hashes, flip(t, uncles), want, level, at); !errors.Is(err, ErrProof) {
				t.Fatalf("proof with a wrong uncle: %v", err)
			}
		}
	})
}

func flip(t *rapid.T, hashes []SHA256) []SHA256 {
	out := slices.Clone(hashes)
	i := rapid.IntRange(0, len(out)-1).Draw(t, "hash")
	out[i][rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
	return out
}

// The counts of the design's table: one block proven to the piece layer takes
// L+1 hashes, to the root H+1.
func TestMerkleProofSizes(t *testing.T) {
	leaves := make([]SHA256, 1<<10)
	for i := range leaves {
		leaves[i] = sha256.Sum256(fmt.Append(nil, i))
	}
	tree := NewTree(leaves, 0)
	const level = 6 // pieces of 1 MiB
	hashes, uncles, err := tree.Hashes(0, 516, 2, level-1)
	if err != nil || len(hashes)+len(uncles) != level+1 {
		t.Errorf("to the piece layer: %d hashes, %v", len(hashes)+len(uncles), err)
	}
	if err := VerifyProof(0, 516, hashes, uncles, tree.node(level, 516>>level), level, 516>>level); err != nil {
		t.Error(err)
	}
	hashes, uncles, err = tree.Hashes(0, 516, 2, tree.Height()-1)
	if err != nil || len(hashes)+len(uncles) != tree.Height()+1 {
		t.Errorf("to the root: %d hashes, %v", len(hashes)+len(uncles), err)
	}
	if err := VerifyProof(0, 516, hashes, uncles, tree.Root(), tree.Height(), 0); err != nil {
		t.Error(err)
	}
}

func TestTreeRefuses(t *testing.T) {
	layer := make([]SHA256, 5) // height 3 above the base
	tree := NewTree(layer, 4)
	for _, q := range [][4]int{
		{3, 0, 2, 0},
		{8, 0, 2, 0},
		{-1, 0, 2, 0},
		{4, 0, 0, 0},
		{4, 0, 1, 0},
		{4, 0, 3, 0},
		{4, 1, 2, 0},
		{4, -2, 2, 0},
		{4, 8, 2, 0},
		{4, 0, 16, 0},
		{4, 0, 2, 3},
		{4, 0, 2, -1},
		{7, 0, 2, 0},
		{4, 0, math.MaxInt/2 + 1, 0},
		{4, math.MaxInt/2 + 1, 2, 0},
		{4, 0, -4, 0},
	} {
		if _, _, err := tree.Hashes(q[0], q[1], q[2], q[3]); err == nil {
			t.Errorf("Hashes%v succeeded", q)
		}
	}
	if h, _, err := tree.Hashes(4, 6, 2, 0); err != nil || h[0] != PadHash(4) {
		t.Errorf("nodes behind the end: %v, %v", h, err)
	}
	many := make([]SHA256, 100)
	if _, _, _, err := ProofNode(0, 0, many[:2], many); !errors.Is(err, ErrProof) {
		t.Errorf("100 uncles: %v", err)
	}
}
