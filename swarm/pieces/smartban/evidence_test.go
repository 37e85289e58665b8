package smartban

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"torrentfs/metainfo"
)

func addrOf(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 6881)
}

func TestTheLiarAloneIsNamed(t *testing.T) {
	honest, liar := Sender{Peer: addrOf(1)}, Sender{Web: 1}
	var e Evidence
	wrong := [][]byte{[]byte("a"), []byte("X"), []byte("c"), []byte("Y")}
	right := [][]byte{[]byte("a"), []byte("b"), []byte("c"), []byte("d")}
	from := func(blocks [][]byte) ReadBlock {
		return func(i int) ([]byte, error) { return blocks[i], nil }
	}
	for i := range 4 {
		e.Received(metainfo.Block{Piece: 5, Index: i}, 4, []Sender{honest, liar}[i%2])
	}
	e.Failed(5, from(wrong))
	for i := range 4 {
		e.Received(metainfo.Block{Piece: 5, Index: i}, 4, honest)
	}
	liars := e.Passed(5, from(right))
	if !slices.Equal(liars, []Sender{liar, liar}) {
		t.Errorf("liars %v, want %v twice", liars, liar)
	}
	if len(e.senders) != 0 || len(e.failed) != 0 {
		t.Error("what is settled is still remembered")
	}
	if got := e.Passed(5, from(right)); got != nil {
		t.Errorf("a piece that never failed has liars %v", got)
	}
}

func TestBlocksThatCannotBeReadBackAreNoEvidence(t *testing.T) {
	var e Evidence
	e.Received(metainfo.Block{Piece: 0, Index: 0}, 2, Sender{Peer: addrOf(1)})
	e.Received(metainfo.Block{Piece: 0, Index: 1}, 2, Sender{Peer: addrOf(2)})
	broken := func(int) ([]byte, error) { return nil, errors.New("disk") }
	e.Failed(0, broken)
	if got := e.Passed(0, broken); got != nil {
		t.Errorf("named %v without evidence", got)
	}
}

func TestEvidenceIsBounded(t *testing.T) {
	var e Evidence
	for p := range 10 * maxFailed {
		e.Received(metainfo.Block{Piece: p, Index: 0}, 2, Sender{Peer: addrOf(1)})
		e.Received(metainfo.Block{Piece: p, Index: 1}, 2, Sender{Peer: addrOf(2)})
		e.Failed(p, func(int) ([]byte, error) { return []byte{1}, nil })
	}
	if len(e.failed) > maxFailed || len(e.senders) != 0 {
		t.Errorf("remembers %d pieces and %d senders", len(e.failed), len(e.senders))
	}
}

func TestTheSoleSenderIsNamedAtOnce(t *testing.T) {
	liar := Sender{Peer: addrOf(9)}
	var e Evidence
	for i := range 3 {
		e.Received(metainfo.Block{Piece: 1, Index: i}, 4, liar) // the fourth block is a pad: nobody sent it
	}
	if got := e.Failed(1, func(int) ([]byte, error) { return []byte("wrong"), nil }); !slices.Equal(got, []Sender{liar}) {
		t.Errorf("a piece of one sender names %v, want %v", got, liar)
	}
	if len(e.failed) != 0 {
		t.Error("the case is closed and still remembered")
	}
}

// Whatever comes in whatever order, no honest sender is named, and one whose wrong block was in a piece that failed and
// is right now is.
func TestAnyDownload(t *testing.T) {
	right := []byte("right")
	rapid.Check(t, func(t *rapid.T) {
		const pieces, blocks, senders = 3, 4, 5
		var e Evidence
		data := [pieces][blocks][]byte{}
		lied := map[metainfo.Piece]map[Sender]bool{} // in blocks of pieces that failed
		liars := rapid.IntRange(0, senders).Draw(t, "liars")
		read := func(p metainfo.Piece) ReadBlock {
			return func(b int) ([]byte, error) {
				if data[p][b] == nil {
					return nil, errors.New("no such block")
				}
				return data[p][b], nil
			}
		}
		named := func(p metainfo.Piece, by []Sender) {
			for _, s := range by {
				if s.Web > liars {
					t.Fatalf("%v is named for piece %d, and honest", s, p)
				}
			}
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			p := metainfo.Piece(rapid.IntRange(0, pieces-1).Draw(t, "piece"))
			i := slices.IndexFunc(data[p][:], func(b []byte) bool { return b == nil })
			if i >= 0 {
				by := rapid.IntRange(1, senders).Draw(t, "sender")
				block := right
				if by <= liars && rapid.Bool().Draw(t, "wrong") {
					block = fmt.Appendf(nil, "wrong %d", by)
				}
				data[p][i] = block
				e.Received(metainfo.Block{Piece: p, Index: i}, blocks, Sender{Web: by})
			} else if slices.ContainsFunc(data[p][:], func(b []byte) bool { return !bytes.Equal(b, right) }) {
				sole := e.Sole(p)
				if lied[p] == nil {
					lied[p] = map[Sender]bool{}
				}
				for b := range blocks {
					if !sole.Known() && !bytes.Equal(data[p][b], right) {
						lied[p][e.Sender(metainfo.Block{Piece: p, Index: b})] = true
					}
				}
				named(p, e.Failed(p, read(p)))
				data[p] = [blocks][]byte{}
			} else {
				by := e.Passed(p, read(p))
				named(p, by)
				for s := range lied[p] {
					if !slices.Contains(by, s) {
						t.Fatalf("%v lied in piece %d and is not named", s, p)
					}
				}
				delete(lied, p)
				data[p] = [blocks][]byte{}
			}
			if err := e.CheckInvariants(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

var update = flag.Bool("update", false, "write the golden traces anew")

// Two pieces, one liar, for a person to read.
func TestGoldenTrace(t *testing.T) {
	var e Evidence
	var b strings.Builder
	data := map[metainfo.Block]string{}
	come := func(p metainfo.Piece, i int, by Sender, text string) {
		block := metainfo.Block{Piece: p, Index: i}
		data[block] = text
		e.Received(block, 3, by)
		fmt.Fprintf(&b, "block %d of piece %d, %q, from %s\n", i, p, text, name(by))
	}
	verdict := func(p metainfo.Piece, right bool) {
		judge, word := e.Failed, "failed"
		if right {
			judge, word = e.Passed, "passed"
		}
		liars := judge(p, func(i int) ([]byte, error) { return []byte(data[metainfo.Block{Piece: p, Index: i}]), nil })
		fmt.Fprintf(&b, "piece %d %s its hash\n", p, word)
		for _, s := range liars {
			fmt.Fprintf(&b, "  -> ban %s\n", name(s))
		}
	}
	x, y, web := Sender{Peer: addrOf(1)}, Sender{Peer: addrOf(2)}, Sender{Web: 1}
	come(0, 0, x, "a")
	come(0, 1, y, "WRONG")
	come(0, 2, web, "c")
	verdict(0, false)
	come(0, 0, x, "a")
	come(0, 1, x, "b")
	come(0, 2, x, "c")
	verdict(0, true)
	for i := range 3 {
		come(1, i, web, "WRONG")
	}
	verdict(1, false)
	compareGolden(t, "one_liar.txt", b.String())
}

func name(s Sender) string {
	if s.Web > 0 {
		return fmt.Sprintf("web seed %d", s.Web)
	}
	return s.Peer.String()
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
