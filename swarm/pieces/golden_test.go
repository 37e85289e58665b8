package pieces

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/swarm/pieces/smartban"
)

var update = flag.Bool("update", false, "write the golden traces anew")

// trace writes what happens to a ledger, and what it asks for.
type trace struct {
	strings.Builder
	o   *outside
	now time.Duration
}

func (tr *trace) say(format string, args ...any) {
	fmt.Fprintf(tr, "%7s  %s\n", tr.now, fmt.Sprintf(format, args...))
}

func (tr *trace) do(actions []Action) {
	for _, a := range actions {
		fmt.Fprintf(tr, "           -> %s %d", a.Kind, a.Piece)
		if a.Sender.Known() {
			fmt.Fprintf(tr, ": web seed %d", a.Sender.Web)
		}
		if a.Duplicate != nil {
			fmt.Fprintf(tr, ": %s", a.Duplicate.Path)
		}
		fmt.Fprintln(tr)
	}
	tr.o.apply(actions)
	fmt.Fprintf(tr, "           %s\n", tr.states())
}

// states is a letter for each piece.
func (tr *trace) states() string {
	l, b := tr.o.l, []byte{}
	for p := range l.cfg.Pieces {
		_, unchecked := l.unchecked.pieces[p]
		switch {
		case l.Has(p):
			b = append(b, 'H')
		case l.rechecks.taken.Has(p):
			b = append(b, 'C')
		case l.InDoubt(p):
			b = append(b, 'd')
		case l.UnderWay(p):
			b = append(b, 'w')
		case unchecked:
			b = append(b, 'u')
		default:
			b = append(b, '.')
		}
	}
	return string(b)
}

func (tr *trace) receive(p metainfo.Piece, by int) {
	tr.say("block %d of piece %d from web seed %d", tr.o.came[p], p, by)
	tr.o.receive(p, smartban.Sender{Web: by})
}

func (tr *trace) hashed(v Verdict) {
	tr.say("hash worker: piece %d %s", v.Piece, word(v))
	if v.OK {
		tr.o.store.Set(v.Piece)
	}
	tr.do(tr.o.l.Hashed(v, tr.o.read(v.Piece)))
}

func (tr *trace) check(v Verdict) {
	c, ok := tr.o.l.NextCheck()
	if !ok {
		tr.say("nothing to check")
		return
	}
	tr.o.l.CheckTaken()
	if v.Piece = c.Piece; v.OK {
		tr.o.store.Set(v.Piece)
	}
	tr.say("checker: piece %d (%d tries for a block) %s", v.Piece, c.Tries, word(v))
	tr.do(tr.o.l.Checked(tr.now, v))
}

func word(v Verdict) string {
	switch {
	case v.Err != nil:
		return "not read: " + v.Err.Error()
	case v.OK:
		return "right"
	}
	return "wrong"
}

// A start with some data on disk, a liar, a disk that fails and works again, and a duplicate; for a person to read.
func TestGoldenTrace(t *testing.T) {
	tr := &trace{o: newOutside(t, 8, bitset.Set{0b1}, bitset.Set{0b1110}), now: time.Second}
	l := tr.o.l
	fmt.Fprintln(tr, "8 pieces of 2 blocks; H held, d in doubt, C at a checker, w under way, u unchecked, . missing")
	fmt.Fprintf(tr, "           %s\n", tr.states())
	tr.say("a read waits for piece 3: in doubt %v", l.Hurry(3, 3))
	tr.check(Verdict{OK: true})
	tr.check(Verdict{})
	tr.check(Verdict{OK: true})
	tr.receive(1, 1)
	tr.receive(1, 2)
	tr.hashed(Verdict{Piece: 1})
	tr.receive(1, 1)
	tr.receive(1, 1)
	tr.hashed(Verdict{Piece: 1, OK: true})

	tr.now += time.Minute
	for range 2 {
		tr.say("pieces 0 and 2 could not be read: the disk failed at 0")
		tr.o.store.Clear(0)
		tr.o.store.Clear(2)
		tr.do(l.Invalidate(tr.now, []metainfo.Piece{0, 2}, 0, true))
		for l.Doubtful() > 0 {
			tr.check(Verdict{Err: errDisk})
		}
	}
	for l.Doubtful() == 0 {
		tr.now = max(tr.now+time.Second, l.NextDeadline()).Round(time.Millisecond)
		tr.say("the disk is tried again, if a piece is due")
		l.Tick(tr.now)
		fmt.Fprintf(tr, "           %s\n", tr.states())
	}
	tr.check(Verdict{OK: true})
	for l.Doubtful() > 0 {
		tr.check(Verdict{OK: true})
	}

	tr.say("pieces 4 to 7 are in a file of another torrent")
	l.Offer([]Duplicate{{First: 4, Pieces: 4, Path: "/other/file"}})
	tr.do(l.ClaimWanted())
	tr.check(Verdict{OK: true})
	for range 3 {
		tr.check(Verdict{})
	}
	tr.say("the store gave up piece 4: the disk takes nothing")
	tr.o.store.Clear(4)
	tr.do(l.Dropped([]metainfo.Piece{4}))
	compareGolden(t, "life_of_pieces.txt", tr.String())
}

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
