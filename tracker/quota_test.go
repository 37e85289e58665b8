package tracker

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"
)

// small are bounds that a test reaches.
var small = bounds{total: 1000, network: 500, host: 200, hostInSwarm: 100}

// A host that announces without end, under made-up ports and info-hashes, takes its own
// share alone, and leaves nothing when it is gone.
func TestOneHostTakesItsShare(t *testing.T) {
	clk := newClock()
	s := New(Config{now: clk.Now})
	s.quota.bounds = small
	flood := addr("203.0.113.1:1").Addr()
	for i := range 5000 { // of one torrent
		must(t, s, announcement{hash: hashOf(1), addr: netip.AddrPortFrom(flood, uint16(i+1)), left: 1})
	}
	if n := s.Stats().Leechers; n != small.hostInSwarm {
		t.Errorf("%d peers of one host in a torrent, want %d", n, small.hostInSwarm)
	}
	refused := 0
	for i := range 5000 { // of many
		a := announcement{hash: [20]byte{2}, addr: netip.AddrPortFrom(flood, 1), left: 1}
		binary.BigEndian.PutUint32(a.hash[1:], uint32(i))
		if err := s.announce(&a, new(reply), true); err == errCrowd {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	st := s.Stats()
	if st.Leechers != small.host || st.Torrents != 1+small.host-small.hostInSwarm || refused != 5000-st.Torrents+1 {
		t.Errorf("%d peers of one host in %d torrents, %d were refused", st.Leechers, st.Torrents, refused)
	}
	for i := range 200 { // others are listed as ever, and told of each other
		r := must(t, s, announcement{hash: hashOf(1), addr: addr(fmt.Sprintf("198.51.100.%d:1", i+1)), left: 1, numWant: 50})
		if len(r.peers[ipv4]) != 50 {
			t.Fatalf("peer %d is told of %d others", i, len(r.peers[ipv4]))
		}
	}
	if n := s.Stats().Leechers; n != small.host+200 {
		t.Errorf("%d peers are listed, want %d", n, small.host+200)
	}
	clk.advance(s.cfg.Expiry)
	s.Sweep()
	if q := s.quota; q.total != 0 || len(q.hosts)+len(q.networks) != 0 {
		t.Errorf("%d peers of %d hosts and %d networks are counted when all have expired", q.total, len(q.hosts), len(q.networks))
	}
}

// A lab, or an office behind one address, is listed as a whole.
func TestLabIsListed(t *testing.T) {
	s := New(Config{})
	for i := range 250 {
		must(t, s, announcement{hash: hashOf(1), addr: addr(fmt.Sprintf("192.0.2.%d:6881", i+1)), left: 1})
		must(t, s, announcement{hash: hashOf(1), addr: addr(fmt.Sprintf("198.51.100.1:%d", 7000+i)), left: 1})
		must(t, s, announcement{hash: hashOf(1), addr: addr(fmt.Sprintf("[2001:db8::%x]:6881", i+1)), left: 1})
	}
	if n := s.Stats().Leechers; n != 750 {
		t.Errorf("%d of 750 peers are listed", n)
	}
}

// Networks and all together are bounded as peers come and go.
func TestQuotaBounds(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		q := newQuota(small)
		listed := map[netip.Addr]int{}
		for range 20_000 {
			a := netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(4)), byte(r.IntN(6))})
			if r.IntN(3) == 0 {
				b := [16]byte{0x20, 1, 0xd, 0xb8, 0, byte(r.IntN(2)), 0, byte(r.IntN(3)), 8: byte(r.Uint32())}
				a = netip.AddrFrom16(b)
			}
			if listed[a] > 0 && r.IntN(3) == 0 {
				q.leave(a)
				listed[a]--
			} else if q.enter(a) {
				listed[a]++
			}
		}
		total, hosts, networks := 0, map[netip.Prefix]int{}, map[netip.Prefix]int{}
		for a, n := range listed {
			total += n
			hosts[hostOf(a)] += n
			networks[networkOf(a)] += n
		}
		if total != q.total || total > small.total {
			t.Fatalf("%d peers, %d counted, at most %d", total, q.total, small.total)
		}
		for p, n := range hosts {
			if n > small.host || n != q.hosts[p] {
				t.Fatalf("%d peers of %v, %d counted, at most %d", n, p, q.hosts[p], small.host)
			}
		}
		for p, n := range networks {
			if n > small.network || n != q.networks[p] {
				t.Fatalf("%d peers of %v, %d counted, at most %d", n, p, q.networks[p], small.network)
			}
		}
	}
}

// One host does not take all the connections, and gets them again when it closes some.
func TestConnectionsAreBounded(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLimitListener(inner)
	l.most, l.mostOfHost = 6, 4
	defer l.Close()
	taken := make(chan net.Conn)
	go func() {
		defer close(taken)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			taken <- c
		}
	}()
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
		c, err := d.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	refused := func(c net.Conn) {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("a connection beyond the bound is not closed: %v", err)
		}
		c.Close()
	}
	var open []net.Conn
	for range 4 {
		defer dial("127.0.0.1").Close()
		open = append(open, <-taken)
	}
	refused(dial("127.0.0.1"))
	for range 2 {
		defer dial("127.0.0.2").Close()
		open = append(open, <-taken)
	}
	refused(dial("127.0.0.3"))
	open[0].Close()
	open[0].Close() // as http.Server may
	defer dial("127.0.0.1").Close()
	open = append(open, <-taken)
	refused(dial("127.0.0.1"))
	for _, c := range open {
		c.Close()
	}
	if l.total != 0 || len(l.hosts) != 0 {
		t.Errorf("%d connections of %d hosts are counted when all are closed", l.total, len(l.hosts))
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}
