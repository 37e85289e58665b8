package tracker

import (
	"fmt"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
)

// fill makes a server with one torrent of n peers, one in ten a seeder.
func fill(b *testing.B, n int) *Server {
	s := New(Config{MaxPeers: 1 << 30})
	s.quota.bounds.network = 1 << 30
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		must(b, s, announcement{hash: hashOf(1), addr: netip.AddrPortFrom(a, 6881), left: int64(i % 10), numWant: 0})
	}
	return s
}

// BenchmarkAnnounce is an announce over UDP, connection id and all but the
// socket, by one of many peers of one torrent, or of many torrents.
func BenchmarkAnnounce(b *testing.B) {
	for _, n := range []int{100, 10_000, 1_000_000} {
		b.Run(fmt.Sprintf("peers=%d", n), func(b *testing.B) {
			s := fill(b, n)
			var next atomic.Uint32
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				var r reply
				out := make([]byte, 0, 2048)
				p := announcePacket(0, hashOf(1), 5, 0, 50, 6881)
				for pb.Next() {
					i := next.Add(1) % uint32(n)
					from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 6881)
					id := s.conns.issue(from.Addr(), s.elapsed())
					for k := range 8 {
						p[k] = byte(id >> (56 - 8*k))
					}
					out = s.handlePacket(out[:0], p, from, &r)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "announces/s")
		})
	}
}

// BenchmarkAnnounceHTTP is an announce through ServeHTTP, without the socket.
func BenchmarkAnnounceHTTP(b *testing.B) {
	s := fill(b, 10_000)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		req := httptest.NewRequest("GET", "/announce?"+hashParam+idParam+"&port=6881&left=5&compact=1&numwant=50", nil)
		for pb.Next() {
			s.ServeHTTP(httptest.NewRecorder(), req)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "announces/s")
}
