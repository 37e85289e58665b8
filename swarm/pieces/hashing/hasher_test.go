package hashing

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"torrentfs/metainfo"
	"torrentfs/swarm/hashes"
	"torrentfs/swarm/pieces"
	"torrentfs/swarm/wire"
)

// bench is a torrent whose pieces are hashed.
type bench struct {
	mi    *metainfo.MetaInfo
	data  []byte
	store *memStore
	trees *hashes.Trees
	pool  *Pool
	h     *Hasher
	done  chan struct{}
}

func newBench(mi *metainfo.MetaInfo, data []byte, layers bool) *bench {
	b := &bench{mi: mi, data: data, store: newMemStore(mi.Info), pool: NewPool(2), done: make(chan struct{})}
	known := mi.PieceLayers
	if !layers {
		known = nil
	}
	b.trees = hashes.NewTrees(mi.Info, known)
	b.h = New(b.pool, mi.Info, b.trees, b.store, b.done)
	return b
}

func (b *bench) close() {
	close(b.done)
	b.h.Wait()
	b.pool.Close()
}

// block is a block as it should be.
func (b *bench) block(id metainfo.Block) []byte {
	off := int64(id.Piece)*b.mi.Info.PieceLength() + int64(id.Index)*blockSize
	return b.data[off : off+int64(b.mi.Info.BlockLen(id.Piece, id.Index))]
}

// come is what the loop does with a block that came.
func (b *bench) come(id metainfo.Block, wrong bool) {
	data := slices.Clone(b.block(id))
	if wrong {
		data[len(data)-1] ^= 1
	}
	b.h.Begin(id.Piece)
	b.store.putBlock(int(id.Piece), id.Index, data)
	b.h.Add(id, data)
}

// needed are the blocks of a piece that peers send.
func (b *bench) needed(piece metainfo.Piece) (blocks []metainfo.Block) {
	for i := range b.mi.Info.NumBlocks(piece) {
		if id := (metainfo.Block{Piece: piece, Index: i}); !b.store.HasBlock(id) {
			blocks = append(blocks, id)
		}
	}
	return blocks
}

// leavesOf is what a peer answers that is asked for the leaves of a whole piece, nil if there is nothing to ask for.
func (b *bench) leavesOf(piece metainfo.Piece) *hashes.Proof {
	f, info := b.trees.File(piece), b.mi.Info
	if f == nil || f.Level() == 0 {
		return nil
	}
	file := &info.Files[slices.IndexFunc(info.Files, func(file metainfo.File) bool {
		start := int64(piece) * info.PieceLength()
		return !file.Pad && file.Offset <= start && start < file.Offset+file.Length
	})]
	top := f.Level()
	if _, known := b.trees.Node(f, piece); !known {
		top = metainfo.TreeHeight(file.Length)
	}
	ask := wire.HashRange{
		Root: file.PiecesRoot, Index: uint32((piece - info.PieceOf(file.Offset)) * info.BlocksPerPiece()),
		Length: 1 << f.Level(), Proof: uint32(top - 1),
	}
	var leaves []metainfo.SHA256
	for rest := b.data[file.Offset : file.Offset+file.Length]; len(rest) > 0; rest = rest[min(blockSize, len(rest)):] {
		leaves = append(leaves, sha256.Sum256(rest[:min(blockSize, len(rest))]))
	}
	hs, uncles, err := metainfo.NewTree(leaves, 0).Hashes(int(ask.Base), int(ask.Index), int(ask.Length), int(ask.Proof))
	if err != nil {
		panic(err)
	}
	return &hashes.Proof{Ask: ask, Hashes: append(hs, uncles...)}
}

// Whatever the order in which blocks come, and proofs of their leaves between them: nothing wrong is ever committed, a
// piece is right if and only if its blocks are, a wrong block is named if its leaf is known, and in the end all is
// committed.
func TestAnyOrder(t *testing.T) {
	type torrent struct {
		mi   *metainfo.MetaInfo
		data []byte
	}
	var torrents []torrent
	for _, v := range []metainfo.Version{metainfo.V1, metainfo.V2, metainfo.Hybrid} {
		mi, data := content(t, v, 64<<10, 1, 150_000, 64<<10, 300_001)
		torrents = append(torrents, torrent{mi, data})
	}
	rapid.Check(t, func(t *rapid.T) {
		tr := torrents[rapid.IntRange(0, 2).Draw(t, "torrent")]
		b := newBench(tr.mi, tr.data, rapid.Bool().Draw(t, "layers"))
		defer b.close()
		for piece := range tr.mi.Info.NumPieces() {
			b.download(t, piece)
		}
		b.store.check(t, tr.data)
		if n := b.store.committed.Count(); n != tr.mi.Info.NumPieces() {
			t.Fatalf("%d of %d pieces are committed", n, tr.mi.Info.NumPieces())
		}
	})
}

// download has blocks of a piece come until it is right.
func (b *bench) download(t *rapid.T, piece metainfo.Piece) {
	blocks := rapid.Permutation(b.needed(piece)).Draw(t, "blocks")
	if len(blocks) == 0 { // padding throughout
		b.h.Begin(piece)
		b.h.Judge(piece)
	}
	proven := false
	prove := func() {
		if p := b.trees; p == nil || proven {
			return
		}
		if p := b.leavesOf(piece); p != nil {
			b.h.Prove(piece, p, 7)
			proven = true
		}
	}
	lies := map[int]bool{}
	for _, id := range blocks {
		if rapid.IntRange(0, 3).Draw(t, "prove") == 0 {
			prove()
		}
		lies[id.Index] = rapid.IntRange(0, 4).Draw(t, "lie") == 0
		b.come(id, lies[id.Index])
	}
	for {
		r := <-b.h.Results()
		if r.Proof != nil && !r.Valid {
			t.Fatalf("a right proof of piece %d does not hold", piece)
		}
		for _, i := range r.Good {
			if lies[i] {
				t.Fatalf("block %d of piece %d is wrong, and good", i, piece)
			}
		}
		for _, i := range r.Bad {
			if !lies[i] {
				t.Fatalf("block %d of piece %d is right, and bad", i, piece)
			}
			lies[i] = false
			b.come(metainfo.Block{Piece: piece, Index: i}, false)
		}
		if r.Waits {
			if prove(); !proven { // its layer comes
				t.Fatalf("piece %d waits although its hash is the file's root", piece)
			}
			b.h.Judge(piece)
		}
		if !r.Done {
			continue
		}
		if !b.h.Current(&r) || r.Err != nil || r.Contradiction {
			t.Fatalf("%+v", r)
		}
		b.h.Forget(piece)
		if any := slices.Contains(slices.Collect(values(lies)), true); r.OK == any {
			t.Fatalf("piece %d: right %v, wrong blocks %v", piece, r.OK, lies)
		}
		if r.OK {
			return
		}
		b.store.discard(int(piece))
		for _, id := range b.needed(piece) {
			lies[id.Index] = false
			b.come(id, false)
		}
	}
}

func values(m map[int]bool) func(func(bool) bool) {
	return func(yield func(bool) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

func TestWrongProofsProveNothing(t *testing.T) {
	mi, data := content(t, metainfo.V2, 64<<10, 300_001)
	b := newBench(mi, data, true)
	defer b.close()
	p := b.leavesOf(1)
	p.Hashes = slices.Clone(p.Hashes)
	p.Hashes[1][0] ^= 1
	b.h.Prove(1, p, 7)
	if r := <-b.h.Results(); r.Proof != p || r.Prover != 7 || r.Valid || r.Done {
		t.Errorf("%+v", r)
	}
}

// A result on blocks that were forgotten is known as such, whatever came since.
func TestForgottenBlocksAreNotCurrent(t *testing.T) {
	mi, data := content(t, metainfo.V1, 32<<10, 64<<10)
	b := newBench(mi, data, true)
	defer b.close()
	for i := range 2 {
		b.come(metainfo.Block{Piece: 1, Index: i}, i == 0)
	}
	r := <-b.h.Results()
	if !r.Done || r.OK || !b.h.Current(&r) {
		t.Fatalf("%+v", r)
	}
	if b.h.Forget(1); b.h.Current(&r) {
		t.Error("current although it was forgotten")
	}
	if b.h.Begin(1); b.h.Current(&r) {
		t.Error("taken for what is under way now")
	}
}

func TestCheckers(t *testing.T) {
	mi, data := content(t, metainfo.Hybrid, 64<<10, 300_001)
	broken := fmt.Errorf("it is gone")
	tests := []struct {
		name  string
		spoil func(s *memStore)
		check pieces.Check
		want  pieces.Verdict
	}{
		{"right", func(*memStore) {}, pieces.Check{Tries: 1}, pieces.Verdict{OK: true}},
		{"wrong", func(s *memStore) { s.data[1]++ }, pieces.Check{Tries: 1}, pieces.Verdict{}},
		{"not read", func(s *memStore) { s.fails = 2 }, pieces.Check{Tries: 2}, pieces.Verdict{Err: errDisk}},
		{"read at last", func(s *memStore) { s.fails = 2 }, pieces.Check{Tries: 3}, pieces.Verdict{OK: true}},
		{"changed and right", func(s *memStore) { s.stale = maxStale }, pieces.Check{Tries: 1}, pieces.Verdict{OK: true}},
		{"changed for ever", func(s *memStore) { s.stale = 100 }, pieces.Check{Tries: 1}, pieces.Verdict{Err: errStale}},
		{
			"not copied", func(*memStore) {},
			pieces.Check{Tries: 1, Duplicate: &pieces.Duplicate{Fill: func(metainfo.Piece) error { return broken }}},
			pieces.Verdict{Err: broken, NotCopied: true},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(mi, data, true)
			defer b.close()
			copy(b.store.data, data)
			for p := range b.store.put {
				b.store.put[p].SetRange(0, mi.Info.NumBlocks(p))
			}
			tt.spoil(b.store)
			b.h.StartCheckers(1, 1)
			b.h.Checks() <- tt.check
			r := <-b.h.Checked()
			if !r.Done || r.Verdict != tt.want {
				t.Errorf("%+v, want %+v", r.Verdict, tt.want)
			}
			if has := b.store.committed.Has(0); has != tt.want.OK {
				t.Errorf("committed: %v", has)
			}
		})
	}
}

func TestCheckersFor(t *testing.T) {
	tests := []struct{ doubtful, cores, want int }{
		{0, 16, MinCheckers},
		{manyDoubtful - 1, 16, MinCheckers},
		{manyDoubtful, 1, MinCheckers},
		{manyDoubtful, 4, 4},
		{1 << 20, 64, maxCheckers},
	}
	for _, tt := range tests {
		if got := checkersFor(tt.doubtful, tt.cores); got != tt.want {
			t.Errorf("%d pieces in doubt, %d cores: %d, want %d", tt.doubtful, tt.cores, got, tt.want)
		}
	}
}

// One piece of a v2 torrent with a wrong block, for a person to read.
func TestGoldenTrace(t *testing.T) {
	mi, data := content(t, metainfo.V2, 64<<10, 300_001)
	b := newBench(mi, data, true)
	defer b.close()
	var out strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	hear := func() Result {
		r := <-b.h.Results()
		say("  -> good %v, bad %v, done %v, right %v, blocks readable %d", r.Good, r.Bad, r.Done, r.OK, b.store.good[1].Count())
		return r
	}
	say("piece 1 of 4 blocks; each has a leaf")
	for _, i := range []int{2, 0} {
		say("block %d, %s", i, map[bool]string{true: "wrong", false: "right"}[i == 0])
		b.come(metainfo.Block{Piece: 1, Index: i}, i == 0)
	}
	say("a proof of all leaves")
	b.h.Prove(1, b.leavesOf(1), 7)
	hear()
	for _, i := range []int{3, 0, 1} {
		say("block %d, right", i)
		b.come(metainfo.Block{Piece: 1, Index: i}, false)
		hear()
	}
	say("committed: %v", b.store.committed.Has(1))
	compareGolden(t, "wrong_block.txt", out.String())
}

var update = flag.Bool("update", false, "write the golden traces anew")

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the trace changed (go test -update writes it anew):\n%s", got)
	}
}
