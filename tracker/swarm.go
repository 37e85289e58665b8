package tracker

import (
	"net/netip"
	"time"
)

// role is the half of a swarm that a peer belongs to.
type role uint8

const (
	seeder role = iota
	leecher
	roles
)

// family is an index by address family.
type family uint8

const (
	ipv4 family = iota
	ipv6
	families
)

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}

// peer is one client of a swarm, known by its address.
type peer struct {
	addr    netip.AddrPort
	id      [20]byte
	role    role
	counted bool          // its completed download has been counted
	seen    time.Duration // of its last announce, on the server's clock
	slot    int           // in its group

	older, newer *peer // neighbours in the order of last announces
}

// swarm is the peers of one torrent. It is pure: now is an argument, and the
// lock of its shard guards it. Each peer is in the map, in the group of its
// family and role, and in the list from oldest to newest.
type swarm struct {
	peers          map[netip.AddrPort]*peer
	groups         [families][roles][]*peer
	oldest, newest *peer
	completed      uint32 // downloads that ended here
	crowd          crowd
	quota          *quota // of the server; what is listed is counted there
}

func newSwarm(q *quota) *swarm { return &swarm{peers: make(map[netip.AddrPort]*peer), quota: q} }

// count returns the number of peers of a role.
func (s *swarm) count(r role) int { return len(s.groups[ipv4][r]) + len(s.groups[ipv6][r]) }

// add lists a new peer, if the quota has room for it.
func (s *swarm) add(p *peer) {
	a := p.addr.Addr()
	if s.crowd[hostOf(a)] >= s.quota.bounds.hostInSwarm || !s.quota.enter(a) {
		return
	}
	s.peers[p.addr] = p
	s.join(p)
	s.push(p)
	s.crowd.count(s, p)
}

// remove forgets a peer.
func (s *swarm) remove(p *peer) {
	delete(s.peers, p.addr)
	s.leave(p)
	s.unlink(p)
	s.crowd.uncount(s, p)
	s.quota.leave(p.addr.Addr())
}

// touch notes another announce of a listed peer.
func (s *swarm) touch(p *peer, now time.Duration, r role) {
	if p.role != r {
		s.leave(p)
		p.role = r
		s.join(p)
	}
	p.seen = now
	s.unlink(p)
	s.push(p)
}

// expire forgets the peers last seen at or before limit.
func (s *swarm) expire(limit time.Duration) {
	for s.oldest != nil && s.oldest.seen <= limit {
		s.remove(s.oldest)
	}
}

func (s *swarm) join(p *peer) {
	g := &s.groups[familyOf(p.addr.Addr())][p.role]
	p.slot = len(*g)
	*g = append(*g, p)
}

// leave takes p out of its group; the last member takes its slot.
func (s *swarm) leave(p *peer) {
	g := &s.groups[familyOf(p.addr.Addr())][p.role]
	end := len(*g) - 1
	last := (*g)[end]
	(*g)[p.slot] = last
	last.slot = p.slot
	(*g)[end] = nil
	*g = (*g)[:end]
	if cap(*g) > 64 && len(*g) < cap(*g)/4 {
		*g = append(make([]*peer, 0, 2*len(*g)), *g...) // peers that left keep no memory
	}
}

// push puts p, unlinked, behind the newest.
func (s *swarm) push(p *peer) {
	p.older, p.newer = s.newest, nil
	if s.newest != nil {
		s.newest.newer = p
	} else {
		s.oldest = p
	}
	s.newest = p
}

func (s *swarm) unlink(p *peer) {
	if p.older != nil {
		p.older.newer = p.newer
	} else {
		s.oldest = p.newer
	}
	if p.newer != nil {
		p.newer.older = p.older
	} else {
		s.newest = p.older
	}
}

// contact is a peer's address and id as other peers get it.
type contact struct {
	addr netip.AddrPort
	id   [20]byte
}

// pick appends up to n peers of a family, drawn at random, without the one that asks. A seeder gets
// no seeders: they have nothing to exchange. The cost depends on n, not on the size of the swarm:
// it begins anywhere among the candidates and walks on in steps of a length that has no factor in
// common with their number, so that none comes twice. r1 and r2 are random.
func (s *swarm) pick(dst []contact, n int, f family, asking netip.AddrPort, r role, r1, r2 uint64) []contact {
	first := s.groups[f][leecher]
	var second []*peer
	if r == leecher {
		second = s.groups[f][seeder]
	}
	total := uint64(len(first) + len(second))
	if total == 0 {
		return dst
	}
	step := stride(total, r2)
	for i, at := uint64(0), r1%total; i < total && n > 0; i++ {
		var p *peer
		if at < uint64(len(first)) {
			p = first[at]
		} else {
			p = second[at-uint64(len(first))]
		}
		if p.addr != asking {
			dst = append(dst, contact{p.addr, p.id})
			n--
		}
		at = (at + step) % total
	}
	return dst
}

// stride returns a number below n, or 1, that is coprime to n.
func stride(n, random uint64) uint64 {
	if n < 3 {
		return 1
	}
	for s := 1 + random%(n-1); ; s++ {
		if s == n {
			s = 1
		}
		if gcd(n, s) == 1 {
			return s
		}
	}
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
