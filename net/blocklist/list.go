package blocklist

import (
	"cmp"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
)

// List is a set of addresses. Its zero value and nil are empty.
type List struct {
	v4 []span4 // sorted, neither overlapping nor adjacent
	v6 []span6
}

// span4 is a range of IPv4 addresses, both ends included.
type span4 struct{ first, last uint32 }

type span6 struct{ first, last uint128 }

// uint128 is an IPv6 address as a number.
type uint128 struct{ hi, lo uint64 }

func (a uint128) compare(b uint128) int {
	if c := cmp.Compare(a.hi, b.hi); c != 0 {
		return c
	}
	return cmp.Compare(a.lo, b.lo)
}

// next is a + 1; ok is false behind the last address.
func (a uint128) next() (n uint128, ok bool) {
	n = uint128{a.hi, a.lo + 1}
	if n.lo == 0 {
		n.hi++
	}
	return n, n != uint128{}
}

func number4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func number6(a netip.Addr) uint128 {
	b := a.As16()
	return uint128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// Contains reports whether addr is on the list; an IPv4 address counts as such
// in its IPv6 spelling too. It does not allocate.
func (l *List) Contains(addr netip.Addr) bool {
	if l == nil || !addr.IsValid() {
		return false
	}
	if addr = addr.Unmap(); addr.Is4() {
		return contains4(l.v4, number4(addr))
	}
	n := number6(addr)
	at, found := slices.BinarySearchFunc(l.v6, n, func(s span6, n uint128) int { return s.first.compare(n) })
	return found || at > 0 && n.compare(l.v6[at-1].last) <= 0
}

// contains4 is a binary search without calls: peers come by the thousand.
func contains4(spans []span4, n uint32) bool {
	lo, hi := 0, len(spans) // spans before lo begin at or before n, those from hi on after it
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if spans[mid].first <= n {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo > 0 && n <= spans[lo-1].last
}

// Ranges is the number of ranges, after those that touch were joined.
func (l *List) Ranges() int {
	if l == nil {
		return 0
	}
	return len(l.v4) + len(l.v6)
}

// Merge returns the addresses of all lists.
func Merge(lists ...*List) *List {
	out := new(List)
	for _, l := range lists {
		if l != nil {
			out.v4 = append(out.v4, l.v4...)
			out.v6 = append(out.v6, l.v6...)
		}
	}
	out.normalise()
	return out
}

// add adds a range of addresses of one family, first at most last.
func (l *List) add(first, last netip.Addr) {
	if first.Is4() {
		l.v4 = append(l.v4, span4{number4(first), number4(last)})
		return
	}
	l.v6 = append(l.v6, span6{number6(first), number6(last)})
}

// normalise sorts and joins.
func (l *List) normalise() {
	byFirst4 := func(a, b span4) int { return cmp.Compare(a.first, b.first) }
	if !slices.IsSortedFunc(l.v4, byFirst4) {
		slices.SortFunc(l.v4, byFirst4)
	}
	n := 0
	for _, s := range l.v4 {
		if n > 0 {
			if p := &l.v4[n-1]; p.last == math.MaxUint32 || s.first <= p.last+1 {
				p.last = max(p.last, s.last)
				continue
			}
		}
		l.v4[n] = s
		n++
	}
	l.v4 = slices.Clip(slices.Clone(l.v4[:n]))

	slices.SortFunc(l.v6, func(a, b span6) int { return a.first.compare(b.first) })
	n = 0
	for _, s := range l.v6 {
		if n > 0 {
			p := &l.v6[n-1]
			if after, ok := p.last.next(); !ok || s.first.compare(after) <= 0 {
				if s.last.compare(p.last) > 0 {
					p.last = s.last
				}
				continue
			}
		}
		l.v6[n] = s
		n++
	}
	l.v6 = slices.Clip(slices.Clone(l.v6[:n]))
}
