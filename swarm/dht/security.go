package dht

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"net/netip"
)

// specialAddr reports whether addr is outside of the public Internet, so that
// no public node can vouch for it and BEP 42 asks nothing of its id.
func specialAddr(addr netip.Addr) bool {
	return !addr.IsGlobalUnicast() || addr.IsPrivate()
}

// idPrefix is the checksum whose first 21 bits are those of the ids that fit
// an address (BEP 42); salt is the last byte of the id.
func idPrefix(addr netip.Addr, salt byte) uint32 {
	var b []byte
	if addr.Is4() {
		v := binary.BigEndian.Uint32(addr.AsSlice()) & 0x030f3fff
		b = binary.BigEndian.AppendUint32(nil, v)
	} else {
		v := binary.BigEndian.Uint64(addr.AsSlice()) & 0x0103070f1f3f7fff
		b = binary.BigEndian.AppendUint64(nil, v)
	}
	b[0] |= salt << 5
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
}

// idFits reports whether an id may belong to a node at addr.
func idFits(id nodeID, addr netip.Addr) bool {
	if specialAddr(addr) {
		return true
	}
	p := idPrefix(addr, id[19])
	return id[0] == byte(p>>24) && id[1] == byte(p>>16) && id[2]&0xf8 == byte(p>>8)&0xf8
}

// newID draws an id: any, or, if addr is valid, one that fits addr.
func newID(rnd *rand.Rand, addr netip.Addr) (id nodeID) {
	for i := range id {
		id[i] = byte(rnd.Uint32())
	}
	if addr.IsValid() && !specialAddr(addr) {
		p := idPrefix(addr, id[19])
		id[0], id[1], id[2] = byte(p>>24), byte(p>>16), byte(p>>8)&0xf8|id[2]&7
	}
	return id
}

const (
	minVotes  = 4  // that agree
	maxVoters = 64 // networks that have a vote
)

// ballot counts the addresses that others report as ours. Each network has one vote, so that one
// liar does not become a majority. The zero value is empty.
type ballot struct {
	votes map[netip.Prefix]netip.Addr
}

// vote takes the word of voter, and returns the address that more than half
// of all voters name, if at least minVotes do.
func (b *ballot) vote(voter, addr netip.Addr) (netip.Addr, bool) {
	if specialAddr(addr) || voter.Is4() != addr.Is4() {
		return netip.Addr{}, false
	}
	bits := 16
	if voter.Is6() {
		bits = 32
	}
	network, err := voter.Prefix(bits)
	if err != nil {
		return netip.Addr{}, false
	}
	if b.votes == nil {
		b.votes = make(map[netip.Prefix]netip.Addr)
	}
	if _, known := b.votes[network]; !known && len(b.votes) >= maxVoters {
		for old := range b.votes { // some other: a change of our address must be able to win
			delete(b.votes, old)
			break
		}
	}
	b.votes[network] = addr
	n := 0
	for _, v := range b.votes {
		if v == addr {
			n++
		}
	}
	return addr, n >= minVotes && 2*n > len(b.votes)
}
