package dht

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
)

// byName is a socket whose other end looks names up: all of them lead to one node.
type byName struct {
	net.PacketConn
	to    net.Addr
	asked atomic.Int64
}

type hostName string

func (hostName) Network() string  { return "udp" }
func (h hostName) String() string { return string(h) }

func (c *byName) WriteTo(b []byte, to net.Addr) (int, error) {
	if _, ok := to.(hostName); ok {
		c.asked.Add(1)
		to = c.to
	}
	return c.PacketConn.WriteTo(b, to)
}

// A bootstrap node that only the proxy can look up is asked by its name, and is
// known by its address when it has answered.
func TestNodesByName(t *testing.T) {
	for _, tt := range []struct {
		name      string
		trusted   bool
		bootstrap string
		want      bool
	}{
		{"of the user", true, "boot.example:6881", true},
		{"of a stranger, inside the proxy's network", false, "router.lan:6881", false},
		{"of a stranger, at a private address", false, "boot.example:6881", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			boot := startNode(t, "127.0.0.1", nil)
			conn := &byName{to: udpAddr(boot.addr)}
			n := startNode(t, "127.0.0.1", func(c *Config) {
				conn.PacketConn = c.IPv4
				c.IPv4, c.ReadOnly = conn, true
				c.ByName = func(host string, port uint16) net.Addr { return hostName(fmt.Sprintf("%s:%d", host, port)) }
				if tt.trusted {
					c.Bootstrap = []string{tt.bootstrap}
				}
			})
			if tt.want {
				waitFor(t, "the node is known", func() bool { return n.Stats().IPv4.Good > 0 })
				return
			}
			n.AddHost(tt.bootstrap)
			if tt.bootstrap == "boot.example:6881" {
				waitFor(t, "the name was asked and answered", func() bool {
					s := n.Stats().IPv4
					return conn.asked.Load() > 0 && s.Unasked > 0
				})
			} else {
				n.AddHost("boot.example:6881") // comes after it
				waitFor(t, "the next name was asked", func() bool { return conn.asked.Load() == 1 })
			}
			if s := n.Stats().IPv4; s.Nodes > 0 {
				t.Errorf("%d nodes are known", s.Nodes)
			}
		})
	}
}

// An answer is taken once, in time, and by its transaction id.
func TestNamesAreBounded(t *testing.T) {
	n, now := newNames(), epoch
	from, home := ap("80.1.2.3:1"), ap("192.168.1.1:1")
	tid, ok := n.open(now, false)
	if !ok || n.take("abc", from) || !n.take(string(tid[:]), from) || n.take(string(tid[:]), from) {
		t.Error("not taken once")
	}
	for _, trusted := range []bool{true, false} {
		tid, _ = n.open(now, trusted)
		if n.take(string(tid[:]), home) != trusted {
			t.Errorf("trusted: %v, and the other way round at a private address", trusted)
		}
	}
	for range maxNamed {
		if _, ok := n.open(now, false); !ok {
			t.Fatal("refused")
		}
	}
	if _, ok := n.open(now.Add(namedLife-1), false); ok {
		t.Error("more than there may be")
	}
	if _, ok := n.open(now.Add(namedLife), false); !ok || len(n.asked) != 1 {
		t.Errorf("%d are still waited for", len(n.asked))
	}
}
