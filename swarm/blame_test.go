package swarm

import (
	"errors"
	"slices"
	"testing"
)

func TestBlameNamesTheLiarAlone(t *testing.T) {
	honest, liar := sender{peer: addrOf(1)}, sender{web: &webPeer{}}
	var b blame
	wrong := [][]byte{[]byte("a"), []byte("X"), []byte("c"), []byte("Y")}
	right := [][]byte{[]byte("a"), []byte("b"), []byte("c"), []byte("d")}
	from := func(blocks [][]byte) func(int) ([]byte, error) {
		return func(i int) ([]byte, error) { return blocks[i], nil }
	}
	for i := range 4 {
		b.sent(5, i, 4, []sender{honest, liar}[i%2])
	}
	b.failed(5, from(wrong))
	for i := range 4 {
		b.sent(5, i, 4, honest)
	}
	liars := b.passed(5, from(right))
	if !slices.Equal(liars, []sender{liar, liar}) {
		t.Errorf("liars %v, want %v twice", liars, liar)
	}
	if len(b.senders) != 0 || len(b.culprits) != 0 {
		t.Error("settled blame is still remembered")
	}
	if got := b.passed(5, from(right)); got != nil {
		t.Errorf("a piece that never failed has liars %v", got)
	}
}

func TestBlameSparesBlocksThatCannotBeReadBack(t *testing.T) {
	var b blame
	b.sent(0, 0, 2, sender{peer: addrOf(1)})
	b.sent(0, 1, 2, sender{peer: addrOf(2)})
	broken := func(int) ([]byte, error) { return nil, errors.New("disk") }
	b.failed(0, broken)
	if got := b.passed(0, broken); got != nil {
		t.Errorf("blamed %v without evidence", got)
	}
}

func TestBlameIsBounded(t *testing.T) {
	var b blame
	for p := range 10 * maxCulprits {
		b.sent(p, 0, 2, sender{peer: addrOf(1)})
		b.sent(p, 1, 2, sender{peer: addrOf(2)})
		b.failed(p, func(int) ([]byte, error) { return []byte{1}, nil })
	}
	if len(b.culprits) > maxCulprits || len(b.senders) != 0 {
		t.Errorf("remembers %d pieces and %d senders", len(b.culprits), len(b.senders))
	}
}

func TestBlameNamesTheSoleSenderAtOnce(t *testing.T) {
	liar := sender{peer: addrOf(9)}
	var b blame
	for i := range 3 {
		b.sent(1, i, 4, liar) // the fourth block is a pad: nobody sent it
	}
	if got := b.failed(1, func(int) ([]byte, error) { return []byte("wrong"), nil }); !slices.Equal(got, []sender{liar}) {
		t.Errorf("a piece of one sender blames %v, want %v", got, liar)
	}
	if len(b.culprits) != 0 {
		t.Error("the case is closed and still remembered")
	}
}
