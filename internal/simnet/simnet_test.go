package simnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ms = time.Millisecond
	kB = 1000
	MB = 1000 * kB
)

// pair returns the two ends of a connection between hosts with these links.
func pair(t *testing.T, n *Network, client, server Link) (c, s *Conn) {
	t.Helper()
	return connected(t, n.Host("10.0.0.1", client), n.Host("10.0.0.2", server))
}

func connected(t *testing.T, from, to *Host) (c, s *Conn) {
	t.Helper()
	l, err := to.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	dialed, err := from.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return dialed.(*Conn), accepted.(*Conn)
}

func payload(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// transfer sends data from one end to the other and returns how long it took
// until the receiver had all of it.
func transfer(t *testing.T, from, to net.Conn, data []byte) time.Duration {
	t.Helper()
	start := time.Now()
	done := make(chan error, 1)
	go func() {
		_, err := from.Write(data)
		done <- err
	}()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(to, got); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	if !bytes.Equal(got, data) {
		t.Fatal("the bytes differ")
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return took
}

func within(t *testing.T, what string, got, lo, hi time.Duration) {
	t.Helper()
	if got < lo || got > hi {
		t.Errorf("%s took %v, want %v to %v", what, got, lo, hi)
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		defer n.Close()
		start := time.Now()
		c, s := pair(t, n, Link{Delay: 10 * ms}, Link{Delay: 20 * ms})
		within(t, "connecting", time.Since(start), 60*ms, 60*ms)
		within(t, "one way", transfer(t, c, s, []byte("ping")), 30*ms, 30*ms)
		within(t, "the other", transfer(t, s, c, []byte("pong")), 30*ms, 30*ms)
	})
}

func TestRate(t *testing.T) {
	for name, links := range map[string][2]Link{
		"uplink":   {{Up: MB, Delay: 5 * ms}, {Delay: 5 * ms}},
		"downlink": {{Delay: 5 * ms}, {Down: MB, Delay: 5 * ms}},
		"both":     {{Up: MB, Delay: 5 * ms}, {Down: MB, Delay: 5 * ms}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(1)
				defer n.Close()
				c, s := pair(t, n, links[0], links[1])
				within(t, "3 MB at 1 MB/s", transfer(t, c, s, payload(3*MB)), 3010*ms, 3020*ms)
				// The other direction has no limit.
				within(t, "64 KiB back", transfer(t, s, c, payload(64<<10)), 10*ms, 10*ms)
			})
		})
	}
}

// TestShares: connections share a link evenly, and a small message does not wait
// for all that another connection has to send.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		defer n.Close()
		seed := n.Host("10.0.0.9", Link{Up: MB, Delay: 5 * ms})
		var took [3]time.Duration
		var wg sync.WaitGroup
		for i, size := range []int{2 * MB, 2 * MB, 100} {
			host := n.Host(net.IPv4(10, 0, 1, byte(i)).String(), Link{Delay: 5 * ms})
			_, s := connected(t, host, seed)
			c := s.peer
			wg.Go(func() { took[i] = transfer(t, s, c, payload(size)) })
		}
		wg.Wait()
		within(t, "the first", took[0], 3900*ms, 4020*ms)
		within(t, "the second", took[1], 3900*ms, 4020*ms)
		within(t, "the message", took[2], 10*ms, 30*ms)
	})
}

func TestSharedDownlink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		defer n.Close()
		leech := n.Host("10.0.0.9", Link{Down: MB})
		far := n.Host("10.0.0.1", Link{Delay: 500 * ms})
		near := n.Host("10.0.0.2", Link{Delay: ms})
		_, a := connected(t, far, leech)
		_, b := connected(t, near, leech)
		var wg sync.WaitGroup
		wg.Go(func() {
			within(t, "the far one", transfer(t, a.peer, a, payload(100*kB)), 600*ms, 610*ms)
		})
		// What comes from far has not arrived yet: it holds nothing up.
		within(t, "the near one", transfer(t, b.peer, b, payload(100*kB)), 101*ms, 110*ms)
		wg.Wait()
	})
}

func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		defer n.Close()
		c, s := pair(t, n, Link{Delay: 25 * ms, Window: 64 << 10}, Link{Delay: 25 * ms})
		// 64 KiB for each round trip of 100 ms; the last leg is one way.
		within(t, "16 windows", transfer(t, c, s, payload(16*64<<10)), 1550*ms, 1550*ms)

		// A reader that does not read stops the writer.
		if err := c.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		w, err := c.Write(payload(100 << 10))
		if w != 64<<10 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("wrote %d, %v; want a window and a timeout", w, err)
		}
		if _, err := io.ReadFull(s, make([]byte, w)); err != nil {
			t.Fatal(err)
		}
		_ = c.SetWriteDeadline(time.Time{})
		within(t, "after the timeout", transfer(t, c, s, []byte("x")), 50*ms, 150*ms)
	})
}

func TestJitterAndLoss(t *testing.T) {
	run := func(seed uint64) (took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			n := New(seed)
			defer n.Close()
			c, s := pair(t, n, Link{Up: MB, Delay: 10 * ms, Jitter: 30 * ms, Loss: 0.02}, Link{Delay: 10 * ms})
			took = transfer(t, c, s, payload(2*MB)) // checks order and content
		})
		return took
	}
	first := run(7)
	within(t, "with loss", first, 2020*ms, 20*time.Second)
	if again := run(7); again != first {
		t.Errorf("the same seed took %v, then %v", first, again)
	}
	if other := run(8); other == first {
		t.Errorf("another seed took as long: %v", other)
	}
}

func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		defer n.Close()
		c, s := pair(t, n, Link{Up: MB, Delay: 5 * ms}, Link{Delay: 5 * ms})
		time.AfterFunc(500*ms, func() { s.host.Partition(true) })
		time.AfterFunc(10*time.Second, func() { s.host.Partition(false) })
		time.AfterFunc(2*time.Second, func() {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			if _, err := c.host.DialContext(ctx, "tcp", "10.0.0.2:1"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("dial into a partition: %v", err)
			}
		})
		within(t, "2 MB", transfer(t, c, s, payload(2*MB)), 11*time.Second, 13*time.Second)
	})
}

func TestDialErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		defer n.Close()
		a, b := n.Host("10.0.0.1", Link{Delay: 5 * ms}), n.Host("10.0.0.2", Link{Delay: 5 * ms})
		l, err := b.Listen("tcp", ":6881")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Listen("tcp", ":6881"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second listener: %v", err)
		}
		b.Refuse(true)
		for addr, want := range map[string]error{
			"10.0.0.2:6881": syscall.ECONNREFUSED,
			"10.0.0.2:1":    syscall.ECONNREFUSED,
			"10.0.0.3:1":    syscall.EHOSTUNREACH,
		} {
			start := time.Now()
			if _, err := a.DialContext(t.Context(), "tcp", addr); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", addr, err, want)
			}
			if want == syscall.ECONNREFUSED {
				within(t, "refusing", time.Since(start), 20*ms, 20*ms)
			}
		}
		b.Refuse(false)
		if _, err := a.DialContext(t.Context(), "tcp", "nonsense"); err == nil {
			t.Error("dialed nonsense")
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(15*ms, cancel) // the other side has it already
		if _, err := a.DialContext(ctx, "tcp", "10.0.0.2:6881"); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the end of a cancelled dial: %v", err)
		}
		_ = l.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after Close: %v", err)
		}
		if _, err := a.DialContext(t.Context(), "tcp", "10.0.0.2:6881"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestNetworkClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		c, s := pair(t, n, Link{}, Link{})
		l, err := c.host.Listen("tcp", ":1")
		if err != nil {
			t.Fatal(err)
		}
		c.host.Partition(true)
		errs := make(chan error, 3)
		go func() { _, err := c.Read(make([]byte, 1)); errs <- err }()
		go func() { _, err := l.Accept(); errs <- err }()
		go func() { _, err := s.host.DialContext(t.Context(), "tcp", "10.0.0.1:1"); errs <- err }()
		synctest.Wait()
		n.Close()
		n.Close()
		for range 3 {
			if err := <-errs; err == nil {
				t.Error("no error after Close")
			}
		}
	})
}
