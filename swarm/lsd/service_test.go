package lsd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// segment is a network that brings what is sent to all, the sender included.
type segment struct {
	mu      sync.Mutex
	members []*member
	sent    []sent
	down    bool
}

type sent struct {
	at   time.Time
	from netip.AddrPort
	data []byte
}

// member is a Group on a segment.
type member struct {
	seg  *segment
	from netip.AddrPort
	in   chan sent
	done chan struct{}
	once sync.Once
}

func (s *segment) join(addr string) *member {
	m := &member{seg: s, from: netip.MustParseAddrPort(addr), in: make(chan sent, 1000), done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = append(s.members, m)
	return m
}

func (m *member) Addr() netip.AddrPort { return group4 }
func (m *member) Close() error         { m.once.Do(func() { close(m.done) }); return nil }

func (m *member) Send(b []byte) error {
	m.seg.mu.Lock()
	defer m.seg.mu.Unlock()
	if m.seg.down {
		return errors.New("no network")
	}
	p := sent{time.Now(), m.from, bytes.Clone(b)}
	m.seg.sent = append(m.seg.sent, p)
	for _, o := range m.seg.members {
		select {
		case o.in <- p:
		default:
		}
	}
	return nil
}

func (m *member) Receive(p []byte) (int, netip.AddrPort, error) {
	select {
	case d := <-m.in:
		return copy(p, d.data), d.from, nil
	case <-m.done:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

// found collects what a service reports.
type found struct {
	mu  sync.Mutex
	all map[netip.AddrPort]map[[20]byte]int
}

func (f *found) add(h [20]byte, peer netip.AddrPort) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = make(map[netip.AddrPort]map[[20]byte]int)
	}
	if f.all[peer] == nil {
		f.all[peer] = make(map[[20]byte]int)
	}
	f.all[peer][h]++
}

func (f *found) peers(h [20]byte) map[netip.AddrPort]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	peers := make(map[netip.AddrPort]int)
	for p, hashes := range f.all {
		if n := hashes[h]; n > 0 {
			peers[p] = n
		}
	}
	return peers
}

// start runs a service until the test ends.
func start(t *testing.T, port uint16, groups ...Group) (*Service, *found) {
	t.Helper()
	f := new(found)
	s := New(Config{Groups: groups, Port: port, Found: f.add})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return s, f
}

func TestFindsPeersWithOurTorrents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seg := new(segment)
		a, foundA := start(t, 1111, seg.join("192.168.1.1:6771"))
		b, foundB := start(t, 2222, seg.join("192.168.1.2:6771"))
		for _, h := range []byte{1, 2} {
			a.Add(hash(h))
		}
		for _, h := range []byte{2, 3} {
			b.Add(hash(h))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		peerA, peerB := netip.MustParseAddrPort("192.168.1.1:1111"), netip.MustParseAddrPort("192.168.1.2:2222")
		if got := foundA.peers(hash(2)); !maps.Equal(got, map[netip.AddrPort]int{peerB: 1}) {
			t.Errorf("the first one found %v", got)
		}
		if got := foundB.peers(hash(2)); !maps.Equal(got, map[netip.AddrPort]int{peerA: 1}) {
			t.Errorf("the second one found %v", got)
		}
		for _, h := range []byte{1, 3} {
			if got := len(foundA.peers(hash(h))) + len(foundB.peers(hash(h))); got != 0 {
				t.Errorf("%d peers were reported for torrent %d, which only one has", got, h)
			}
		}
		b.Remove(hash(2))
		time.Sleep(2 * Interval)
		synctest.Wait()
		if got := foundB.peers(hash(2)); got[peerA] != 1 {
			t.Errorf("found %v for a torrent that was removed", got)
		}
		if got := foundA.peers(hash(2)); got[peerB] != 1 {
			t.Errorf("a torrent that was removed went on being announced: %v", got)
		}
	})
}

// A packet a minute, each torrent every five minutes, as many in a packet as have room, and no
// torrent is forgotten.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const torrents = 60
		seg := new(segment)
		s, _ := start(t, 1111, seg.join("192.168.1.1:6771"))
		for i := range torrents {
			var h [20]byte
			binary.BigEndian.PutUint32(h[:], uint32(i))
			s.Add(h)
		}
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		seg.mu.Lock()
		defer seg.mu.Unlock()
		times := make(map[[20]byte][]time.Time)
		for i, p := range seg.sent {
			if i > 0 && p.at.Sub(seg.sent[i-1].at) < Pause {
				t.Fatalf("two packets within %v", p.at.Sub(seg.sent[i-1].at))
			}
			if len(p.data) > MaxPacket {
				t.Fatalf("packet of %d bytes", len(p.data))
			}
			a, err := Parse(p.data)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range a.InfoHashes {
				times[h] = append(times[h], p.at)
			}
		}
		if len(times) != torrents {
			t.Fatalf("%d torrents were announced of %d", len(times), torrents)
		}
		for h, at := range times {
			if len(at) < 11 || len(at) > 13 {
				t.Errorf("%x was announced %d times in an hour", h[:4], len(at))
			}
			for i := range at[1:] {
				if d := at[i+1].Sub(at[i]); d < Interval || d > Interval+2*Pause {
					t.Errorf("%x was announced after %v", h[:4], d)
				}
			}
		}
	})
}

// Torrents that are added one after another share one packet; a late one waits
// for the minute.
func TestGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seg := new(segment)
		s, _ := start(t, 1111, seg.join("192.168.1.1:6771"))
		begun := time.Now()
		for i := range 5 {
			s.Add(hash(byte(i)))
			time.Sleep(gather / 10)
		}
		time.Sleep(time.Second)
		s.Add(hash(9))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		seg.mu.Lock()
		defer seg.mu.Unlock()
		if len(seg.sent) != 2 {
			t.Fatalf("%d packets", len(seg.sent))
		}
		for i, want := range []int{5, 1} {
			if a, err := Parse(seg.sent[i].data); err != nil || len(a.InfoHashes) != want {
				t.Errorf("packet %d has %d torrents, %v", i, len(a.InfoHashes), err)
			}
		}
		if wait := seg.sent[0].at.Sub(begun); wait > time.Second {
			t.Errorf("the first packet came after %v", wait)
		}
	})
}

// Without a network nothing is lost but time.
func TestNoNetworkAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seg := &segment{down: true}
		s, _ := start(t, 1111, seg.join("192.168.1.1:6771"))
		s.Add(hash(1))
		time.Sleep(10 * time.Minute)
		seg.mu.Lock()
		seg.down = false
		seg.mu.Unlock()
		time.Sleep(Pause + time.Second)
		seg.mu.Lock()
		defer seg.mu.Unlock()
		if len(seg.sent) != 1 {
			t.Errorf("%d packets after the network came", len(seg.sent))
		}
	})
}

// Who floods us costs little, and others are heard again afterwards.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seg := new(segment)
		s, f := start(t, 1111, seg.join("192.168.1.1:6771"))
		s.Add(hash(1))
		flooder := seg.join("192.168.1.66:6771")
		for i := range 100_000 {
			a := Announce{Host: group4, Port: uint16(i%60000 + 1), InfoHashes: [][20]byte{hash(1)}}
			if err := flooder.Send(a.Append(nil)); err != nil {
				t.Fatal(err)
			}
			if i%500 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if n := len(f.peers(hash(1))); n == 0 || n > heardBurst {
			t.Errorf("%d peers at one instant", n)
		}
		time.Sleep(10 * time.Second)
		good := Announce{Host: group4, Port: 7777, InfoHashes: [][20]byte{hash(1)}}
		if err := seg.join("192.168.1.7:6771").Send(good.Append(nil)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if f.peers(hash(1))[netip.MustParseAddrPort("192.168.1.7:7777")] != 1 {
			t.Error("nobody is heard after a flood")
		}
	})
}

// Real multicast, which stays on the loopback interface.
func TestMulticast(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skipf("no loopback interface by this name: %v", err)
	}
	groups := func() []Group {
		gs, err := Groups(nil, []net.Interface{*lo})
		if len(gs) == 0 {
			t.Skipf("no multicast here: %v", err)
		}
		return gs
	}
	ga, gb := groups(), groups()
	probe := Announce{Host: ga[0].Addr(), Port: 1, InfoHashes: [][20]byte{hash(8)}}
	if err := ga[0].Send(probe.Append(nil)); err != nil {
		for _, g := range append(ga, gb...) {
			_ = g.Close()
		}
		t.Skipf("multicast does not leave: %v", err)
	}
	heard := make(chan netip.AddrPort, 100)
	a := New(Config{Groups: ga, Port: 1111, Found: func([20]byte, netip.AddrPort) {}})
	b := New(Config{Groups: gb, Port: 2222, Found: func(_ [20]byte, p netip.AddrPort) { heard <- p }})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, s := range []*Service{a, b} {
		s.Add(hash(7))
		wg.Go(func() { _ = s.Run(ctx) })
	}
	select {
	case p := <-heard:
		if p.Port() != 1111 {
			t.Errorf("found %v", p)
		}
	case <-time.After(10 * time.Second):
		t.Error("nothing was heard")
	}
	cancel()
	wg.Wait()
}
