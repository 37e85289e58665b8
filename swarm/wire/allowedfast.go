package wire

import (
	"crypto/sha1"
	"encoding/binary"
	"net/netip"
	"slices"
)

// AllowedFastSet returns the k pieces that a peer at addr may download while it
// is choked, by the canonical algorithm of BEP 6 ("Allowed Fast Set
// Generation"). It returns fewer where the torrent has fewer, and none for an
// IPv6 address, for which the BEP has no algorithm.
func AllowedFastSet(addr netip.Addr, infoHash [20]byte, pieces, k int) []uint32 {
	addr = addr.Unmap()
	if !addr.Is4() || pieces <= 0 || k <= 0 {
		return nil
	}
	k = min(k, pieces)
	ip := addr.As4()
	ip[3] = 0 // one set for a whole /24
	x := append(ip[:], infoHash[:]...)
	set := make([]uint32, 0, k)
	for len(set) < k {
		sum := sha1.Sum(x)
		for j := 0; j < len(sum) && len(set) < k; j += 4 {
			piece := uint32(uint64(binary.BigEndian.Uint32(sum[j:])) % uint64(pieces))
			if !slices.Contains(set, piece) {
				set = append(set, piece)
			}
		}
		x = append(x[:0], sum[:]...)
	}
	return set
}
