package udpmux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"torrentfs/swarm/utp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T, network, addr string) *net.UDPConn {
	t.Helper()
	pc, err := net.ListenPacket(network, addr)
	if err != nil {
		t.Skipf("no such socket here: %v", err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc.(*net.UDPConn)
}

func receive(t *testing.T, pc net.PacketConn) (string, net.Addr) {
	t.Helper()
	if err := pc.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2*maxMessage)
	n, from, err := pc.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n]), from
}

// One port of both families: nodes and a uTP peer come to it side by side, and
// each side sends from it.
func TestPortIsShared(t *testing.T) {
	pc := listen(t, "udp", ":0")
	port := New(pc)
	socket := utp.New(pc, utp.Config{Other: port.Deliver})
	defer socket.Close()
	defer port.Close()
	for _, tt := range []struct {
		network, host string
		view          net.PacketConn
	}{{"udp4", "127.0.0.1", port.IPv4()}, {"udp6", "::1", port.IPv6()}} {
		t.Run(tt.network, func(t *testing.T) {
			if tt.view == nil {
				t.Skip("no dual-stack sockets here")
			}
			us := net.JoinHostPort(tt.host, fmt.Sprint(port.Number()))
			to, err := net.ResolveUDPAddr(tt.network, us)
			if err != nil {
				t.Fatal(err)
			}
			node := listen(t, tt.network, net.JoinHostPort(tt.host, "0"))
			peer := utp.New(listen(t, tt.network, net.JoinHostPort(tt.host, "0")), utp.Config{})
			defer peer.Close()
			accepted := make(chan net.Conn, 1)
			go func() {
				if c, err := socket.Accept(); err == nil {
					accepted <- c
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			c, err := peer.Dial(ctx, netip.MustParseAddrPort(us))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			in := <-accepted
			defer in.Close()
			for i := range 20 { // a message of the DHT between any two packets of uTP
				want := fmt.Sprintf("d1:y1:q1:ti%de", i)
				if _, err := node.WriteTo([]byte(want), to); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Write([]byte("peer")); err != nil {
					t.Fatal(err)
				}
				got, from := receive(t, tt.view)
				if got != want || from.String() != node.LocalAddr().String() {
					t.Fatalf("DHT got %q from %v, want %q from %v", got, from, want, node.LocalAddr())
				}
				b := make([]byte, 4)
				if _, err := io.ReadFull(in, b); err != nil || string(b) != "peer" {
					t.Fatalf("peer got %q, %v", b, err)
				}
				if _, err := tt.view.WriteTo([]byte("d1:re"), from); err != nil {
					t.Fatal(err)
				}
				if got, from := receive(t, node); got != "d1:re" || from.(*net.UDPAddr).Port != int(port.Number()) {
					t.Fatalf("node got %q from %v", got, from)
				}
			}
		})
	}
}

// Without uTP the port reads itself, and its end ends all.
func TestServe(t *testing.T) {
	pc := listen(t, "udp4", "127.0.0.1:0")
	port := New(pc)
	if port.IPv6() != nil {
		t.Error("an IPv4 socket has a view of IPv6")
	}
	port.Serve()
	node := listen(t, "udp4", "127.0.0.1:0")
	for _, b := range []string{"no message", "", "d1:xe"} {
		if _, err := node.WriteTo([]byte(b), pc.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := receive(t, port.IPv4()); got != "d1:xe" {
		t.Errorf("got %q", got)
	}
	ended := make(chan error)
	go func() {
		_, _, err := port.IPv4().ReadFrom(make([]byte, 10))
		ended <- err
	}()
	port.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading ended with %v", err)
	}
	if _, err := pc.WriteTo([]byte("x"), pc.LocalAddr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the socket is still open: %v", err)
	}
}

// A flood of queries costs a bounded queue; what is no message costs nothing.
func TestFloodIsDropped(t *testing.T) {
	port := New(listen(t, "udp4", "127.0.0.1:0"))
	defer port.Close()
	from := netip.MustParseAddrPort("[::ffff:192.0.2.1]:6881")
	for i := range 10 * maxQueued {
		port.Deliver(fmt.Appendf(nil, "d%04d", i), from, netip.Addr{})
		port.Deliver([]byte{0x41}, from, netip.Addr{})
		port.Deliver(nil, from, netip.Addr{})
		port.Deliver(append([]byte{'d'}, make([]byte, maxMessage)...), from, netip.Addr{})
		port.Deliver([]byte("d"), netip.MustParseAddrPort("[2001:db8::1]:1"), netip.Addr{}) // of a family that there is not
	}
	v := port.IPv4()
	for i := range maxQueued {
		if got, a := receive(t, v); got != fmt.Sprintf("d%04d", i) || a.String() != "192.0.2.1:6881" {
			t.Fatalf("datagram %d is %q from %v", i, got, a)
		}
	}
	_ = v.SetReadDeadline(time.Unix(1, 0))
	if _, _, err := v.ReadFrom(nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("more than the queue holds: %v", err)
	}
}

// deadPort is a socket that nothing comes to.
type deadPort struct{ net.PacketConn }

func (deadPort) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 6881} }

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := New(deadPort{}).IPv4()
		read := func() (err error) { _, _, err = v.ReadFrom(make([]byte, 10)); return err }
		began := time.Now()
		_ = v.SetReadDeadline(began.Add(time.Minute))
		if err := read(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("read ended after %v with %v", time.Since(began), err)
		}
		if err := read(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the deadline: %v", err)
		}
		_ = v.SetReadDeadline(time.Time{})
		ended := make(chan error)
		go func() { ended <- read() }()
		synctest.Wait()
		_ = v.SetReadDeadline(time.Unix(1, 0)) // wakes it
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("woken with %v", err)
		}
		_ = v.SetReadDeadline(time.Now().Add(time.Hour))
		_ = v.SetReadDeadline(time.Time{})
		go func() { ended <- read() }()
		synctest.Wait()
		_ = v.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed with %v", err)
		}
		if _, err := v.WriteTo(nil, nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after close: %v", err)
		}
	})
}
