package simnet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		defer n.Close()
		c, s := pair(t, n, Link{Delay: ms}, Link{Delay: ms})
		start := time.Now()
		if err := c.SetReadDeadline(start.Add(3 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err := c.Read(make([]byte, 1))
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		within(t, "the deadline", time.Since(start), 3*time.Second, 3*time.Second)
		// Moved during a wait.
		_ = c.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { _ = c.SetReadDeadline(time.Now()) })
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		_ = c.SetDeadline(time.Time{})
		within(t, "after the deadline", transfer(t, s, c, []byte("x")), 2*ms, 2*ms)
	})
}

func TestClose(t *testing.T) {
	one := make([]byte, 1)
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		defer n.Close()
		c, s := pair(t, n, Link{Up: MB, Delay: 5 * ms}, Link{Delay: 5 * ms})
		// What was written before Close arrives, then the end.
		if _, err := c.Write(payload(100 * kB)); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		for name, op := range map[string]func() error{
			"read":         func() error { _, err := c.Read(one); return err },
			"write":        func() error { _, err := c.Write(one); return err },
			"close":        c.Close,
			"set deadline": func() error { return c.SetDeadline(time.Now()) },
		} {
			if err := op(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after Close: %v", name, err)
			}
		}
		got, err := io.ReadAll(s)
		if err != nil || !bytes.Equal(got, payload(100*kB)) {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
		// The other end learns by a reset that its data is not read, one round trip later.
		if _, err := s.Write(one); err != nil {
			t.Fatal(err)
		}
		time.Sleep(21 * ms)
		if _, err := s.Write(one); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("write to a closed end: %v", err)
		}
		if got := c.host.Conns() + s.host.Conns(); got != 1 {
			t.Errorf("%d ends open, want 1", got)
		}
		_ = s.Close()
		if got := len(c.host.conns) + len(s.host.conns); got != 0 {
			t.Errorf("%d connections remembered", got)
		}
	})
}

func TestHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		defer n.Close()
		c, s := pair(t, n, Link{Delay: 5 * ms}, Link{Delay: 5 * ms})
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Fatalf("write after CloseWrite: %v", err)
		}
		if _, err := s.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("read: %v, want io.EOF", err)
		}
		transfer(t, s, c, payload(100*kB))
		_ = s.Close()
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("read: %v, want io.EOF", err)
		}
		_ = c.Close()
		time.Sleep(time.Second)
		if got := len(c.host.conns) + len(s.host.conns); got != 0 {
			t.Errorf("%d connections remembered", got)
		}
	})
}

func TestReset(t *testing.T) {
	for name, reset := range map[string]func(c *Conn){
		"Reset":  (*Conn).Reset,
		"linger": func(c *Conn) { _ = c.SetLinger(0); _ = c.Close() },
		"unread": func(c *Conn) { time.Sleep(time.Second); _ = c.Close() },
		"host":   func(c *Conn) { c.host.ResetConns() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(1)
				defer n.Close()
				c, s := pair(t, n, Link{Delay: 5 * ms}, Link{Delay: 5 * ms})
				if _, err := s.Write([]byte("never read")); err != nil {
					t.Fatal(err)
				}
				blocked := make(chan error, 1)
				go func() {
					_, err := s.Read(make([]byte, 1))
					blocked <- err
				}()
				reset(c)
				if err := <-blocked; !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("blocked read: %v", err)
				}
				if _, err := s.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("write: %v", err)
				}
			})
		})
	}
}

func TestCloseWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		defer n.Close()
		c, s := pair(t, n, Link{Window: 10}, Link{})
		errs := make(chan error, 2)
		go func() {
			_, err := c.Read(make([]byte, 1))
			errs <- err
		}()
		go func() {
			_, err := c.Write(make([]byte, 100))
			errs <- err
		}()
		synctest.Wait()
		_ = c.Close()
		for range 2 {
			if err := <-errs; !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v, want net.ErrClosed", err)
			}
		}
		_ = s.Close()
	})
}

func TestReadVectored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		defer n.Close()
		c, s := pair(t, n, Link{}, Link{})
		if _, err := c.Write([]byte("hello world")); err != nil {
			t.Fatal(err)
		}
		a, b := make([]byte, 5), make([]byte, 100)
		m, err := s.ReadVectored([][]byte{a, b})
		if err != nil || m != 11 || string(a)+string(b[:6]) != "hello world" {
			t.Fatalf("%d, %v, %q %q", m, err, a, b[:6])
		}
	})
}

// TestConformance is the standard test of net.Conn, in real time.
func TestConformance(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		n := New(1)
		c, s := pair(t, n, Link{}, Link{})
		return c, s, n.Close, nil
	})
}
