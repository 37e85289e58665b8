package pieces

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/swarm/pieces/smartban"
)

var errDisk = errors.New("input/output error")

// outside is what surrounds a ledger: the picker, the peers and the store, as its actions tell them.
type outside struct {
	t       rapid.TB
	l       *Ledger
	pieces  int
	store   bitset.Set // committed
	pending []func()   // what the ledger has not been told yet
	hashing []int      // counts, for each piece, how often its hashing ended
	picked  []bool     // the picker takes it for held
	told    []bool     // peers were told that we have it
	came    []int      // blocks received
	checks  []Check
	banned  []smartban.Sender
	unknown bitset.Set // pieces whose hash is not known
}

const testBlocks = 2

func newOutside(t rapid.TB, n int, held, inDoubt bitset.Set) *outside {
	o := &outside{
		t: t, pieces: n, picked: make([]bool, n), told: make([]bool, n), came: make([]int, n), unknown: bitset.New(n),
		hashing: make([]int, n), store: bitset.New(n),
	}
	copy(o.store, held)
	o.l = New(Config{
		Pieces: n, Held: held, InDoubt: inDoubt, Leaves: true, Rand: rand.New(rand.NewPCG(1, 2)),
		Blocks:    func(metainfo.Piece) int { return testBlocks },
		Bytes:     func(metainfo.Piece) int64 { return 1 },
		Committed: o.store.Has,
		Known:     func(p metainfo.Piece) bool { return !o.unknown.Has(p) },
		Stored:    func(metainfo.Piece) bool { return false },
		Wanted:    func(metainfo.Piece) bool { return true },
	})
	for p := range n {
		o.told[p] = o.l.Has(p)
		o.picked[p] = o.l.Has(p) || o.l.InDoubt(p)
	}
	return o
}

// apply carries out actions and checks that each changes something.
func (o *outside) apply(actions []Action) {
	for _, a := range actions {
		switch a.Kind {
		case Held:
			o.picked[a.Piece] = true
		case Have, DontHave:
			if o.told[a.Piece] == (a.Kind == Have) {
				o.t.Fatalf("%v %d: nothing changed", a.Kind, a.Piece)
			}
			o.told[a.Piece] = a.Kind == Have
		case Failed, Lost:
			o.picked[a.Piece] = false
		case Forget:
			o.came[a.Piece] = 0
			o.hashing[a.Piece]++
		case Ban:
			o.banned = append(o.banned, a.Sender)
		}
	}
	o.check()
}

// check compares what the others were told with what the ledger knows.
func (o *outside) check() {
	if err := o.l.CheckInvariants(); err != nil {
		o.t.Fatal(err)
	}
	for p := range o.pieces {
		has, inDoubt := o.l.Has(p), o.l.InDoubt(p)
		if o.told[p] != has {
			o.t.Fatalf("piece %d is held %v, peers were told %v", p, has, o.told[p])
		}
		if has && !o.picked[p] {
			o.t.Fatalf("piece %d is held, and the picker fetches it", p)
		}
		if len(o.pending) == 0 && has != o.store.Has(p) && len(o.checks) == 0 {
			o.t.Fatalf("piece %d is held %v, and committed %v", p, has, o.store.Has(p))
		}
		if o.picked[p] && !has && !inDoubt {
			o.t.Fatalf("the picker does not fetch piece %d, which is neither held nor in doubt", p)
		}
		if (o.came[p] > 0) != o.l.UnderWay(p) {
			o.t.Fatalf("%d blocks of piece %d came, it is under way: %v", o.came[p], p, o.l.UnderWay(p))
		}
	}
}

// receive takes the next block of a piece that the picker fetches.
func (o *outside) receive(p metainfo.Piece, by smartban.Sender) {
	o.l.Received(metainfo.Block{Piece: p, Index: o.came[p]}, by)
	o.came[p]++
	o.check()
}

func (o *outside) read(p metainfo.Piece) smartban.ReadBlock {
	return func(int) ([]byte, error) { return []byte{byte(p)}, nil }
}

// later has the ledger told of something, which happened already, when its channel's turn comes.
func (o *outside) later(f func()) { o.pending = append(o.pending, f) }

// hashed has a hash worker judge a piece of which all blocks came.
func (o *outside) hashed(v Verdict) {
	p, of := v.Piece, o.hashing[v.Piece]
	if v.OK {
		o.store.Set(p)
	}
	o.came[p]++ // nothing more is to be hashed
	o.later(func() {
		if of == o.hashing[p] || v.OK && o.store.Has(p) { // else it is of blocks that were dropped since
			o.apply(o.l.Hashed(v, o.read(p)))
		}
	})
}

// withdraw has the store withdraw its trust in a piece, because it could not be read or is not on disk any more.
func (o *outside) withdraw(now time.Duration, p metainfo.Piece, unreadable bool) {
	o.store.Clear(p)
	o.later(func() { o.apply(o.l.Invalidate(now, []metainfo.Piece{p}, p, unreadable)) })
}

// Whatever happens, and whenever the ledger hears of it: what the picker does not fetch is held or in doubt, peers know
// exactly what is held, and in the end that is what the store has.
func TestAnyEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 6
		draw := func(most int, what string) int { return rapid.IntRange(0, most).Draw(t, what) }
		some := func(what string) bitset.Set { return bitset.Set{uint64(draw(1<<n-1, what))} }
		o := newOutside(t, n, some("held"), some("in doubt"))
		l, now := o.l, time.Duration(0)
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			now += time.Duration(draw(10_000, "ms")) * time.Millisecond
			p := metainfo.Piece(draw(n-1, "piece"))
			switch rapid.IntRange(0, 11).Draw(t, "what") {
			case 0, 1:
				if !o.picked[p] && o.came[p] < testBlocks {
					o.receive(p, smartban.Sender{Web: 1 + draw(2, "sender")})
				}
			case 2:
				if o.came[p] == testBlocks {
					v := []Verdict{{OK: true}, {}, {Err: errDisk}}[draw(2, "verdict")]
					v.Piece = p
					o.hashed(v)
				}
			case 3, 4:
				if c, ok := l.NextCheck(); ok {
					l.CheckTaken()
					o.checks = append(o.checks, c)
				}
			case 5, 6:
				if len(o.checks) > 0 {
					c := o.checks[0]
					o.checks = o.checks[1:]
					v := []Verdict{{OK: true}, {}, {Err: errDisk}, {Err: errDisk, NotCopied: c.Duplicate != nil}}[draw(3, "verdict")]
					if v.Piece = c.Piece; v.OK {
						o.store.Set(v.Piece)
					}
					o.later(func() { o.apply(l.Checked(now, v)) })
				}
			case 7:
				if o.store.Has(p) {
					o.withdraw(now, p, rapid.Bool().Draw(t, "unreadable"))
				}
			case 8:
				if o.store.Clear(p) {
					o.apply(l.Dropped([]metainfo.Piece{p}))
				}
			case 9:
				if len(l.duplicates.list) == 0 {
					l.Offer([]Duplicate{{First: 4, Pieces: 2, Path: "b"}, {First: 0, Pieces: 3, Path: "a"}})
				}
				o.apply(l.Claim(p, p))
				o.apply(l.ClaimWanted())
			case 10:
				l.Tick(now)
				o.check()
			case 11:
				if len(o.pending) > 0 {
					i := draw(len(o.pending)-1, "event")
					f := o.pending[i]
					o.pending = slices.Delete(o.pending, i, i+1)
					f()
				}
			}
		}
	})
}

// A piece that came from peers while it was checked on disk stays, whatever the check says.
func TestPieceThatComesWhileItIsChecked(t *testing.T) {
	o := newOutside(t, 1, bitset.Set{1}, nil)
	now := time.Second
	o.store.Clear(0)
	o.apply(o.l.Invalidate(now, []metainfo.Piece{0}, 0, true))
	take := func(v Verdict) {
		c, ok := o.l.NextCheck()
		if !ok {
			t.Fatal("nothing to check")
		}
		o.l.CheckTaken()
		v.Piece = c.Piece
		o.apply(o.l.Checked(now, v))
	}
	take(Verdict{Err: errDisk})
	if o.picked[0] {
		t.Fatal("an unreadable piece is not fetched")
	}
	now = o.l.NextDeadline()
	if o.l.Tick(now); !o.l.InDoubt(0) {
		now += LongestPause
		o.l.Tick(now)
	}
	if !o.l.InDoubt(0) {
		t.Fatal("the disk is not tried again")
	}
	for range testBlocks {
		o.receive(0, smartban.Sender{Web: 1})
	}
	o.hashed(Verdict{OK: true})
	o.pending[0]()
	if !slices.Equal(o.told, []bool{true}) {
		t.Fatal("a piece that is right is not held")
	}
	take(Verdict{Err: errDisk})
	if !o.l.Has(0) {
		t.Error("a piece that is committed is not held")
	}
}

func TestDuplicatesWaitForTheirHash(t *testing.T) {
	o := newOutside(t, 2, nil, nil)
	o.unknown.Set(1)
	o.l.Offer([]Duplicate{{First: 0, Pieces: 2, Path: "a"}})
	o.apply(o.l.ClaimWanted())
	if !o.l.InDoubt(0) || o.l.InDoubt(1) {
		t.Fatalf("in doubt: %v and %v, want the one whose hash is known", o.l.InDoubt(0), o.l.InDoubt(1))
	}
	o.unknown.Clear(1)
	if o.apply(o.l.ClaimWanted()); !o.l.InDoubt(1) {
		t.Error("the other is not claimed when its hash is known")
	}
}

func TestPiecesWaitForTheirHash(t *testing.T) {
	o := newOutside(t, 2, nil, nil)
	o.unknown.SetRange(0, 2)
	for p := range 2 {
		o.receive(p, smartban.Sender{Web: 1})
		o.l.Complete(p)
	}
	if acts := o.l.HashesCame(); len(acts) > 0 {
		t.Errorf("judged without a hash: %v", acts)
	}
	o.unknown.Clear(1)
	if acts := o.l.HashesCame(); len(acts) != 1 || acts[0].Kind != Judge || acts[0].Piece != 1 {
		t.Errorf("%v, want piece 1 judged", acts)
	}
}

func TestReadsComeFirst(t *testing.T) {
	o := newOutside(t, 64, nil, bitset.Set{^uint64(0)})
	var got []metainfo.Piece
	take := func() {
		c, _ := o.l.NextCheck()
		o.l.CheckTaken()
		got = append(got, c.Piece)
	}
	take()
	if !o.l.Hurry(40, 41) || o.l.Hurry(64, 63) {
		t.Error("Hurry is wrong about what is in doubt")
	}
	for range 4 {
		take()
	}
	if want := []metainfo.Piece{0, 40, 41, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("checked %v, want %v", got, want)
	}
}

// The pauses of a disk that does not read grow, and end with the first piece that it reads.
func TestUnreadablePiecesAreTriedOneByOne(t *testing.T) {
	o := newOutside(t, 3, nil, bitset.Set{7})
	now := time.Second
	check := func(v Verdict) metainfo.Piece {
		t.Helper()
		c, ok := o.l.NextCheck()
		if !ok {
			t.Fatal("nothing to check")
		}
		o.l.CheckTaken()
		if v.Piece = c.Piece; v.OK {
			o.store.Set(c.Piece)
		}
		o.apply(o.l.Checked(now, v))
		return c.Piece
	}
	for range 3 {
		check(Verdict{Err: errDisk})
	}
	var pauses []time.Duration
	for range 6 {
		before := now
		for n := 0; o.l.Doubtful() == 0; n++ {
			if n > 100 {
				t.Fatal("the disk is not tried again")
			}
			now = max(now+time.Second, o.l.NextDeadline())
			o.l.Tick(now)
		}
		pauses = append(pauses, now-before)
		check(Verdict{Err: errDisk})
	}
	if pauses[0] > 5*time.Second || slices.Max(pauses) > 2*LongestPause || pauses[5] < LongestPause/2 {
		t.Errorf("pauses %v", pauses)
	}
	for n := 0; o.l.Count() < 3; n++ {
		if n > 200 {
			t.Fatalf("%d of 3 pieces are held although the disk reads again", o.l.Count())
		}
		now = max(now+time.Second, min(o.l.NextDeadline(), now+LongestPause))
		o.l.Tick(now)
		for o.l.Doubtful() > 0 {
			check(Verdict{OK: true})
		}
	}
}
