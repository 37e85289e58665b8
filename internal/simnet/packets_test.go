package simnet

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// comes sends a datagram and reports whether it arrives, after the delay of both hosts.
func comes(t *testing.T, from, to *PacketConn) bool {
	t.Helper()
	if _, err := from.WriteTo([]byte("x"), to.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if err := to.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	k, addr, err := to.ReadFrom(buf)
	if err != nil {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		return false
	}
	if k != 1 || addr.String() != from.LocalAddr().String() {
		t.Errorf("%d bytes from %v", k, addr)
	}
	if took, want := time.Since(begun), from.host.link.Delay+to.host.link.Delay; took != want {
		t.Errorf("took %v, want %v", took, want)
	}
	return true
}

// Datagrams come after the delay of both hosts, and a router lets in only what
// answers one that went out.
func TestDatagramsAndRouters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		defer n.Close()
		inside, outside, other := n.Host("10.0.0.1", Link{Delay: 5 * time.Millisecond}), n.Host("10.0.0.2", Link{Delay: 10 * time.Millisecond}), n.Host("10.0.0.3", Link{})
		open := func(h *Host, port uint16) *PacketConn {
			c, err := h.ListenPacket(port)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		a, b, c, d := open(inside, 1), open(outside, 2), open(outside, 3), open(other, 2)
		for _, x := range []*PacketConn{a, b, c, d} {
			defer x.Close()
		}
		inside.Shield(true)
		for _, step := range []struct {
			from, to *PacketConn
			after    time.Duration
			comes    bool
		}{
			{b, a, 0, false}, // nothing went out
			{a, b, 0, true},
			{b, a, 0, true},
			{c, a, 0, false}, // another port
			{d, a, 0, false}, // another host
			{b, a, holeLife, false},
			{b, d, 0, true}, // no router
		} {
			time.Sleep(step.after)
			if got := comes(t, step.from, step.to); got != step.comes {
				t.Errorf("from %v to %v after %v: came: %v", step.from.addr, step.to.addr, step.after, got)
			}
		}
		if _, err := inside.ListenPacket(1); err == nil {
			t.Error("the same port twice")
		}
		l, err := inside.Listen("tcp", ":1")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := outside.DialContext(ctx, "tcp", "10.0.0.1:1"); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("TCP through the router: %v", err)
		}
	})
}
