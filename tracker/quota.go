package tracker

import (
	"net/netip"
	"sync"
)

// Bounds on the peers that the tracker lists. Behind one address there may be a
// network full of clients, or a seedbox with thousands of torrents; a network may be
// a provider's. A listed peer costs some 300 bytes, and as much again if it is the only
// one of its torrent.
var defaultBounds = bounds{total: 2_000_000, network: 100_000, host: 20_000, hostInSwarm: 256}

type bounds struct {
	total       int // of all torrents
	network     int // of one /24, or /48 of IPv6
	host        int // of one address, or /64 of IPv6
	hostInSwarm int // likewise, in one torrent
}

// quota counts the listed peers, so that no address takes all the memory, or makes up
// most of a torrent's peers. It is safe for concurrent use.
type quota struct {
	bounds bounds

	mu              sync.Mutex // a leaf
	total           int
	hosts, networks map[netip.Prefix]int
}

func newQuota(b bounds) *quota {
	return &quota{bounds: b, hosts: map[netip.Prefix]int{}, networks: map[netip.Prefix]int{}}
}

// enter counts a peer of an address, if there is room for it.
func (q *quota) enter(a netip.Addr) bool {
	host, network := hostOf(a), networkOf(a)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.total >= q.bounds.total || q.hosts[host] >= q.bounds.host || q.networks[network] >= q.bounds.network {
		return false
	}
	q.total++
	q.hosts[host]++
	q.networks[network]++
	return true
}

// leave takes back what enter counted.
func (q *quota) leave(a netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.total--
	uncount(q.hosts, hostOf(a))
	uncount(q.networks, networkOf(a))
}

func uncount(m map[netip.Prefix]int, p netip.Prefix) {
	if m[p]--; m[p] <= 0 {
		delete(m, p)
	}
}

// hostOf is the prefix of which one party has every address, networkOf the one around it.
func hostOf(a netip.Addr) netip.Prefix { return prefixOf(a, 32, 64) }

func networkOf(a netip.Addr) netip.Prefix { return prefixOf(a, 24, 48) }

func prefixOf(a netip.Addr, bits4, bits6 int) netip.Prefix {
	bits := bits6
	if a.Is4() {
		bits = bits4
	}
	p, _ := a.WithZone("").Prefix(bits) // never fails for an address
	return p
}

// crowdFrom is from how many peers on a torrent counts its hosts. Most torrents have fewer.
const crowdFrom = 64

// crowd is how many peers of a large torrent each host has; nil while it is small.
type crowd map[netip.Prefix]int

// count notes a peer that the torrent lists, and begins when there are enough of them.
func (c *crowd) count(s *swarm, p *peer) {
	if *c != nil {
		(*c)[hostOf(p.addr.Addr())]++
		return
	}
	if len(s.peers) < crowdFrom {
		return
	}
	*c = make(crowd, len(s.peers))
	for _, o := range s.peers {
		(*c)[hostOf(o.addr.Addr())]++
	}
}

// uncount notes one that it lists no more.
func (c *crowd) uncount(s *swarm, p *peer) {
	if *c == nil {
		return
	}
	uncount(*c, hostOf(p.addr.Addr()))
	if len(s.peers) < crowdFrom/2 {
		*c = nil
	}
}
