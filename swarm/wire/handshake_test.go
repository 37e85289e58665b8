package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestHandshake(t *testing.T) {
	h := NewHandshake([20]byte{1}, [20]byte{2}, FeatureExtension|FeatureFast|FeatureDHT|FeatureV2)
	if want := [8]byte{5: 0x10, 7: 0x15}; h.Reserved != want {
		t.Fatalf("reserved %x, want %x", h.Reserved, want)
	}
	b := h.Append(nil)
	if len(b) != HandshakeLen || HandshakeLen != 68 {
		t.Fatalf("length %d", len(b))
	}
	// What follows the handshake stays in the stream.
	src := bytes.NewReader(append(b, "rest"...))
	got, err := ReadHandshake(iotest.OneByteReader(src))
	if err != nil || got != h {
		t.Fatalf("got %+v, %v", got, err)
	}
	if src.Len() != 4 {
		t.Errorf("%d bytes left behind the handshake, want 4", src.Len())
	}
	if got, err = ReadHandshake(iotest.DataErrReader(bytes.NewReader(b))); err != nil || got != h {
		t.Fatalf("with an EOF beside the data: %+v, %v", got, err)
	}
}

func TestHandshakeFeatures(t *testing.T) {
	h := Handshake{Reserved: [8]byte{0x80, 0, 0, 0, 0, 0x10, 0, 0x01}}
	if got, want := h.Features(), FeatureExtension|FeatureDHT; got != want {
		t.Errorf("features %b, want %b", got, want)
	}
	h.SetFeatures(FeatureFast)
	if want := [8]byte{0: 0x80, 7: 0x04}; h.Reserved != want {
		t.Errorf("reserved %x, want %x", h.Reserved, want)
	}
	if f := FeatureFast | FeatureV2; !f.Has(FeatureFast) || f.Has(FeatureFast|FeatureDHT) || !f.Has(0) {
		t.Error("Has is wrong")
	}
}

func TestHandshakeErrors(t *testing.T) {
	good := NewHandshake([20]byte{1}, [20]byte{2}, 0).Append(nil)
	for name, tc := range map[string]struct {
		in   []byte
		want error
	}{
		"nothing":       {nil, io.EOF},
		"cut":           {good[:67], io.ErrUnexpectedEOF},
		"cut in name":   {good[:5], io.ErrUnexpectedEOF},
		"HTTP":          {[]byte("GET / HTTP/1.1\r\n"), ErrNotBitTorrent},
		"other name":    {append([]byte("\x13BitTorrent protocoL"), make([]byte, 48)...), ErrNotBitTorrent},
		"other length":  {append([]byte("\x14BitTorrent protocol"), make([]byte, 48)...), ErrNotBitTorrent},
		"one odd byte":  {[]byte{0}, ErrNotBitTorrent},
		"MSE, too soon": {pattern(20), ErrNotBitTorrent},
	} {
		if _, err := ReadHandshake(bytes.NewReader(tc.in)); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if _, err := ReadHandshake(stuck{}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("stuck: %v", err)
	}
}

func TestBitfieldWords(t *testing.T) {
	for _, n := range []int{1, 7, 8, 9, 63, 64, 65, 100, 128, 1000} {
		words := make([]uint64, (n+63)/64)
		for i := 0; i < n; i += 3 {
			words[i/64] |= 1 << (i % 64)
		}
		b := AppendBitfield(nil, words, n)
		if len(b) != 5+(n+7)/8 {
			t.Fatalf("%d pieces: %d bytes", n, len(b))
		}
		for i := range n {
			if bit := b[5+i/8]&(0x80>>(i%8)) != 0; bit != (i%3 == 0) {
				t.Fatalf("%d pieces: bit %d is %v", n, i, bit)
			}
		}
		if d := cmp.Diff(words, BitfieldWords(nil, b[5:])); d != "" {
			t.Fatalf("%d pieces: %s", n, d)
		}
	}
	// Spare bits of the words do not reach the wire.
	mustEqual(t, "spare bits", AppendBitfield(nil, []uint64{1<<64 - 1}, 3)[5:], []byte{0xe0})
	mustEqual(t, "missing words", AppendBitfield(nil, nil, 70)[5:], make([]byte, 9))
}

func TestHashRange(t *testing.T) {
	for _, tc := range []struct {
		h    HashRange
		want int
	}{
		{HashRange{Length: 2}, 2},
		{HashRange{Length: 2, Proof: 5}, 7},             // L+1 with L-1 = 5
		{HashRange{Length: 512, Index: 512}, 512},       // nothing above
		{HashRange{Length: 512, Proof: 8}, 512},         // all of it given
		{HashRange{Length: 512, Proof: 10}, 514},        // two uncles
		{HashRange{Length: 1}, 0},                       // too short
		{HashRange{Length: 3}, 0},                       // no power of two
		{HashRange{Length: 4, Index: 2}, 0},             // unaligned
		{HashRange{Length: 2, Index: 1<<32 - 2}, 0},     // overflows
		{HashRange{Length: 2, Proof: 1 << 31}, 0},       // absurd
		{HashRange{Length: 2, Base: maxProofLayers}, 0}, // absurd
	} {
		if got := tc.h.NumHashes(); got != tc.want || tc.h.Valid() != (tc.want > 0) {
			t.Errorf("%+v: %d hashes, valid %v; want %d", tc.h, got, tc.h.Valid(), tc.want)
		}
	}
}
