package hashes

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// What BEP 52 lets peers ask is answered, rightly, if it is held; the rest is refused.
func TestAnswers(t *testing.T) {
	const piece = 64 << 10
	for _, v := range v2Versions {
		o := newTorrent(t, v, piece, 9*piece+100, piece, 20_000, 5)
		for p := range o.Info.NumPieces() {
			if p != 1 {
				o.held = append(o.held, p)
			}
		}
		trees := NewTrees(o.Info, o.PieceLayers)
		a := NewAnswerer(trees, store{o}, 80)
		rng := rand.New(rand.NewPCG(1, 2))
		now, answered := time.Unix(0, 0), 0
		for i := range 4000 {
			f := &trees.files[rng.IntN(len(trees.files))]
			r := wire.HashRange{Root: f.root, Base: uint32(rng.IntN(5)), Length: 1 << rng.IntN(7), Proof: uint32(rng.IntN(6))}
			r.Index = r.Length * uint32(rng.IntN(5))
			if rng.IntN(10) == 0 {
				r.Index++
			}
			want, err := o.hashes(r)
			may := err == nil && r.Length >= 2
			admitted := trees.Admit(now.Add(time.Duration(i)*time.Minute), &Allowance{}, r, 0)
			if admitted != may {
				t.Errorf("%v: %+v of a file of %d bytes: admitted %v, want %v (%v)", v, r, f.length, admitted, may, err)
			}
			if !admitted {
				continue
			}
			width := uint32(4) >> min(r.Base, 2)
			if f.first == 0 && r.Base < 2 && r.Index < 2*width && r.Index+r.Length > width {
				may = false // it touches piece 1
			}
			got, err := a.Answer(context.Background(), now, 1, r)
			if (err == nil) != may {
				t.Errorf("%v: %+v: %v", v, r, err)
				continue
			}
			for j := range got {
				if got[j] != want[j] {
					t.Errorf("%v: %+v: wrong hash %d", v, r, j)
				}
			}
			if err == nil && len(got) != len(want) {
				t.Errorf("%v: %+v: %d hashes, want %d", v, r, len(got), len(want))
			}
			answered++
		}
		if answered < 200 {
			t.Errorf("%d requests only were answered", answered)
		}
	}
}

// A peer gets so many bytes of hashes a second, and some for each block that it was sent.
func TestAllowance(t *testing.T) {
	o := newTorrent(t, metainfo.V2, blockSize, 600*blockSize)
	trees := NewTrees(o.Info, o.PieceLayers)
	r := wire.HashRange{Root: trees.files[0].root, Length: 512}
	var a Allowance
	now := time.Unix(0, 0)
	admitted := func() (n int) {
		for trees.Admit(now, &a, r, a.sent) {
			n++
		}
		return n
	}
	if n := admitted(); n != answerBurst/(512*32) {
		t.Errorf("%d answers at once", n)
	}
	now = now.Add(time.Second / 2)
	if n := admitted(); n != answerRate/2/(512*32) {
		t.Errorf("%d answers after half a second", n)
	}
	if blocks := int64(512 * 32 / answerShare); trees.Admit(now, &a, r, (blocks-1)*blockSize) || !trees.Admit(now, &a, r, blocks*blockSize) {
		t.Errorf("want one more answer for %d blocks", blocks)
	}
}

// A peer does not make us hash without end; others are answered meanwhile, and what was hashed is at hand.
func TestRehashing(t *testing.T) {
	const piece = 256 << 10
	o := newTorrent(t, metainfo.V2, piece, 20*piece)
	for p := range o.Info.NumPieces() {
		o.held = append(o.held, p)
	}
	trees := NewTrees(o.Info, o.PieceLayers)
	a := NewAnswerer(trees, store{o}, 80)
	ctx, stop := context.WithCancel(context.Background())
	ask := func(at time.Time, p uint32) error {
		_, err := a.Answer(ctx, at, 0, wire.HashRange{Root: trees.files[0].root, Index: 16 * p, Length: 16})
		return err
	}
	now := time.Unix(0, 0)
	for i := range uint32(2 * rehashBurst / piece) {
		clear(a.byKey)
		a.recent.Init()
		if err := ask(now, i%20); (err != nil) != (i >= rehashBurst/piece) {
			t.Fatalf("piece %d: %v", i, err)
		}
	}
	if err := ask(now.Add(time.Second), 3); err != nil {
		t.Error("after a second:", err)
	}
	if err := ask(now.Add(time.Second), 3); err != nil {
		t.Error("what is at hand is not answered:", err)
	}
	stop()
	clear(a.byKey)
	if err := ask(now.Add(time.Hour), 4); !errors.Is(err, context.Canceled) {
		t.Error("after the end:", err)
	}
}

// Trees that are kept to answer from stay within their memory.
func TestAnswererForgets(t *testing.T) {
	const piece = 1 << 20
	o := newTorrent(t, metainfo.V2, piece, 4*piece)
	a := NewAnswerer(NewTrees(o.Info, o.PieceLayers), store{o}, 80)
	tree := metainfo.NewTree(make([]metainfo.SHA256, 64), 0)
	for i := range 1000 {
		a.keep(treeKey{0, i}, tree, answerMemory/10)
		if a.held > answerMemory || len(a.byKey) != a.recent.Len() || len(a.byKey) > 10 {
			t.Fatalf("%d bytes of %d trees are kept, %d in order", a.held, len(a.byKey), a.recent.Len())
		}
	}
	if a.cached(treeKey{0, 999}) == nil || a.cached(treeKey{0, 0}) != nil {
		t.Error("the newest is not kept, or the oldest is")
	}
}
