package utp

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// rebindingPort is a port whose socket the test replaces.
type rebindingPort struct {
	net.PacketConn // of the first socket, for its address
	t              testing.TB

	mu     sync.Mutex
	cond   *sync.Cond
	cur    *net.UDPConn
	closed bool
}

func newRebindingPort(t testing.TB) *rebindingPort {
	p := &rebindingPort{t: t}
	p.cond = sync.NewCond(&p.mu)
	p.cur = p.listen("127.0.0.1:0")
	p.PacketConn = p.cur
	return p
}

func (p *rebindingPort) listen(addr string) *net.UDPConn {
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		p.t.Fatal(err)
	}
	return c.(*net.UDPConn)
}

// end closes the socket; rebind opens the next one on the same port.
func (p *rebindingPort) end() { p.Socket().Close() }

func (p *rebindingPort) rebind() {
	next := p.listen(p.LocalAddr().String())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cur = next
	p.cond.Broadcast()
}

func (p *rebindingPort) Socket() *net.UDPConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cur
}

func (p *rebindingPort) SocketAfter(old *net.UDPConn) (*net.UDPConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.cur == old && !p.closed {
		p.cond.Wait()
	}
	if p.closed {
		return nil, net.ErrClosed
	}
	return p.cur, nil
}

func (p *rebindingPort) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.cond.Broadcast()
	return p.cur.Close()
}

// A port whose socket is replaced is the same port: its connections go on, what
// was sent meanwhile is sent again, and others come in.
func TestRenewedSocket(t *testing.T) {
	port := newRebindingPort(t)
	a, b := New(port, Config{}), loopback(t, Config{})
	defer a.Close()
	x, y := dialPair(t, b, a)
	defer x.Close()
	defer y.Close()
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i * 7)
	}
	exchange := func() {
		t.Helper()
		_ = y.SetDeadline(time.Now().Add(30 * time.Second))
		sent := make(chan error, 1)
		go func() { _, err := x.Write(data); sent <- err }()
		got := make([]byte, len(data))
		if _, err := io.ReadFull(y, got); err != nil {
			t.Fatal(err)
		}
		if err := <-sent; err != nil || string(got) != string(data) {
			t.Fatalf("sent %v, other bytes came", err)
		}
	}
	exchange()
	port.end()
	port.rebind()
	exchange()
	port.end()
	if _, err := y.Write([]byte("into the void")); err != nil { // not yet known to be lost
		t.Fatal(err)
	}
	port.rebind()
	got := make([]byte, 13)
	_ = x.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadFull(x, got); err != nil || string(got) != "into the void" {
		t.Errorf("%q, %v", got, err)
	}
	x2, y2 := dialPair(t, b, a)
	x2.Close()
	y2.Close()
	port.end()
	a.Close() // while there is no socket
}
