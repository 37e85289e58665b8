package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var errEndOfStream = io.EOF

func TestMessages(t *testing.T) {
	root := [32]byte{0: 0xab, 31: 0xcd}
	span := HashRange{Root: root, Base: 0, Index: 6, Length: 2, Proof: 3}
	rootHex := hex.EncodeToString(root[:])
	rangeHex := rootHex + "00000000000000060000000200000003"
	hashes := [][32]byte{{1}, {2}, {3}, {4}, {5}}
	var flat []byte
	for _, h := range hashes {
		flat = append(flat, h[:]...)
	}
	for _, tc := range []struct {
		wire string
		enc  []byte
		want Message
	}{
		{"00000000", AppendKeepAlive(nil), Message{ID: KeepAlive}},
		{"0000000100", AppendChoke(nil), Message{ID: Choke}},
		{"0000000101", AppendUnchoke(nil), Message{ID: Unchoke}},
		{"0000000102", AppendInterested(nil), Message{ID: Interested}},
		{"0000000103", AppendNotInterested(nil), Message{ID: NotInterested}},
		{"000000050400000005", AppendHave(nil, 5), Message{ID: Have, Piece: 5}},
		{"0000000305a140", AppendBitfield(nil, []uint64{0b10_1000_0101}, 10), Message{ID: Bitfield, Payload: []byte{0xa1, 0x40}}},
		{"0000000d06000000010000400000002000", AppendRequest(nil, 1, 0x4000, 0x2000), Message{ID: Request, Piece: 1, Begin: 0x4000, Length: 0x2000}},
		{"0000000d08000000010000400000002000", AppendCancel(nil, 1, 0x4000, 0x2000), Message{ID: Cancel, Piece: 1, Begin: 0x4000, Length: 0x2000}},
		{"0000000d10000000010000400000002000", AppendReject(nil, 1, 0x4000, 0x2000), Message{ID: Reject, Piece: 1, Begin: 0x4000, Length: 0x2000}},
		{"0000000b070000000200000010" + "beef", appendPiece(nil, 2, 16, []byte{0xbe, 0xef}), Message{ID: Piece, Piece: 2, Begin: 16, Length: 2}},
		{"00000003091ae1", AppendPort(nil, 6881), Message{ID: Port, Port: 6881}},
		{"000000050d00000007", AppendSuggest(nil, 7), Message{ID: Suggest, Piece: 7}},
		{"000000010e", AppendHaveAll(nil), Message{ID: HaveAll}},
		{"000000010f", AppendHaveNone(nil), Message{ID: HaveNone}},
		{"000000051100000007", AppendAllowedFast(nil, 7), Message{ID: AllowedFast, Piece: 7}},
		{"000000041403" + "6465", AppendExtended(nil, 3, []byte("de")), Message{ID: Extended, ExtID: 3, Payload: []byte("de")}},
		{"000000061404" + "00000009", AppendDontHave(nil, 4, 9), Message{ID: Extended, ExtID: 4, Payload: []byte{0, 0, 0, 9}}},
		{"0000003115" + rangeHex, AppendHashRequest(nil, span), Message{ID: HashRequest, Hash: span}},
		{"0000003117" + rangeHex, AppendHashReject(nil, span), Message{ID: HashReject, Hash: span}},
		{"000000d116" + rangeHex + hex.EncodeToString(flat), AppendHashes(nil, span, hashes), Message{ID: Hashes, Hash: span, Payload: flat}},
	} {
		t.Run(tc.want.ID.String(), func(t *testing.T) {
			if got := hex.EncodeToString(tc.enc); got != tc.wire {
				t.Fatalf("encoded %s, want %s", got, tc.wire)
			}
			r := NewReader(bytes.NewReader(tc.enc), Limits{Pieces: 10, Features: allFeatures})
			var m Message
			if err := r.Next(&m); err != nil {
				t.Fatal(err)
			}
			if len(m.Payload) == 0 {
				m.Payload = nil
			}
			if d := cmp.Diff(tc.want, m); d != "" {
				t.Fatal(d)
			}
			back := m.Append(nil)
			if m.ID == Piece {
				p := make([]byte, m.Length)
				if err := r.ReadBlock(p); err != nil {
					t.Fatal(err)
				}
				back = append(back, p...)
			}
			mustEqual(t, "encoded again", back, tc.enc)
			if err := r.Next(&m); err != io.EOF {
				t.Fatalf("at the end: %v, want io.EOF", err)
			}
		})
	}
}

// frame returns a message with any id and any claimed length.
func frame(length uint32, id ID, body ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, length)
	return append(append(b, byte(id)), body...)
}

func TestProtocolErrors(t *testing.T) {
	ten := Limits{Pieces: 10, PieceLength: 32 << 10, Features: allFeatures}
	bad := HashRange{Index: 1<<32 - 2, Length: 4}
	odd := HashRange{Index: 0, Length: 3}
	for name, tc := range map[string]struct {
		in  []byte
		lim Limits
	}{
		"huge length":              {frame(1<<32-1, Piece), ten},
		"choke with a body":        {frame(2, Choke, 0), ten},
		"short have":               {frame(4, Have, 0, 0, 0), ten},
		"have beyond the torrent":  {AppendHave(nil, 10), ten},
		"long have":                {frame(6, Have, 0, 0, 0, 0, 0), ten},
		"bitfield one short":       {frame(2, Bitfield, 0xff), ten},
		"bitfield one long":        {frame(4, Bitfield, 0xff, 0xc0, 0), ten},
		"bitfield spare bit":       {frame(3, Bitfield, 0xff, 0xe0), ten},
		"bitfield of 3 M pieces":   {frame(1+3<<20/8, Bitfield), Limits{}},
		"short request":            {frame(12, Request), ten},
		"empty piece":              {frame(9, Piece, make([]byte, 8)...), ten},
		"piece without a header":   {frame(5, Piece, 0, 0, 0, 0), ten},
		"piece of 16 KiB and one":  {AppendPieceHeader(nil, 0, 0, MaxBlock+1), ten},
		"piece beyond the torrent": {appendPiece(nil, 10, 0, []byte{1}), ten},
		"block beyond the piece":   {appendPiece(nil, 0, 32<<10, []byte{1}), ten},
		"block offset wraps":       {appendPiece(nil, 0, 1<<32-1, []byte{1}), ten},
		"short port":               {frame(2, Port, 1), ten},
		"empty extended":           {frame(1, Extended), ten},
		"extended too long":        {frame(2+MaxExtended+1, Extended, 0), ten},
		"extended over own limit":  {AppendExtended(nil, 0, make([]byte, 101)), Limits{MaxExtended: 100}},
		"unknown type":             {frame(1, 12), ten},
		"pseudo id on the wire":    {frame(1, KeepAlive), ten},
		"have all, no fast":        {AppendHaveAll(nil), Limits{Features: FeatureV2}},
		"have none, no fast":       {AppendHaveNone(nil), Limits{}},
		"reject, no fast":          {AppendReject(nil, 0, 0, 1), Limits{}},
		"suggest, no fast":         {AppendSuggest(nil, 0), Limits{}},
		"allowed fast, no fast":    {AppendAllowedFast(nil, 0), Limits{}},
		"hash request, no v2":      {AppendHashRequest(nil, HashRange{Length: 2}), Limits{Features: FeatureFast}},
		"short hash request":       {frame(48, HashRequest), ten},
		"hash request overflows":   {AppendHashRequest(nil, bad), ten},
		"hash reject overflows":    {AppendHashReject(nil, bad), ten},
		"hashes of an odd range":   {AppendHashes(nil, odd, make([][32]byte, 3)), ten},
		"hashes one short":         {AppendHashes(nil, HashRange{Length: 2}, make([][32]byte, 1)), ten},
		"hashes of 8192":           {frame(1+48+32*8192, Hashes), ten},
		"hashes not a multiple":    {frame(1+48+33, Hashes, make([]byte, 48+33)...), ten},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(bytes.NewReader(tc.in), tc.lim)
			var m Message
			err := r.Next(&m)
			if !errors.Is(err, ErrProtocol) {
				t.Fatalf("error %v, want a protocol violation", err)
			}
			if again := r.Next(&m); again != err {
				t.Fatalf("second call: %v, want the same error", again)
			}
		})
	}
}

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

// TestRoundTrip: whatever is encoded comes back, however the stream is cut, with
// and without vectored reads.
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

func TestSetLimits(t *testing.T) {
	data := AppendHave(AppendHave(nil, 50), 50)
	r := NewReader(bytes.NewReader(data), Limits{})
	var m Message
	if err := r.Next(&m); err != nil {
		t.Fatal(err)
	}
	r.SetLimits(Limits{Pieces: 50})
	if err := r.Next(&m); !errors.Is(err, ErrProtocol) {
		t.Fatal(err)
	}
}

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

func TestErrorText(t *testing.T) {
	r := NewReader(bytes.NewReader(AppendHave(nil, 3)), Limits{Pieces: 3})
	err := r.Next(new(Message))
	if got, want := fmt.Sprint(err), "read have: protocol violation: piece 3 of 3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r = NewReader(strings.NewReader("\x00\x00\x00\x01\x0c"), Limits{})
	if got, want := fmt.Sprint(r.Next(new(Message))), "read message 12: protocol violation: unknown type"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
