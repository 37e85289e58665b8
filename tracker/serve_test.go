package tracker_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"torrentfs/swarm/announce"
	"torrentfs/tracker"
)

// serve runs a tracker on loopback for the length of a test and returns its
// HTTP and UDP announce URLs.
func serve(t *testing.T, s *tracker.Server) (httpURL, udpURL string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, []net.Listener{l}, []net.PacketConn{c}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return "http://" + l.Addr().String() + "/announce", "udp://" + c.LocalAddr().String()
}

// TestOurClient lets our announcers find each other through our tracker, over
// each protocol, from "started" to "stopped".
func TestOurClient(t *testing.T) {
	s := tracker.New(tracker.Config{})
	httpURL, udpURL := serve(t, s)
	client := announce.NewClient(announce.ClientConfig{})
	defer client.Close()
	for i, url := range []string{httpURL, udpURL} {
		hash := [20]byte{byte(i + 1)}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		seed := run(ctx, t, client, url, hash, 7001, 0)
		waitFor(ctx, t, func() bool { return working(seed.a) })
		leech := run(ctx, t, client, url, hash, 7002, 5)
		want := netip.MustParseAddrPort("127.0.0.1:7001")
		select {
		case peers := <-leech.found:
			if !slices.Equal(peers, []netip.AddrPort{want}) {
				t.Errorf("%s: found %v, want %v", url, peers, want)
			}
		case <-ctx.Done():
			t.Fatalf("%s: no peers", url)
		}
		waitFor(ctx, t, func() bool { return working(leech.a) })
		leech.a.Completed()
		waitFor(ctx, t, func() bool { return s.Stats().Completed == uint64(i+1) })
		for _, res := range leech.a.Scrape(ctx) {
			if res.Err != nil || res.Seeders < 1 || res.Completed != 1 {
				t.Errorf("%s: scrape %+v", url, res)
			}
		}
		cancel()
		seed.wait(t)
		leech.wait(t)
		if st := s.Stats(); st.Seeders != 0 || st.Leechers != 0 || st.Torrents != 0 {
			t.Errorf("%s: after everybody stopped: %+v", url, st)
		}
	}
	if st := s.Stats(); st.AnnouncesHTTP != 5 || st.AnnouncesUDP != 5 {
		t.Errorf("announces: %+v, want 5 over each protocol", st)
	}
}

// running is an announcer that runs.
type running struct {
	a     *announce.Announcer
	found chan []netip.AddrPort
	done  chan error
}

func run(ctx context.Context, t *testing.T, client *announce.Client, url string, hash [20]byte, port uint16, left int64) *running {
	t.Helper()
	r := &running{found: make(chan []netip.AddrPort, 10), done: make(chan error, 1)}
	first := true
	r.a = announce.New(announce.Config{
		Trackers: [][]string{{url}}, InfoHash: hash, PeerID: [20]byte{byte(port)}, Port: port,
		Transport: client,
		Stats: func() announce.Stats { // complete from the second announce on
			defer func() { first = false }()
			if !first {
				return announce.Stats{}
			}
			return announce.Stats{Left: left}
		},
		Found: func(_ string, peers []netip.AddrPort) { r.found <- peers },
	})
	go func() { r.done <- r.a.Run(ctx) }()
	return r
}

func (r *running) wait(t *testing.T) {
	t.Helper()
	if err := <-r.done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func working(a *announce.Announcer) bool {
	st := a.Status()
	return len(st) == 1 && st[0].State == announce.Working
}

// waitFor polls, since what is waited for happens in another party's memory.
func waitFor(ctx context.Context, t *testing.T, ok func() bool) {
	t.Helper()
	for tick := time.NewTicker(5 * time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("waited in vain")
		}
	}
}

// TestServeEndsWithItsSockets: a socket that fails ends Serve with its error.
func TestServeEndsWithItsSockets(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	err = tracker.New(tracker.Config{}).Serve(t.Context(), nil, []net.PacketConn{c})
	if err == nil {
		t.Error("Serve on a closed socket returned nil")
	}
}
