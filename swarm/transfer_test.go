package swarm

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is a session that listens on loopback.
func host(t testing.TB, cfg Config) (*Session, netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listener = l
	s := NewSession(cfg)
	t.Cleanup(func() { s.Close() })
	return s, l.Addr().(*net.TCPAddr).AddrPort()
}

// add adds a torrent and fails the test where that fails.
func add(t testing.TB, s *Session, cfg TorrentConfig) *Torrent {
	t.Helper()
	tor, err := s.Add(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tor
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// A download over real sockets: background, all of it, right.
func TestDownloadOverLoopback(t *testing.T) {
	info, data := payload(t, 5<<20+777, 256<<10)
	seeder, addr := host(t, Config{})
	add(t, seeder, TorrentConfig{Info: info, Store: fullStore(info, data)})
	leecher, _ := host(t, Config{})
	store := newMemStore(info)
	tor := add(t, leecher, TorrentConfig{Info: info, Store: store, Prefetch: true, Peers: []netip.AddrPort{addr}})
	select {
	case <-tor.Complete():
	case <-time.After(30 * time.Second):
		t.Fatalf("not complete: %+v", tor.Stats())
	}
	if n := store.have.Count(); n != info.NumPieces() {
		t.Errorf("%d pieces of %d", n, info.NumPieces())
	}
	store.check(t, data)
}

// A read without prefetch fetches the pieces it needs and no others.
func TestReadFetchesWhatItNeeds(t *testing.T) {
	info, data := payload(t, 4<<20, 64<<10)
	seeder, addr := host(t, Config{})
	add(t, seeder, TorrentConfig{Info: info, Store: fullStore(info, data)})
	leecher, _ := host(t, Config{})
	store := newMemStore(info)
	tor := add(t, leecher, TorrentConfig{Info: info, Store: store, Peers: []netip.AddrPort{addr}})
	r := tor.NewReader("x")
	defer r.Close()
	got := make([]byte, 100_000)
	off := int64(1<<20 + 12345)
	if _, err := r.ReadAt(within(t, 20*time.Second), got, off); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data[off:off+int64(len(got))]) {
		t.Error("wrong bytes")
	}
	if n := store.have.Count(); n != 2 {
		t.Errorf("%d pieces fetched for a read in 2", n)
	}
	store.check(t, data)
}
