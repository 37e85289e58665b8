package wire

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestTruncatedStreams(t *testing.T) {
	lim := Limits{Pieces: 100_000, Features: allFeatures}
	for name, whole := range map[string][]byte{
		"have":     AppendHave(nil, 1),
		"bitfield": AppendBitfield(nil, nil, 100_000),
		"extended": AppendExtended(nil, 1, make([]byte, 20_000)),
		"piece":    appendPiece(nil, 0, 0, pattern(MaxBlock)),
	} {
		for _, n := range []int{1, 3, 4, 5, 8, 12, 100, 5000, len(whole) - 1} {
			if n >= len(whole) {
				continue
			}
			r := NewReader(bytes.NewReader(whole[:n]), lim)
			var m Message
			err := r.Next(&m)
			if err == nil && m.ID == Piece {
				err = r.ReadBlock(make([]byte, m.Length))
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s cut at %d: %v, want an unexpected EOF", name, n, err)
			}
		}
	}
}

// TestRoundTrip: what is encoded comes back, however the stream is cut, with and without vectored
// reads.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var data []byte
		var want []string
		for range rapid.IntRange(1, 30).Draw(t, "messages") {
			start := len(data)
			a, b, c := rapid.Uint32().Draw(t, "a"), rapid.Uint32().Draw(t, "b"), rapid.Uint32().Draw(t, "c")
			body := pattern(rapid.IntRange(1, MaxBlock).Draw(t, "length"))
			switch rapid.IntRange(0, 8).Draw(t, "kind") {
			case 0:
				data = AppendKeepAlive(data)
			case 1:
				data = AppendHave(data, a)
			case 2:
				data = AppendRequest(data, a, b, c)
			case 3, 4, 5:
				data = appendPiece(data, a, b, body)
			case 6:
				data = AppendExtended(data, uint8(a), body)
			case 7:
				data = AppendHashReject(data, HashRange{Base: a, Index: b, Length: min(c, ^b)})
			case 8:
				data = AppendBitfield(data, []uint64{uint64(a), uint64(b)}, int(c%200_000))
			}
			want = append(want, string(data[start:]))
		}
		src := vectoredStream{stream{data: data, step: rapid.SampledFrom([]int{0, 1, 7, 1448, 4096, 16397, 16384, 20000}).Draw(t, "step")}}
		var conn io.Reader = &src
		if !rapid.Bool().Draw(t, "vectored") {
			conn = &src.stream
		}
		r := NewReader(conn, Limits{Features: allFeatures})
		var m Message
		for i, w := range want {
			if err := r.Next(&m); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
			got := m.Append(nil)
			if m.ID == Piece {
				p := make([]byte, m.Length)
				cut := rapid.IntRange(0, len(p)).Draw(t, "cut")
				for _, part := range [][]byte{p[:cut], p[cut:]} {
					if len(part) == 0 {
						continue
					}
					if err := r.ReadBlock(part); err != nil {
						t.Fatalf("message %d: %v", i, err)
					}
				}
				got = append(got, p...)
			}
			if string(got) != w {
				t.Fatalf("message %d (%v) differs", i, m.ID)
			}
		}
		if err := r.Next(&m); err != io.EOF {
			t.Fatalf("at the end: %v", err)
		}
	})
}

func TestSkipBlock(t *testing.T) {
	data := appendPiece(nil, 0, 0, pattern(MaxBlock))
	data = appendPiece(data, 1, 0, pattern(100))
	data = appendPiece(data, 2, 0, pattern(MaxBlock))
	data = AppendUnchoke(data)
	r := NewReader(bytes.NewReader(data), Limits{})
	var m Message
	next := func(id ID) {
		t.Helper()
		if err := r.Next(&m); err != nil || m.ID != id {
			t.Fatalf("got %v, %v; want %v", m.ID, err, id)
		}
	}
	next(Piece)
	if err := r.ReadBlock(make([]byte, 1000)); err != nil { // the rest is skipped
		t.Fatal(err)
	}
	next(Piece)
	if err := r.SkipBlock(); err != nil {
		t.Fatal(err)
	}
	if err := r.ReadBlock(make([]byte, 1)); !errors.Is(err, ErrBlockSize) {
		t.Fatalf("block read twice: %v", err)
	}
	next(Piece) // not read at all
	if err := r.ReadBlock(make([]byte, MaxBlock+1)); !errors.Is(err, ErrBlockSize) {
		t.Fatalf("read beyond the block: %v", err)
	}
	next(Unchoke)
}

func TestBlockProgress(t *testing.T) {
	data := appendPiece(nil, 0, 0, pattern(MaxBlock))
	var got []int
	run := func(step int) {
		got = nil
		r := NewReader(&stream{data: data, step: step}, Limits{})
		r.BlockProgress(func(n int) { got = append(got, n) })
		var m Message
		if err := r.Next(&m); err != nil {
			t.Fatal(err)
		}
		if err := r.ReadBlock(make([]byte, m.Length)); err != nil {
			t.Fatal(err)
		}
	}
	run(1000)
	if want := []int{4987, 9987, 14987}; !cmp.Equal(got, want) {
		// 1000-byte reads, the first of which has the header of 13 bytes
		t.Errorf("steps of 1000: %v, want %v", got, want)
	}
	run(1)
	if want := []int{4096, 8192, 12288}; !cmp.Equal(got, want) {
		t.Errorf("steps of 1: %v, want %v", got, want)
	}
	run(0)
	if want := []int(nil); !cmp.Equal(got, want) {
		t.Errorf("at once: %v, want none", got)
	}
}

// TestOneCallPerBlock: with vectored reads a stream of blocks costs one call
// each, since the next header comes with the payload before it.
func TestOneCallPerBlock(t *testing.T) {
	const blocks = 100
	var data []byte
	for i := range uint32(blocks) {
		data = appendPiece(data, i, 0, pattern(MaxBlock))
	}
	src := &vectoredStream{stream{data: data}}
	r := NewReader(src, Limits{})
	var m Message
	p := make([]byte, MaxBlock)
	for range blocks {
		if err := r.Next(&m); err != nil {
			t.Fatal(err)
		}
		if err := r.ReadBlock(p[:m.Length]); err != nil {
			t.Fatal(err)
		}
	}
	mustEqual(t, "last block", p, pattern(MaxBlock))
	if src.calls > blocks+1 {
		t.Errorf("%d calls for %d blocks", src.calls, blocks)
	}
}

// TestClaimedLength: a long message that never comes takes no memory to speak of.
func TestClaimedLength(t *testing.T) {
	in := frame(1+MaxPieces/8, Bitfield, make([]byte, 5000)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const n = 100
	for range n {
		r := NewReader(bytes.NewReader(in), Limits{})
		var m Message
		if err := r.Next(&m); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 40<<10 {
		t.Errorf("%d bytes allocated for a message of 5 KB that claims 256 KiB", each)
	}
}

func TestNoProgress(t *testing.T) {
	r := NewReader(stuck{}, Limits{})
	if err := r.Next(new(Message)); !errors.Is(err, io.ErrNoProgress) {
		t.Fatal(err)
	}
	r = NewReader(io.MultiReader(bytes.NewReader(AppendPieceHeader(nil, 0, 0, 100)), stuck{}), Limits{})
	if err := r.Next(new(Message)); err != nil {
		t.Fatal(err)
	}
	if err := r.ReadBlock(make([]byte, 100)); !errors.Is(err, io.ErrNoProgress) {
		t.Fatal(err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// mixed is a stream of what a busy connection carries, without end.
func mixed(blocks int) []byte {
	var data []byte
	for i := range blocks {
		data = appendPiece(data, uint32(i), 0, pattern(MaxBlock))
		data = AppendRequest(data, 1, 2, 3)
		data = AppendHave(data, 7)
		data = AppendExtended(data, 1, pattern(200))
		data = AppendKeepAlive(data)
	}
	return data
}

// endless repeats data.
type endless struct {
	data []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.data[e.at:])
	e.at = (e.at + n) % len(e.data)
	return n, nil
}

func (e *endless) ReadVectored(bufs [][]byte) (int, error) {
	total := 0
	for _, b := range bufs {
		for len(b) > 0 {
			n, _ := e.Read(b)
			b, total = b[n:], total+n
		}
	}
	return total, nil
}

func TestAllocations(t *testing.T) {
	src := &endless{data: mixed(4)}
	for name, conn := range map[string]io.Reader{"plain": struct{ io.Reader }{src}, "vectored": src} {
		src.at = 0
		r := NewReader(conn, Limits{Features: allFeatures})
		calls := 0
		r.BlockProgress(func(int) { calls++ })
		var m Message
		p := make([]byte, MaxBlock)
		out := make([]byte, 0, 1<<10)
		if n := testing.AllocsPerRun(1000, func() {
			if err := r.Next(&m); err != nil {
				t.Fatal(err)
			}
			if m.ID == Piece {
				if err := r.ReadBlock(p[:m.Length]); err != nil {
					t.Fatal(err)
				}
			}
			out = m.Append(out[:0])
		}); n != 0 {
			t.Errorf("%s: %v allocations a message", name, n)
		}
	}
}
