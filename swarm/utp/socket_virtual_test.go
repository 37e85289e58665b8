package utp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// switchboard connects datagram sockets in memory, each packet after a delay.
type switchboard struct {
	mu    sync.Mutex
	delay time.Duration
	ports map[netip.AddrPort]*virtualConn
	wg    sync.WaitGroup
}

// virtualConn is a net.PacketConn on a switchboard.
type virtualConn struct {
	net.PacketConn
	board *switchboard
	addr  netip.AddrPort
	in    chan virtualPacket
	done  chan struct{}
	once  sync.Once
}

type virtualPacket struct {
	data []byte
	from netip.AddrPort
}

func (b *switchboard) listen(addr string) *virtualConn {
	c := &virtualConn{
		board: b, addr: netip.MustParseAddrPort(addr),
		in: make(chan virtualPacket, 2000), done: make(chan struct{}),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ports == nil {
		b.ports = make(map[netip.AddrPort]*virtualConn)
	}
	b.ports[c.addr] = c
	return c
}

// inject delivers a packet under any address.
func (b *switchboard) inject(from, to netip.AddrPort, data []byte) {
	b.mu.Lock()
	c := b.ports[to]
	b.mu.Unlock()
	if c == nil {
		return
	}
	select {
	case c.in <- virtualPacket{bytes.Clone(data), from}:
	default: // the queue is full
	}
}

func (c *virtualConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	select {
	case <-c.done:
		return 0, net.ErrClosed
	default:
	}
	to, data := addr.(*net.UDPAddr).AddrPort(), bytes.Clone(p)
	c.board.wg.Add(1)
	time.AfterFunc(c.board.delay, func() {
		defer c.board.wg.Done()
		c.board.inject(c.addr, to, data)
	})
	return len(p), nil
}

func (c *virtualConn) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case d := <-c.in:
		return copy(p, d.data), net.UDPAddrFromAddrPort(d.from), nil
	case <-c.done:
		return 0, nil, net.ErrClosed
	}
}

func (c *virtualConn) Close() error        { c.once.Do(func() { close(c.done) }); return nil }
func (c *virtualConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.addr) }

// inBubble runs a test with two sockets in virtual time.
func inBubble(t *testing.T, cfg Config, f func(t *testing.T, board *switchboard, a, b *Socket)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		board := &switchboard{delay: 10 * ms}
		a, b := New(board.listen("10.0.0.1:1"), cfg), New(board.listen("10.0.0.2:2"), cfg)
		defer board.wg.Wait()
		defer a.Close()
		defer b.Close()
		f(t, board, a, b)
	})
}

// conns is the number of connections that a socket keeps.
func conns(s *Socket) (all, halfOpen int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns), s.halfOpen
}

func TestManyConnections(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, _ *switchboard, a, b *Socket) {
		const n = 40
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() { // echoes
				c, err := b.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				if _, err := io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}); err != nil {
					t.Errorf("echo: %v", err)
				}
			})
		}
		for i := range n {
			wg.Go(func() {
				c, err := a.Dial(t.Context(), addrOf(b))
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				data := stream(uint64(i), 20_000+1000*i)
				go func() { _, _ = c.WriteVectored([][]byte{data[:13], nil, data[13:]}) }()
				got := make([]byte, len(data))
				for k := 0; k < len(got); {
					rest := got[k:]
					m, err := c.ReadVectored([][]byte{rest[:len(rest)/2], rest[len(rest)/2:]})
					if err != nil {
						t.Error(err)
						return
					}
					k += m
				}
				if !bytes.Equal(got, data) {
					t.Error("the echo is not what was sent")
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		for _, s := range []*Socket{a, b} {
			if all, half := conns(s); all != 0 || half != 0 {
				t.Errorf("%d connections are kept after all were closed, %d half open", all, half)
			}
		}
	})
}

func TestDeadlines(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, _ *switchboard, a, b *Socket) {
		c, peer := dialPair(t, a, b)
		defer peer.Close()
		start := time.Now()
		if err := c.SetReadDeadline(start.Add(3 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err := c.Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("read: %v after %v", err, time.Since(start))
		}
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("%v is no time-out", err)
		}
		// A deadline that is moved during a wait holds from then on.
		_ = c.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { _ = c.SetReadDeadline(time.Now().Add(time.Second)) })
		start = time.Now()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("read: %v after %v", err, time.Since(start))
		}
		_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // the peer does not read
		n, err := c.Write(make([]byte, 4<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == 4<<20 {
			t.Errorf("wrote %d, %v", n, err)
		}
		// Close wakes who waits.
		_ = c.SetDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { c.Close() })
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read of a closed connection: %v", err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write to a closed connection: %v", err)
		}
	})
}

func TestDialFails(t *testing.T) {
	inBubble(t, Config{maxConns: 1}, func(t *testing.T, _ *switchboard, a, b *Socket) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		nobody := netip.MustParseAddrPort("10.0.0.99:9")
		start := time.Now()
		if _, err := a.Dial(ctx, nobody); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		synctest.Wait()
		start = time.Now()
		if _, err := a.Dial(t.Context(), nobody); !errors.Is(err, errTimeout) || time.Since(start) > time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		synctest.Wait()
		c, err := a.Dial(t.Context(), addrOf(b))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Dial(t.Context(), addrOf(b)); !errors.Is(err, ErrTooMany) {
			t.Errorf("a second connection: %v", err)
		}
		c.Close()
	})
}

// The end of a socket is the end of its connections, at both ends, and of the calls that wait on
// them.
func TestSocketClose(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, _ *switchboard, a, b *Socket) {
		c, peer := dialPair(t, a, b)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("our end: %v", err)
			}
		})
		wg.Go(func() {
			if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the other end: %v", err)
			}
		})
		wg.Go(func() {
			if _, err := a.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("accept: %v", err)
			}
		})
		synctest.Wait()
		a.Close()
		wg.Wait()
		if _, err := a.Dial(t.Context(), addrOf(b)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("dial: %v", err)
		}
	})
}

// SYNs under false addresses fill nothing but their own small table, are not
// handed out, and are forgotten.
func TestSynFlood(t *testing.T) {
	inBubble(t, Config{maxHalfOpen: 20}, func(t *testing.T, board *switchboard, a, b *Socket) {
		accepted := make(chan net.Conn, 10)
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				c, err := b.Accept()
				if err != nil {
					return
				}
				accepted <- c
			}
		})
		for i := range 1000 {
			from := netip.MustParseAddrPort(fmt.Sprintf("10.9.%d.%d:1000", i/250, i%250+1))
			board.inject(from, addrOf(b), appendHeader(nil, &packet{kind: typeSyn, id: uint16(i), seq: 1}))
		}
		synctest.Wait()
		if all, half := conns(b); all != 20 || half != 20 || len(accepted) != 0 {
			t.Errorf("%d connections, %d half open, %d accepted", all, half, len(accepted))
		}
		time.Sleep(lingerFor + time.Second)
		synctest.Wait()
		if all, half := conns(b); all != 0 || half != 0 {
			t.Errorf("later %d connections, %d half open", all, half)
		}
		c, err := a.Dial(t.Context(), addrOf(b))
		if err != nil {
			t.Fatal(err)
		}
		(<-accepted).Close()
		c.Close()
		b.Close()
		wg.Wait()
	})
}

// Accept is not called: what would wait for it beyond the backlog is refused.
func TestBacklog(t *testing.T) {
	inBubble(t, Config{backlog: 3}, func(t *testing.T, _ *switchboard, a, b *Socket) {
		var all []*Conn
		for range 5 {
			c, err := a.Dial(t.Context(), addrOf(b))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			all = append(all, c)
			time.Sleep(time.Second)
		}
		for i, c := range all {
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			_, err := c.Read(make([]byte, 1))
			if refused := errors.Is(err, syscall.ECONNRESET); refused != (i >= 3) {
				t.Errorf("connection %d: %v", i, err)
			}
		}
	})
}

// Packets of no connection are answered, so that peers of before a restart know,
// but not so many that others could be flooded with the answers.
func TestRejects(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, board *switchboard, _, b *Socket) {
		stranger := board.listen("10.0.0.3:3")
		for i := range 1000 {
			board.inject(stranger.addr, addrOf(b), appendHeader(nil, &packet{kind: typeData, id: uint16(i), seq: 7}))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(stranger.in); n < 5 || n > 50 {
			t.Errorf("%d answers", n)
		}
		p, err := parsePacket((<-stranger.in).data)
		if err != nil || p.kind != typeReset || p.ack != 7 {
			t.Errorf("answer %+v, %v", p, err)
		}
	})
}

// What is no uTP goes to who shares the port.
func TestOther(t *testing.T) {
	got := make(chan string, 1)
	cfg := Config{Other: func(b []byte, from netip.AddrPort, _ netip.Addr) { got <- fmt.Sprint(string(b), from) }}
	inBubble(t, cfg, func(t *testing.T, board *switchboard, a, b *Socket) {
		board.inject(addrOf(a), addrOf(b), []byte("d1:y1:qe"))
		if s := <-got; s != "d1:y1:qe10.0.0.1:1" {
			t.Errorf("got %q", s)
		}
	})
}

// An idle connection is kept open, for a router between the ends, and is still there after an hour.
func TestIdle(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, _ *switchboard, a, b *Socket) {
		c, peer := dialPair(t, a, b)
		time.Sleep(time.Hour)
		if _, err := c.Write([]byte("still here")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 20)
		if n, err := peer.Read(buf); err != nil || string(buf[:n]) != "still here" {
			t.Errorf("%q, %v", buf[:n], err)
		}
		c.Close()
		peer.Close()
	})
}
