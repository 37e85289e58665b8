package peers

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/netip"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Priority is the canonical priority of a connection between two peers
// (BEP 40): both sides get the same number, and the side that has to choose takes the
// higher one, so that no choice of a single peer shapes the swarm. Addresses of
// different families have none.
func Priority(a, b netip.AddrPort) uint32 {
	x, y := a.Addr().Unmap().AsSlice(), b.Addr().Unmap().AsSlice()
	if len(x) != len(y) {
		return 0
	}
	if bytes.Equal(x, y) {
		lo, hi := min(a.Port(), b.Port()), max(a.Port(), b.Port())
		return crc32.Checksum(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, lo), hi), castagnoli)
	}
	// Of an address the part counts up to one byte behind what both have in
	// common, at least 2 bytes (IPv6: 6); of the rest every other bit.
	whole := 2
	if len(x) == 16 {
		whole = 6
	}
	for whole < len(x) && bytes.Equal(x[:whole], y[:whole]) {
		whole++
	}
	for i := whole; i < len(x); i++ {
		x[i] &= 0x55
		y[i] &= 0x55
	}
	if bytes.Compare(x, y) > 0 {
		x, y = y, x
	}
	return crc32.Checksum(append(x, y...), castagnoli)
}

// ballot collects what peers (BEP 10 "yourip") and trackers (BEP 24) say our
// address is: one vote each, and nothing is believed before a few agree.
type ballot struct {
	votes map[netip.Addr]map[string]struct{} // candidate, voters
	own   [2]netip.Addr                      // IPv4, IPv6; invalid while unknown
}

const (
	ballotQuorum     = 3
	ballotCandidates = 64
)

// vote notes that a peer, by its address, or a tracker, by its host, sees us at
// an address.
func (b *ballot) vote(voter string, own netip.Addr) {
	own = own.Unmap()
	if !own.IsValid() || own.IsUnspecified() || own.IsMulticast() {
		return
	}
	voters := b.votes[own]
	if voters == nil {
		if len(b.votes) >= ballotCandidates {
			return
		}
		if b.votes == nil {
			b.votes = map[netip.Addr]map[string]struct{}{}
		}
		voters = map[string]struct{}{}
		b.votes[own] = voters
	}
	if len(voters) < 10*ballotQuorum {
		voters[voter] = struct{}{}
	}
	family := &b.own[family(own)]
	if len(voters) >= ballotQuorum && len(voters) > len(b.votes[*family]) {
		*family = own
	}
}

func family(a netip.Addr) int {
	if a.Unmap().Is4() {
		return 0
	}
	return 1
}

// of is our address as the peers of a family see it.
func (b *ballot) of(peer netip.Addr) netip.Addr { return b.own[family(peer)] }
