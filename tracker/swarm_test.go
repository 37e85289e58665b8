package tracker

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// modelPeer is what the model remembers of a peer.
type modelPeer struct {
	seed, counted bool
	seen          time.Time
}

// model is the tracker as one would explain it: a map, scanned at each step.
type model struct {
	expiry    time.Duration
	peers     map[netip.AddrPort]modelPeer
	completed int
}

func (m *model) expire(now time.Time) {
	for a, p := range m.peers {
		if now.Sub(p.seen) >= m.expiry {
			delete(m.peers, a)
		}
	}
}

func (m *model) announce(a announcement, now time.Time) {
	m.expire(now)
	if a.event == eventStopped {
		delete(m.peers, a.addr)
		return
	}
	old, known := m.peers[a.addr]
	p := modelPeer{seed: a.left == 0, seen: now, counted: old.counted}
	if !known {
		p.counted = p.seed
	} else if a.event == eventCompleted && p.seed && !old.counted {
		p.counted = true
		m.completed++
	}
	m.peers[a.addr] = p
}

func (m *model) count() (seeders, leechers int) {
	for _, p := range m.peers {
		if p.seed {
			seeders++
		} else {
			leechers++
		}
	}
	return seeders, leechers
}

// candidates returns the peers that a may be told of.
func (m *model) candidates(a announcement) map[netip.AddrPort]bool {
	c := make(map[netip.AddrPort]bool)
	for addr, p := range m.peers {
		if addr != a.addr && !(a.left == 0 && p.seed) {
			c[addr] = true
		}
	}
	return c
}

// TestAnnounceAgainstModel holds the server against the model over random
// announces, pauses, sweeps and scrapes of one torrent.
func TestAnnounceAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clk := newClock()
		s := New(Config{Interval: time.Minute, Expiry: 3 * time.Minute, now: clk.Now, maxNumWant: 8})
		m := &model{expiry: 3 * time.Minute, peers: make(map[netip.AddrPort]modelPeer)}
		addrs := rapid.Map(rapid.IntRange(0, 19), func(i int) netip.AddrPort {
			if i%3 == 0 {
				return addr(fmt.Sprintf("[2001:db8::%x]:6881", i+1))
			}
			return addr(fmt.Sprintf("192.0.2.%d:%d", i/2+1, 6881+i%2)) // some share an address
		})
		t.Repeat(map[string]func(*rapid.T){
			"announce": func(t *rapid.T) {
				a := announcement{
					hash:    hashOf(1),
					addr:    addrs.Draw(t, "addr"),
					left:    int64(rapid.IntRange(0, 1).Draw(t, "left")),
					event:   event(rapid.IntRange(0, 3).Draw(t, "event")),
					numWant: rapid.IntRange(-1, 12).Draw(t, "numwant"),
				}
				m.announce(a, clk.Now())
				checkReply(t, m, a, s)
			},
			"pause": func(t *rapid.T) {
				clk.advance(time.Duration(rapid.IntRange(1, 100).Draw(t, "seconds")) * time.Second)
			},
			"sweep": func(t *rapid.T) {
				m.expire(clk.Now())
				if s.Sweep(); len(m.peers) == 0 {
					m.completed = 0 // a torrent without peers is forgotten
				}
			},
			"": func(t *rapid.T) { checkServer(t, m, s, clk.Now()) },
		})
	})
}

// checkReply announces and checks whom the answer names.
func checkReply(t *rapid.T, m *model, a announcement, s *Server) {
	var r reply
	if err := s.announce(&a, &r, true); err != nil {
		t.Fatalf("announce: %v", err)
	}
	if len(m.peers) == 0 && a.event == eventStopped {
		m.completed = 0 // a torrent without peers is forgotten
	}
	if seeders, leechers := m.count(); r.seeders != seeders || r.leechers != leechers {
		t.Fatalf("counts %d/%d, want %d/%d", r.seeders, r.leechers, seeders, leechers)
	}
	may := m.candidates(a)
	want := a.numWant
	if want < 0 {
		want = s.cfg.numWant
	}
	want = min(want, s.cfg.maxNumWant, len(may))
	if a.event == eventStopped {
		want = 0
	}
	got := 0
	for f, group := range r.peers {
		for _, c := range group {
			if !may[c.addr] {
				t.Fatalf("answer names %v, which is gone, the asker, a seeder for a seeder, or there twice", c.addr)
			}
			if familyOf(c.addr.Addr()) != family(f) {
				t.Fatalf("%v among the wrong family", c.addr)
			}
			delete(may, c.addr)
			got++
		}
	}
	if got != want {
		t.Fatalf("%d peers, want %d", got, want)
	}
}

// checkServer checks a scrape and the swarm's own structure.
func checkServer(t *rapid.T, m *model, s *Server, now time.Time) {
	m.expire(now)
	c, _ := s.scrape(hashOf(1))
	seeders, leechers := m.count()
	if want := (counts{seeders, leechers, m.completed}); c != want {
		t.Fatalf("scrape %+v, want %+v", c, want)
	}
	if st := s.Stats(); st.Seeders != seeders || st.Leechers != leechers {
		t.Fatalf("totals %d/%d, want %d/%d", st.Seeders, st.Leechers, seeders, leechers)
	}
	sw := s.shard(&[20]byte{1}).swarms[hashOf(1)]
	if sw == nil {
		if s.quota.total != 0 || len(s.quota.hosts)+len(s.quota.networks) != 0 {
			t.Fatalf("%d peers are counted, none is listed", s.quota.total)
		}
		return
	}
	n := 0
	for _, byRole := range sw.groups {
		for ro, group := range byRole {
			for i, p := range group {
				if p.slot != i || p.role != role(ro) || sw.peers[p.addr] != p {
					t.Fatalf("peer %v in slot %d of role %d: %+v", p.addr, i, ro, p)
				}
				n++
			}
		}
	}
	listed := 0
	for p := sw.oldest; p != nil; p = p.newer {
		if p.newer != nil && (p.newer.seen < p.seen || p.newer.older != p) {
			t.Fatalf("list broken at %v", p.addr)
		}
		listed++
	}
	if s.quota.total != n {
		t.Fatalf("%d peers are counted, %d listed", s.quota.total, n)
	}
	if n != len(sw.peers) || listed != n {
		t.Fatalf("%d peers in groups, %d in the list, %d in the map", n, listed, len(sw.peers))
	}
}

// TestPickIsFair: over all starting points each candidate is drawn equally often, for any step.
func TestPickIsFair(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 12, 30, 97} {
		sw := newSwarm(newQuota(defaultBounds))
		for i := range n {
			sw.add(&peer{addr: addr(fmt.Sprintf("192.0.2.%d:1", i+1)), role: role(i % 2)})
		}
		want := min(5, n)
		for r2 := range uint64(40) {
			drawn := make(map[netip.AddrPort]int)
			for r1 := range uint64(n) {
				got := sw.pick(nil, want, ipv4, addr("198.51.100.1:1"), leecher, r1, r2)
				if len(got) != want {
					t.Fatalf("%d of %d: got %d", want, n, len(got))
				}
				for _, c := range got {
					drawn[c.addr]++
				}
			}
			for a, times := range drawn {
				if times != want {
					t.Fatalf("n=%d r2=%d: %v drawn %d times, want %d", n, r2, a, times, want)
				}
			}
			if len(drawn) != n {
				t.Fatalf("n=%d r2=%d: only %d were ever drawn", n, r2, len(drawn))
			}
		}
	}
}

func TestLimits(t *testing.T) {
	clk := newClock()
	s := New(Config{MaxTorrents: 2, MaxPeers: 2, now: clk.Now})
	for i := range 3 {
		a := announcement{hash: hashOf(1), addr: addr(fmt.Sprintf("192.0.2.%d:1", i+1)), left: 1, numWant: -1}
		r := must(t, s, a)
		if want := min(i, 2); len(r.peers[ipv4]) != want {
			t.Errorf("peer %d was told of %d, want %d", i, len(r.peers[ipv4]), want)
		}
		if want := min(i+1, 2); r.leechers != want {
			t.Errorf("after peer %d there are %d, want %d", i, r.leechers, want)
		}
	}
	must(t, s, announcement{hash: hashOf(2), addr: addr("192.0.2.1:1")})
	a := announcement{hash: hashOf(3), addr: addr("192.0.2.1:1")}
	if err := s.announce(&a, new(reply), true); err != errFull {
		t.Errorf("third torrent: %v, want %v", err, errFull)
	}
	must(t, s, announcement{hash: hashOf(3), addr: addr("192.0.2.1:1"), event: eventStopped})
	if n := s.Stats().Torrents; n != 2 {
		t.Errorf("%d torrents, want 2", n)
	}
	// Expired torrents make room.
	clk.advance(s.cfg.Expiry)
	s.Sweep()
	if st := s.Stats(); st.Torrents != 0 || st.Leechers != 0 || st.Seeders != 0 {
		t.Errorf("after everybody expired: %+v", st)
	}
	must(t, s, a)
}

func TestAllowList(t *testing.T) {
	s := New(Config{Allow: [][20]byte{hashOf(1)}})
	must(t, s, announcement{hash: hashOf(1), addr: addr("192.0.2.1:1")})
	a := announcement{hash: hashOf(2), addr: addr("192.0.2.1:1")}
	if err := s.announce(&a, new(reply), true); err != errNotAllowed {
		t.Errorf("other torrent: %v, want %v", err, errNotAllowed)
	}
	none := New(Config{Allow: [][20]byte{}})
	if err := none.announce(&a, new(reply), true); err != errNotAllowed {
		t.Errorf("empty list: %v, want %v", err, errNotAllowed)
	}
}
