package wire

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// The wire's bitfield has the first piece in the high bit of the first byte
// (BEP 3). In memory a set of pieces is a []uint64 with piece i in bit i%64 of
// word i/64.

// BitfieldWords decodes the payload of a [Bitfield] message into words, whose memory it reuses if
// it is large enough.
func BitfieldWords(words []uint64, payload []byte) []uint64 {
	words = slices.Grow(words[:0], (len(payload)+7)/8)
	for len(payload) >= 8 {
		words = append(words, bits.Reverse64(binary.BigEndian.Uint64(payload)))
		payload = payload[8:]
	}
	if len(payload) > 0 {
		var last [8]byte
		copy(last[:], payload)
		words = append(words, bits.Reverse64(binary.BigEndian.Uint64(last[:])))
	}
	return words
}

// appendBits appends the bitfield of n pieces to b; pieces beyond the end of
// words are absent, bits beyond n are left out.
func appendBits(b []byte, words []uint64, n int) []byte {
	for i := 0; i < n; i += 64 {
		var w uint64
		if i/64 < len(words) {
			w = words[i/64]
		}
		left := n - i
		if left < 64 {
			w &= 1<<left - 1
		}
		var be [8]byte
		binary.BigEndian.PutUint64(be[:], bits.Reverse64(w))
		b = append(b, be[:(min(left, 64)+7)/8]...)
	}
	return b
}

// spareBitsZero reports whether the bits behind the last of n pieces are zero,
// as BEP 3 wants. len(payload) is (n+7)/8.
func spareBitsZero(payload []byte, n int) bool {
	return n%8 == 0 || payload[len(payload)-1]<<(n%8) == 0
}
