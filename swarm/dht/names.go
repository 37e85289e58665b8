package dht

import (
	"crypto/rand"
	"net/netip"
	"sync"
	"time"

	"torrentfs/internal/version"
	"torrentfs/metainfo/bencode"
	netguard "torrentfs/net/guard"
)

const (
	maxNamed  = 64               // names that were asked and did not answer
	namedLife = 10 * time.Second // of one; a proxy has to look it up
)

// names are nodes that were asked by their name, because a proxy looks it up: we cannot know the
// address that answers. So an answer is taken from any sender that knows the transaction id, and
// only as a hint.
type names struct {
	mu    sync.Mutex // a leaf
	asked map[[4]byte]namedQuery
}

type namedQuery struct {
	trusted bool // the name may lead to a private address
	sent    time.Time
}

func newNames() *names { return &names{asked: map[[4]byte]namedQuery{}} }

// open notes a query that is about to be sent; false if there are too many.
func (n *names) open(now time.Time, trusted bool) (tid [4]byte, ok bool) {
	_, _ = rand.Read(tid[:]) // never fails
	n.mu.Lock()
	defer n.mu.Unlock()
	for k, q := range n.asked {
		if now.Sub(q.sent) >= namedLife {
			delete(n.asked, k)
		}
	}
	if len(n.asked) >= maxNamed {
		return tid, false
	}
	n.asked[tid] = namedQuery{trusted, now}
	return tid, true
}

// take ends the query that a reply belongs to; false if there is none, or if a stranger's name led
// to a forbidden address.
func (n *names) take(tid string, from netip.AddrPort) bool {
	if len(tid) != 4 {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	key := [4]byte([]byte(tid))
	q, ok := n.asked[key]
	delete(n.asked, key)
	return ok && (q.trusted || !specialAddr(from.Addr()))
}

// askByName sends a ping to a host by its name. Who answers is a hint. Of two
// families one asks, and either may hear.
func (n *node) askByName(host string, port uint16, trusted bool) {
	if n.v6 && n.sibling != nil {
		return
	}
	if err := netguard.CheckRemote(host, false); err != nil && !trusted {
		n.logger.Debug("ask DHT node by name", "node", host, "err", err)
		return
	}
	n.mu.Lock()
	s := n.srv
	n.mu.Unlock()
	if s == nil {
		return
	}
	tid, ok := n.names.open(time.Now(), trusted)
	if !ok {
		return
	}
	id := s.ID()
	query := map[string]any{"t": string(tid[:]), "y": "q", "q": "ping", "v": version.DHT, "a": map[string]any{"id": string(id[:])}}
	if n.cfg.ReadOnly {
		query["ro"] = int64(1)
	}
	b, err := bencode.Encode(query)
	if err == nil {
		_, err = n.conn.WriteTo(b, n.cfg.ByName(host, port))
	}
	if err != nil {
		n.logger.Debug("ask DHT node by name", "node", host, "err", err)
	}
}
