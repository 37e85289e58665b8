package egress

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/fakeproxy"
	"torrentfs/internal/simnet"
)

// simConn is a datagram socket of a network in memory that is connected, as the
// system's are.
type simConn struct {
	*simnet.PacketConn
	to net.Addr
}

func (c simConn) RemoteAddr() net.Addr        { return c.to }
func (c simConn) Write(b []byte) (int, error) { return c.WriteTo(b, c.to) }
func (c simConn) Read(b []byte) (n int, err error) {
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil || from.String() == c.to.String() {
			return n, err
		}
	}
}

// relayWorld is a proxy and a client of it, in memory and in virtual time.
type relayWorld struct {
	t       *testing.T
	server  *simnet.Host
	network *Network
	log     *syncBuffer
}

func newRelayWorld(t *testing.T) *relayWorld {
	n := simnet.New(1)
	t.Cleanup(n.Close)
	link := simnet.Link{Delay: 10 * time.Millisecond}
	client := n.Host("192.0.2.1", link)
	w := &relayWorld{t: t, server: n.Host("192.0.2.9", link), log: new(syncBuffer)}
	proxy, err := ParseProxy("socks5://192.0.2.9:1080")
	if err != nil {
		t.Fatal(err)
	}
	if w.network, err = Open(Config{Proxy: proxy, Logger: slog.New(slog.NewTextHandler(w.log, nil))}); err != nil {
		t.Fatal(err)
	}
	w.network.direct = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if network != "udp" {
			return client.DialContext(ctx, network, addr)
		}
		pc, err := client.ListenPacket(0)
		return simConn{pc, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr))}, err
	}
	return w
}

func (w *relayWorld) serve(udp bool) *fakeproxy.Proxy {
	w.t.Helper()
	l, err := w.server.Listen("tcp", ":1080")
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := fakeproxy.Config{}
	if udp {
		cfg.UDP = func() (in, out net.PacketConn, err error) {
			in, err = w.server.ListenPacket(0)
			if err == nil {
				out, err = w.server.ListenPacket(0)
			}
			return in, out, err
		}
	}
	return fakeproxy.Serve(l, cfg)
}

// The end of the connection is the end of the association, which is asked for
// again, less and less often; the log tells of each change once.
func TestAssociationComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRelayWorld(t)
		p := w.serve(true)
		opened := make(chan time.Time, 100)
		r, err := w.network.OpenRelay(func() { opened <- time.Now() })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.WriteTo(nil, NameAddr{"a", 1}); !errors.Is(err, ErrDown) {
			t.Errorf("sent before there is an association: %v", err)
		}
		<-opened
		time.Sleep(time.Hour) // it holds
		began := time.Now()
		p.Disassociate()
		if again := (<-opened).Sub(began); again < firstAgain || again > firstAgain+time.Second {
			t.Errorf("associated again after %v", again)
		}
		p.Close()
		time.Sleep(time.Minute)
		if _, err := r.WriteTo(nil, NameAddr{"a", 1}); !errors.Is(err, ErrDown) {
			t.Errorf("sent without a proxy: %v", err)
		}
		if w.network.Err() == nil {
			t.Error("nobody knows that the proxy is gone")
		}
		time.Sleep(time.Hour)
		p = w.serve(false) // it is another one now
		time.Sleep(2 * longestAgain)
		if err := w.network.NoRelay(); err != nil || w.network.Err() != nil {
			t.Errorf("%v; the way: %v", err, w.network.Err())
		}
		p.Close()
		began = time.Now()
		p = w.serve(true)
		if again := (<-opened).Sub(began); again > longestAgain+time.Second {
			t.Errorf("associated again after %v", again)
		}
		read := make(chan error)
		go func() { _, _, err := r.ReadFrom(nil); read <- err }()
		synctest.Wait()
		r.Close()
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed under a reader: %v", err)
		}
		if err := r.Ready(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		if _, err := r.WriteTo(nil, NameAddr{"a", 1}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		p.Close()
		for text, times := range map[string]int{"cannot be used": 1, "works again": 1, "relays no UDP": 1, "the proxy relays UDP": 1} {
			if n := strings.Count(w.log.String(), text); n != times {
				t.Errorf("%q is in the log %d times: %s", text, n, w.log)
			}
		}
	})
}

// A proxy that is silent when it is asked for UDP takes a while, and no more; one
// that hangs up, as that of ssh does, is no worse.
func TestSilentAboutUDP(t *testing.T) {
	for _, hangsUp := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newRelayWorld(t)
			l, err := w.server.Listen("tcp", ":1080")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				_, _ = io.ReadFull(c, make([]byte, 3))
				_, _ = c.Write([]byte{socksVersion, socksNoAuth})
				if hangsUp {
					_, _ = io.ReadFull(c, make([]byte, 10))
				} else {
					_, _ = io.Copy(io.Discard, c)
				}
			}()
			began := time.Now()
			if err := w.network.Check(t.Context()); err != nil {
				t.Error(err)
			}
			want := "it says nothing when it is asked for UDP"
			if hangsUp {
				want = "the proxy hung up: unexpected EOF"
			}
			if err := w.network.NoRelay(); err == nil || err.Error() != want || time.Since(began) > 2*greetPatience {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
			l.Close()
			<-done
		})
	}
}
