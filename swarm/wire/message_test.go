package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

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
		{"000000050d00000007", appendIndex(nil, Suggest, 7), Message{ID: Suggest, Piece: 7}},
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
		"unknown type":             {frame(1, 12), ten},
		"pseudo id on the wire":    {frame(1, KeepAlive), ten},
		"have all, no fast":        {AppendHaveAll(nil), Limits{Features: FeatureV2}},
		"have none, no fast":       {AppendHaveNone(nil), Limits{}},
		"reject, no fast":          {AppendReject(nil, 0, 0, 1), Limits{}},
		"suggest, no fast":         {appendIndex(nil, Suggest, 0), Limits{}},
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
