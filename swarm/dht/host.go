package dht

import (
	"cmp"
	"crypto/rand"
	mathrand "math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"torrentfs/metainfo/bencode"
)

const (
	nodeLife     = 15 * time.Minute // a node is good for so long after a reply (BEP 5)
	maxKnown     = 1024             // nodes that have replied to us
	closest      = 8                // nodes in an answer (BEP 5's K)
	maxReturned4 = 50               // peers in an answer: it has to fit a packet
	maxReturned6 = 30
)

// host is the state of one address family that outlives its servers: the nodes that have replied,
// the peers announced to us, our address.
type host struct {
	v6      bool
	sibling *host // of the other family, nil if there is none

	ready     chan struct{} // closed once a node has replied
	readyOnce sync.Once

	mu     sync.Mutex
	known  map[netip.AddrPort]knownNode
	swept  time.Time // of known
	store  *peerStore
	tokens tokens
	ballot ballot
	addr   netip.Addr // ours, if enough others agree
}

type knownNode struct {
	id nodeID
	at time.Time // last reply
}

func newHost(v6 bool, rnd *mathrand.Rand) *host {
	return &host{
		v6:    v6,
		ready: make(chan struct{}),
		known: make(map[netip.AddrPort]knownNode),
		store: newPeerStore(rnd),
		tokens: tokens{fresh: func() (b [16]byte) {
			_, _ = rand.Read(b[:]) // never fails
			return b
		}},
	}
}

// heard notes a reply to a query of ours, and the address of ours that it names.
func (h *host) heard(now time.Time, n nodeInfo, self netip.Addr) {
	h.readyOnce.Do(func() { close(h.ready) })
	h.mu.Lock()
	if _, ok := h.known[n.addr]; !ok && len(h.known) >= maxKnown {
		h.forget(now)
	}
	h.known[n.addr] = knownNode{n.id, now}
	if self.IsValid() {
		if addr, changed := h.ballot.vote(n.addr.Addr(), self); changed {
			h.addr = addr
		}
	}
	h.mu.Unlock()
}

// forget makes room in known: it drops a silent node, else any.
func (h *host) forget(now time.Time) {
	if now.Sub(h.swept) >= nodeLife/4 {
		h.swept = now
		for a, k := range h.known {
			if now.Sub(k.at) >= nodeLife {
				delete(h.known, a)
			}
		}
	}
	for a := range h.known {
		if len(h.known) < maxKnown {
			return
		}
		delete(h.known, a)
	}
}

// address is ours, if enough others agree on it.
func (h *host) address() netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.addr
}

// nearest returns the good nodes nearest to target, nearest first.
func (h *host) nearest(now time.Time, target nodeID, n int) []nodeInfo {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]nodeInfo, 0, n+1)
	for addr, k := range h.known {
		if now.Sub(k.at) >= nodeLife {
			continue
		}
		if len(out) == n && compareDistance(&target, &out[n-1].id, &k.id) <= 0 {
			continue // as most are
		}
		at, _ := slices.BinarySearchFunc(out, k.id, func(o nodeInfo, id nodeID) int {
			return compareDistance(&target, &o.id, &id)
		})
		out = slices.Insert(out, at, nodeInfo{k.id, addr})
		out = out[:min(len(out), n)]
	}
	return out
}

// lastReply is when a node last replied to us.
func (h *host) lastReply(addr netip.AddrPort) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known[addr].at
}

// compareDistance compares the distances of a and b from target, by XOR.
func compareDistance(target, a, b *nodeID) int {
	for i := range target {
		if a[i] != b[i] {
			return cmp.Compare(a[i]^target[i], b[i]^target[i])
		}
	}
	return 0
}

// answer encodes the answer to a query, nil if none can be made.
func (h *host) answer(now time.Time, id nodeID, from netip.AddrPort, m *message, client string) []byte {
	d := map[string]any{
		"t":  m.tid,
		"v":  client,
		"ip": string(appendCompact(nil, from)), // BEP 42
	}
	r, code, text := h.reply(now, from, m)
	if r != nil {
		r["id"] = string(id[:])
		d["y"], d["r"] = "r", r
	} else {
		d["y"], d["e"] = "e", []any{code, text}
	}
	b, err := bencode.Encode(d)
	if err != nil {
		return nil
	}
	return b
}

// reply returns the values of a reply, or the code and text of an error.
func (h *host) reply(now time.Time, from netip.AddrPort, m *message) (r map[string]any, code int, text string) {
	r = make(map[string]any)
	if m.method == "ping" {
		return r, 0, ""
	}
	if !m.targeted {
		if known(m.method) {
			return nil, 203, "no target"
		}
		return nil, 204, "method unknown"
	}
	switch m.method {
	case "announce_peer":
		if code, text := h.announced(now, from, m); code != 0 {
			return nil, code, text
		}
		return r, 0, ""
	case "get_peers":
		h.addPeers(r, now, from, m)
	case "sample_infohashes":
		h.addSamples(r, now)
	}
	// All other queries with a target are answered with nodes near it, so that methods of the
	// future work through us.
	h.addNodes(r, now, m)
	return r, 0, ""
}

func known(method string) bool {
	switch method {
	case "find_node", "get_peers", "announce_peer", "sample_infohashes":
		return true
	}
	return false
}

func (h *host) announced(now time.Time, from netip.AddrPort, m *message) (code int, text string) {
	port := m.port
	if m.implied {
		port = from.Port()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.tokens.valid(now, from.Addr(), m.token):
		return 203, "bad token"
	case port == 0:
		return 203, "bad port"
	}
	h.store.add(now, m.target, netip.AddrPortFrom(from.Addr(), port))
	return 0, ""
}

func (h *host) addPeers(r map[string]any, now time.Time, from netip.AddrPort, m *message) {
	n := maxReturned4
	if h.v6 {
		n = maxReturned6
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r["token"] = h.tokens.make(now, from.Addr())
	if peers := h.store.get(now, m.target, n); len(peers) > 0 {
		r["values"] = compactValues(peers)
	}
}

func (h *host) addSamples(r map[string]any, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	some, again, total := h.store.sample(now)
	var b []byte
	for _, s := range some {
		b = append(b, s[:]...)
	}
	r["samples"] = string(b) // even if there are none: it shows that we know the method
	r["interval"] = int64(again / time.Second)
	r["num"] = int64(total)
}

// addNodes adds the nodes that were asked for (BEP 32), by default those of
// our own family.
func (h *host) addNodes(r map[string]any, now time.Time, m *message) {
	want4, want6 := m.want4, m.want6
	if !want4 && !want6 {
		want4, want6 = !h.v6, h.v6
	}
	for _, o := range []*host{h, h.sibling} {
		switch {
		case o == nil:
		case !o.v6 && want4:
			r["nodes"] = compactNodes(o.nearest(now, m.target, closest))
		case o.v6 && want6:
			r["nodes6"] = compactNodes(o.nearest(now, m.target, closest))
		}
	}
}
