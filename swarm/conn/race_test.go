package conn

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/simnet"
	"torrentfs/swarm/wire"
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

// silence is a network that loses everything.
type silence struct{}

func (silence) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

var there = netip.MustParseAddrPort("10.0.1.1:6881")

// A peer that drops what comes by TCP is reached after the lead.
func TestTransportComesInAfterTheLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := simnet.New(1)
		defer net.Close()
		l := newBeside(t, net.Host("10.0.1.1", simnet.Link{}))
		defer l.Close()
		us := newBeside(t, net.Host("10.0.0.1", simnet.Link{Delay: ms}))
		defer us.Close()
		e := &Endpoint{Dialer: silence{}, UTP: us}
		begun := time.Now()
		nc, err := e.connect(t.Context(), there, false)
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
		if took := time.Since(begun); took < utpLead || took > utpLead+50*ms {
			t.Errorf("took %v, want the lead of %v", took, utpLead)
		}
		begun = time.Now()
		if nc, err = e.connect(t.Context(), there, false); err != nil {
			t.Fatal(err)
		}
		nc.Close()
		if took := time.Since(begun); took > 50*ms {
			t.Errorf("took %v the second time, although it is known what works", took)
		}
	})
}

// peer answers handshakes on a listener, as an Endpoint of some policy, until the listener is
// closed.
func peer(t *testing.T, l net.Listener, e *Endpoint, answered chan<- *Conn) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		c, err := e.Accept(t.Context(), nc, func([20]byte) ([20]byte, bool) { return [20]byte{1}, true })
		if err != nil {
			continue
		}
		if c.Answer(t.Context(), hello(3)) != nil {
			c.Discard()
			continue
		}
		answered <- c
	}
}

// TCP that works is taken, and alone; if it is refused, the other transport comes in, and first the
// next time.
func TestTransportThatWorksIsRemembered(t *testing.T) {
	for _, tcp := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(1)
			defer n.Close()
			them := n.Host("10.0.1.1", simnet.Link{Delay: ms})
			other := newBeside(t, them)
			var l net.Listener = other
			if tcp {
				var err error
				if l, err = them.Listen("tcp", ":6881"); err != nil {
					t.Fatal(err)
				}
				defer other.Close()
			}
			answered := make(chan *Conn, 1)
			go peer(t, l, &Endpoint{}, answered)
			host := n.Host("10.0.0.1", simnet.Link{})
			beside := newBeside(t, host)
			defer beside.Close()
			e := &Endpoint{Dialer: host, UTP: beside}
			c, err := e.Dial(t.Context(), there, Offer{Hello: hello(2)})
			if err != nil {
				t.Fatal(err)
			}
			if e.utp.has(there) == tcp || (beside.dials.Load() == 0) != tcp {
				t.Errorf("TCP works: %v; the other was dialled %d times; it goes first: %v", tcp, beside.dials.Load(), e.utp.has(there))
			}
			c.Discard()
			(<-answered).Discard()
			l.Close()
			synctest.Wait()
		})
	}
}

// Every two policies that have something in common get along, and no others. The messages that
// leave with a plain handshake are heard behind it.
func TestHandshakesOfAllPolicies(t *testing.T) {
	name := map[Encryption]string{EncryptionPrefer: "prefer", EncryptionRequire: "require", EncryptionDisable: "disable"}
	for dialler := range name {
		for listener := range name {
			t.Run(name[dialler]+" dials "+name[listener], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := simnet.New(1)
					defer n.Close()
					l, err := n.Host("10.0.1.1", simnet.Link{Delay: ms}).Listen("tcp", ":6881")
					if err != nil {
						t.Fatal(err)
					}
					defer l.Close()
					answered := make(chan *Conn, 1)
					go peer(t, l, &Endpoint{Encryption: listener}, answered)
					e := &Endpoint{Dialer: n.Host("10.0.0.1", simnet.Link{}), Encryption: dialler}
					again := 0
					c, err := e.Dial(t.Context(), there, Offer{
						Hello: hello(2), Eager: wire.AppendInterested(nil), Again: func() { again++ },
					})
					if possible := dialler == listener || dialler == EncryptionPrefer || listener == EncryptionPrefer; !possible {
						if err == nil {
							t.Error("connected")
						}
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					defer c.Discard()
					o := <-answered
					defer o.Discard()
					encrypted := dialler == EncryptionRequire || listener == EncryptionRequire
					if c.Encrypted != encrypted || o.Encrypted != encrypted || c.Greeted == encrypted {
						t.Errorf("encrypted: %v and %v, want %v; eager: %v", c.Encrypted, o.Encrypted, encrypted, c.Greeted)
					}
					if c.Hello != hello(3) || o.Hello != hello(2) || !c.Outgoing || o.Outgoing {
						t.Errorf("handshakes %+v and %+v", c.Hello, o.Hello)
					}
					if want := dialler == EncryptionPrefer && listener == EncryptionRequire; (again == 1) != want {
						t.Errorf("dialled again %d times", again)
					}
					events, ended := make(chan Event, 4), make(chan error, 1)
					go func() { ended <- o.Run(t.Context(), Config{Events: events, Geometry: geometry(t, 1<<20, 64<<10)}) }()
					if !c.Greeted {
						c.nc.Write(wire.AppendInterested(nil))
					}
					if e := <-events; e.ID != wire.Interested {
						t.Errorf("heard %+v", e)
					}
					o.Close(ErrClosed)
					<-ended
				})
			})
		}
	}
}

// Addresses on the blocklist are not dialled, not at a relay's word either.
func TestBlockedAddressesAreNotDialed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := simnet.New(1)
		defer net.Close()
		us := newBeside(t, net.Host("10.0.0.1", simnet.Link{}))
		defer us.Close()
		e := &Endpoint{Dialer: us, UTP: us, Blocked: func(a netip.Addr) bool { return a == there.Addr() }}
		for _, punch := range []bool{false, true} {
			if _, err := e.Dial(t.Context(), there, Offer{Punch: punch}); err != ErrBlocked || us.dials.Load() != 0 {
				t.Errorf("holepunch %v: %v, %d dials", punch, err, us.dials.Load())
			}
		}
	})
}
