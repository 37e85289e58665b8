package wire

import (
	"encoding/binary"
	"math/bits"
)

// HashRange names hashes of one file's merkle tree (BEP 52, "hash request").
type HashRange struct {
	Root   [32]byte // the file's pieces root
	Base   uint32   // lowest layer wanted; 0 is the leaves
	Index  uint32   // first hash in that layer, a multiple of Length
	Length uint32   // number of hashes, a power of two of at least 2
	Proof  uint32   // ancestor layers wanted, counted from the one above Base
}

// Valid reports whether the range is one that BEP 52 allows to be asked for. A
// request that is not gets a [HashReject].
func (h HashRange) Valid() bool {
	return h.Length >= 2 && h.Length&(h.Length-1) == 0 && h.Index%h.Length == 0 && !h.overflows() &&
		h.Base < maxProofLayers && h.Proof < maxProofLayers
}

// overflows reports whether the range's end does not fit its type.
func (h HashRange) overflows() bool { return h.Index+h.Length < h.Index }

// NumHashes returns how many hashes answer a valid range: those of the base
// layer, and one uncle for each proof layer that they do not yield themselves
// (the first log2(Length)-1 layers are left out). It returns 0 for a range
// that is not valid.
func (h HashRange) NumHashes() int {
	if !h.Valid() {
		return 0
	}
	given := bits.TrailingZeros32(h.Length) - 1
	return int(h.Length) + max(0, int(h.Proof)-given)
}

func (h *HashRange) decode(b []byte) {
	copy(h.Root[:], b)
	h.Base = binary.BigEndian.Uint32(b[32:])
	h.Index = binary.BigEndian.Uint32(b[36:])
	h.Length = binary.BigEndian.Uint32(b[40:])
	h.Proof = binary.BigEndian.Uint32(b[44:])
}

func (h HashRange) append(b []byte) []byte {
	b = append(b, h.Root[:]...)
	b = binary.BigEndian.AppendUint32(b, h.Base)
	b = binary.BigEndian.AppendUint32(b, h.Index)
	b = binary.BigEndian.AppendUint32(b, h.Length)
	return binary.BigEndian.AppendUint32(b, h.Proof)
}
