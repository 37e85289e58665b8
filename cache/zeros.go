package cache

import (
	"crypto/sha1"

	"torrentfs/metainfo"
)

// zeroPieces tells pieces of nothing but zeros by their hashes. A hole on disk may be such a piece, in a copy of a
// disk image for one, and is otherwise a piece that is missing.
type zeroPieces struct {
	info *metainfo.Info
	sums map[int64]metainfo.SHA1 // of so many zeros
}

// has knows v1 hashes only: those of v2 need the piece layers.
func (z *zeroPieces) has(piece int) bool {
	if !z.info.Hash.HasV1 {
		return false
	}
	n := z.info.PieceSize(piece)
	sum, ok := z.sums[n]
	if !ok {
		sum = sumOfZeros(n)
		z.sums[n] = sum
	}
	return z.info.PieceSHA1(piece) == sum
}

func sumOfZeros(n int64) (sum metainfo.SHA1) {
	h := sha1.New() //nolint:gosec // BEP 3
	for zeros := make([]byte, 64<<10); n > 0; {
		k, _ := h.Write(zeros[:min(n, int64(len(zeros)))])
		n -= int64(k)
	}
	h.Sum(sum[:0])
	return sum
}
