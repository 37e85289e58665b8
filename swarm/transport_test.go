package swarm

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/simnet"
	"torrentfs/swarm/utp"
)

// besideTCP stands for uTP: the same network, by another port.
type besideTCP struct {
	net.Listener
	host  *simnet.Host
	dials atomic.Int32
}

const besidePort = 7000

func (b *besideTCP) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	b.dials.Add(1)
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return b.host.DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", host, besidePort))
}

func newBeside(t *testing.T, h *simnet.Host) *besideTCP {
	l, err := h.Listen("tcp", fmt.Sprintf(":%d", besidePort))
	if err != nil {
		t.Fatal(err)
	}
	return &besideTCP{Listener: l, host: h}
}

// TCP that works is taken, and alone; where it does not, or hangs, the other
// transport comes in, and first the next time.
func TestTransportsAreRaced(t *testing.T) {
	const rtt = 100 * ms
	info, data := payload(t, 256<<10, 16<<10)
	for _, c := range []struct {
		name    string
		tcp     bool
		dials   int32 // of the other transport
		soonest time.Duration
		latest  time.Duration
	}{
		{"TCP works", true, 0, 3 * rtt, 4 * rtt},
		{"TCP is refused", false, 1, 4 * rtt, 5*rtt + rtt/2},
	} {
		synctest.Test(t, func(t *testing.T) {
			net := simnet.New(1)
			defer net.Close()
			there := net.Host("10.0.1.1", simnet.Link{Delay: rtt / 2, Up: 100 * mbit})
			cfg := Config{Dialer: there, Seed: 1, UTP: newBeside(t, there)}
			if c.tcp {
				l, err := there.Listen("tcp", fmt.Sprintf(":%d", peerTCP))
				if err != nil {
					t.Fatal(err)
				}
				cfg.Listener = l
			}
			seed := NewSession(cfg)
			defer seed.Close()
			add(t, seed, TorrentConfig{Info: info, Store: fullStore(info, data)})
			host := net.Host("10.0.0.1", simnet.Link{})
			beside := newBeside(t, host)
			us := NewSession(Config{Dialer: host, Seed: 2, UTP: beside})
			defer us.Close()
			peer := netip.MustParseAddrPort("10.0.1.1:6881")
			tor := add(t, us, TorrentConfig{Info: info, Store: newMemStore(info), Peers: []netip.AddrPort{peer}})
			r := tor.NewReader(nil)
			defer r.Close()
			begun := time.Now()
			got := make([]byte, 1000)
			if _, err := r.ReadAt(t.Context(), got, 0); err != nil || !bytes.Equal(got, data[:1000]) {
				t.Errorf("%s: %v", c.name, err)
			}
			if took := time.Since(begun); took < c.soonest || took > c.latest {
				t.Errorf("%s: first byte after %v, want %v to %v", c.name, took, c.soonest, c.latest)
			}
			if n := beside.dials.Load(); n != c.dials {
				t.Errorf("%s: the other transport was dialled %d times, want %d", c.name, n, c.dials)
			}
		})
	}
}

// silence is a network that loses everything.
type silence struct{}

func (silence) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Over real sockets: no TCP on either side, metadata and all payload by uTP,
// over IPv4 by a socket of both families.
func TestDownloadOverUTPAlone(t *testing.T) {
	info, data := payload(t, 1<<20, 64<<10)
	open := func(address string) *utp.Socket {
		pc, err := net.ListenPacket("udp", address)
		if err != nil {
			t.Skipf("no UDP here: %v", err)
		}
		return utp.New(pc, utp.Config{})
	}
	at := open("127.0.0.1:0")
	addr := at.Addr().(*net.UDPAddr).AddrPort()
	seed := NewSession(Config{Dialer: silence{}, UTP: at})
	defer seed.Close()
	add(t, seed, TorrentConfig{Info: info, Store: fullStore(info, data)})
	us := NewSession(Config{Dialer: silence{}, UTP: open(":0")})
	defer us.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	peers := []netip.AddrPort{netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())}
	md, err := us.FetchMetadata(ctx, MetadataConfig{Hash: info.Hash, Peers: peers})
	if err != nil || !bytes.Equal(md.Info, info.Bytes) {
		t.Fatalf("metadata: %v", err)
	}
	tor := add(t, us, TorrentConfig{Info: info, Store: newMemStore(info), Metadata: md, Peers: peers, Prefetch: true})
	for n := 0; n == 0 && ctx.Err() == nil; time.Sleep(ms) {
		for _, p := range tor.Peers() {
			if n++; !p.UTP {
				t.Errorf("not by uTP: %+v", p)
			}
		}
		if tor.pieces.allHeld.Load() {
			break
		}
	}
	select {
	case <-tor.Complete():
	case <-ctx.Done():
		t.Errorf("not complete: %+v", tor.Stats())
	}
}
