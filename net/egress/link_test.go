//go:build linux

package egress

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bound is a way over the loopback interface, whose index is as the test says.
func bound(t *testing.T) (w *Network, index *atomic.Int64, log *syncBuffer) {
	t.Helper()
	log = new(syncBuffer)
	w, err := Open(Config{Interface: "lo", Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Skipf("cannot bind to the loopback interface: %v", err)
	}
	for range 2 { // the test looks itself
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	index = new(atomic.Int64)
	index.Store(int64(w.link.at))
	w.link.index = func() int { return int(index.Load()) }
	return w, index, log
}

func deviceOf(t *testing.T, c any) string {
	t.Helper()
	raw, err := c.(interface {
		SyscallConn() (syscall.RawConn, error)
	}).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var name string
	if e := raw.Control(func(fd uintptr) { name, err = unix.GetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return strings.TrimRight(name, "\x00")
}

// Every kind of socket is bound before it is used.
func TestSocketsAreBound(t *testing.T) {
	w, _, _ := bound(t)
	l, err := w.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := w.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	pc, err := w.ListenPacket(t.Context(), "udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	udp, err := w.DialFrom(t.Context(), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddrPort("127.0.0.1:9"))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	group, err := w.ListenMulticast("udp4", netip.MustParseAddrPort("239.192.152.143:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	for name, s := range map[string]any{
		"dialled": c, "accepted": in, "listening": l.(rebindingListener).socket(), "UDP": pc.(*RebindingConn).Socket(), "UDP dialled": udp, "group": group,
	} {
		if got := deviceOf(t, s); got != "lo" {
			t.Errorf("%s: bound to %q", name, got)
		}
	}
	if all, err := w.Interfaces(); err != nil || len(all) != 1 || all[0].Name != "lo" {
		t.Errorf("interfaces %v, %v", all, err)
	}
}

// What listens outlives its interface on the same port; what was connected ends at once.
func TestInterfaceComesBack(t *testing.T) {
	w, index, log := bound(t)
	l, err := w.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pc, err := w.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("accept: %v", err)
				}
				return
			}
			accepted <- c
		}
	}()
	read := make(chan string)
	go func() {
		defer close(read)
		b := make([]byte, 100)
		for {
			n, _, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			read <- string(b[:n])
		}
	}()
	dial := func() net.Conn {
		t.Helper()
		c, err := w.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	hear := func(text string) {
		t.Helper()
		if _, err := pc.WriteTo([]byte(text), pc.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		if got := <-read; got != text {
			t.Fatalf("heard %q", got)
		}
	}
	c := dial()
	in := <-accepted
	hear("before")

	was := index.Load()
	index.Store(0)
	w.link.look()
	w.link.look() // says it once
	for _, c := range []net.Conn{c, in} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
			t.Errorf("a connection over an interface that is gone: %v", err)
		}
	}
	if err := w.Err(); err == nil || err.Error() != "interface lo is not there" {
		t.Errorf("the way: %v", err)
	}
	if _, err := pc.WriteTo([]byte("x"), pc.LocalAddr()); !errors.Is(err, ErrDown) {
		t.Errorf("sent: %v", err)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("still listening")
	}

	index.Store(was + 7)
	w.link.look()
	c = dial()
	defer c.Close()
	in = <-accepted
	defer in.Close()
	hear("after")
	if w.Err() != nil {
		t.Error(w.Err())
	}
	text := log.String()
	if strings.Count(text, "is gone") != 1 || strings.Count(text, "the interface is back") != 1 {
		t.Errorf("logged %s", text)
	}
	_ = pc.SetReadDeadline(time.Unix(1, 0))
	if _, ok := <-read; ok {
		t.Error("read on after the deadline")
	}
	l.Close()
	pc.Close()
	<-accepted
	if len(w.link.kept) > 0 {
		t.Errorf("%d are kept", len(w.link.kept))
	}
	index.Store(0)
	w.link.look()
	index.Store(was)
	w.link.look() // opens nothing that was closed
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("listens again")
	}
}

// A Close while the interface is gone does not wait.
func TestCloseWhileGone(t *testing.T) {
	w, index, _ := bound(t)
	pc, err := w.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	index.Store(0)
	w.link.look()
	ended := make(chan error)
	go func() { _, _, err := pc.ReadFrom(make([]byte, 1)); ended <- err }()
	go func() { _, err := pc.(*RebindingConn).SocketAfter(pc.(*RebindingConn).Socket()); ended <- err }()
	pc.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
}

// A connection that was under way while the interface changed is ended.
func TestLateConnection(t *testing.T) {
	w, index, _ := bound(t)
	l := listenLoopback(t, "127.0.0.1:0")
	generation := w.link.generation()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	index.Add(1)
	w.link.look()
	w.link.track(c, generation)
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestNoSuchInterface(t *testing.T) {
	_, err := Open(Config{Interface: "nosuch0"})
	if err == nil || !strings.Contains(err.Error(), "there is no such interface, but") || !strings.Contains(err.Error(), "lo") {
		t.Error(err)
	}
	w, index, _ := bound(t)
	w.cfg.Interface = "nosuch0"
	index.Store(0)
	if _, err := w.DialContext(t.Context(), "tcp", "127.0.0.1:9"); !errors.Is(err, ErrDown) {
		t.Error(err)
	}
}

// A proxy on this machine sends by itself, on any interface.
func TestProxyHereAndInterface(t *testing.T) {
	w, _, _ := bound(t)
	w.cfg.Proxy = &Proxy{host: "127.0.0.1", port: "1"}
	w.link.loopback = false
	if err := w.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "bind the proxy itself") {
		t.Error(err)
	}
}

// Names are asked of the servers that the user named, by the way that all takes;
// a server on this machine would ask by another one.
func TestNameServers(t *testing.T) {
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			reply := append([]byte(nil), b[:n]...)
			reply[2], reply[3] = 0x81, 0x83 // no such name
			_, _ = server.WriteTo(reply, from)
		}
	}()
	w, err := Open(Config{DNS: []netip.AddrPort{netip.MustParseAddrPort(server.LocalAddr().String())}})
	if err != nil {
		t.Fatal(err)
	}
	var missing *net.DNSError
	if _, err := w.LookupNetIP(t.Context(), "tracker.example"); !errors.As(err, &missing) || !missing.IsNotFound {
		t.Errorf("looked up: %v", err)
	}
	b, _, _ := bound(t)
	b.link.loopback = false
	if _, err := b.dialDNS(context.Background(), "udp", "127.0.0.53:53"); err == nil || !strings.Contains(err.Error(), "--dns-server") {
		t.Errorf("dialled: %v", err)
	}
	if _, err := b.dialDNS(context.Background(), "udp", "192.0.2.53:53"); err != nil && strings.Contains(err.Error(), "--dns-server") {
		t.Errorf("dialled: %v", err)
	}
}
