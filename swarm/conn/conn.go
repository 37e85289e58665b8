package conn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"torrentfs/internal/budget"
	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

var (
	// ErrClosed is the reason of a connection that was closed without one.
	ErrClosed = errors.New("connection is closed")
	// ErrUnread ends a connection for which too many messages wait.
	ErrUnread = errors.New("peer does not read what it asked for")

	errParked = errors.New("connection is parked")
)

// Conn is one connection to a peer, past its handshake.
type Conn struct {
	// Immutable.
	Addr      netip.AddrPort // the peer's end
	Local     netip.Addr     // ours, that its packets leave from; invalid while unknown
	Hello     wire.Handshake // the peer's
	RTT       time.Duration  // of connecting, 0 where not known
	Outgoing  bool
	Punched   bool // by holepunching (BEP 55): others may not get there without it
	Greeted   bool // the offer's eager messages went out with the handshake
	Encrypted bool // MSE was spoken
	UTP       bool // not TCP
	nc        net.Conn

	out            outbox
	received, sent atomic.Int64 // payload bytes

	// Written before the goroutines of a Run start.
	ctx context.Context
	cfg Config

	// Owned by the reader.
	heard      []byte // what came before this Run and is to be read again
	kept       replayBuffer
	messages   int
	block      Request // whose payload is being read
	blockBegun time.Time
	limit      limitedReads
	noise      budget.Budget // of messages that the owner may never see

	parked  atomic.Bool
	closing sync.Once
	reason  error          // why it was closed; set within closing
	closed  sync.WaitGroup // of nc.Close, begun within closing
}

// Config is how a connection is run, and for whom.
type Config struct {
	Peer   int          // in each event
	Events chan<- Event // is read until Gone or Parked comes, or ctx ends

	Geometry *metainfo.Geometry // of the torrent; nil while it is not known
	// V2 is that hashes may be asked for (BEP 52): both sides said so, or met under a v2
	// info-hash.
	V2 bool

	Source Source // of the blocks that are sent; nil: none are
	// Unreadable is told of bytes that Source did not give. It may wait. nil: nobody is told.
	Unreadable func(metainfo.Piece, error)

	Down, Up       *rate.Limiter // payload bytes of all connections; nil: no limit
	Received, Sent *atomic.Int64 // payload bytes of all connections are added; nil: they are not

	Closed func() // is called when the socket is closed, before Gone is sent; nil: nothing is
}

// Source is where blocks come from that are sent to peers. Its methods may be called from any
// goroutine; offsets are in the piece space.
type Source interface {
	// ReadAt reads verified bytes. Before the first byte that is not it stops with an error.
	ReadAt(p []byte, off int64) (int, error)
	// Section is where verified bytes lie on disk, if they are there and in one file.
	Section(off int64, n int) (f *os.File, at int64, ok bool)
}

// New makes a connection past the handshakes. hello is the peer's.
func New(nc net.Conn, hello wire.Handshake) *Conn {
	c := &Conn{
		nc: wire.NewVectoredConn(nc), Hello: hello,
		Addr: AddrPort(nc.RemoteAddr()), UTP: nc.RemoteAddr().Network() == "udp",
	}
	c.out.init()
	return c
}

// Fast reports whether both sides speak BEP 6.
func (c *Conn) Fast() bool { return c.Hello.Features().Has(wire.FeatureFast) }

// Extended reports whether both sides speak BEP 10.
func (c *Conn) Extended() bool { return c.Hello.Features().Has(wire.FeatureExtension) }

// Messages is how many messages came. It may be called when Gone or Parked came.
func (c *Conn) Messages() int { return c.messages }

// Kept is how many bytes of what came before are kept for the next Run. It may be called when
// Parked came.
func (c *Conn) Kept() int { return len(c.heard) }

// Received is how many payload bytes came. It may be called from any goroutine.
func (c *Conn) Received() int64 { return c.received.Load() }

// Sent is how many payload bytes were sent. It may be called from any goroutine.
func (c *Conn) Sent() int64 { return c.sent.Load() }

// Run reads and writes until the connection ends, or is parked, which is no error. ctx ends it.
func (c *Conn) Run(ctx context.Context, cfg Config) error {
	c.ctx, c.cfg = ctx, cfg
	if g := cfg.Geometry; g != nil {
		c.out.bound(minUnread + unreadPiece*g.NumPieces())
	} else {
		c.out.bound(minUnread)
	}
	stop := context.AfterFunc(ctx, func() { c.Close(context.Cause(ctx)) })
	defer stop()
	written := make(chan struct{})
	var stopWaiting context.CancelFunc
	c.limit.ctx, stopWaiting = context.WithCancel(ctx)
	go func() {
		defer close(written)
		defer stopWaiting() // the writer ends soon after Close
		if err := c.write(); err != errParked {
			c.Close(err)
		}
	}()
	err := c.read()
	if err == errParked {
		<-written
		if c.rest() {
			c.tell(Event{Kind: Parked})
			return nil
		}
		err = ErrClosed // which has a reason already
	}
	if err == io.EOF {
		err = fmt.Errorf("peer closed the connection")
	}
	c.Close(err)
	<-written
	c.limit.close(cfg.Down)
	c.closed.Wait()
	if cfg.Closed != nil {
		cfg.Closed()
	}
	c.tell(Event{Kind: Gone, Err: c.reason})
	return c.reason
}

// tell hands an event to the owner, or drops it when ctx has ended.
func (c *Conn) tell(e Event) error {
	e.Peer = c.cfg.Peer
	select {
	case c.cfg.Events <- e: // most often: the select below locks the context's channel as well
		return nil
	default:
	}
	select {
	case c.cfg.Events <- e:
		return nil
	case <-c.ctx.Done():
		return ErrClosed
	}
}

// Close ends the connection from any goroutine; the first reason counts. It does not wait for the
// socket, whose close waits for its writer, and that may be waiting for a disk.
func (c *Conn) Close(reason error) {
	c.closing.Do(func() {
		c.reason = reason
		c.out.close()
		c.closed.Go(func() { c.nc.Close() })
	})
}

// Discard closes a connection that is not running, and waits for the socket.
func (c *Conn) Discard() {
	c.Close(ErrClosed)
	c.closed.Wait()
}

// Park makes Run end between two bytes, with the connection open. What was said and not understood
// without a geometry is kept, and what was not sent; the next Run goes on with it. The last event
// is [Parked], or [Gone] if the connection could not be kept: it was in the middle of a write or of
// a block, or said more than is kept.
func (c *Conn) Park() {
	c.parked.Store(true)
	c.out.wakeWriter()
	c.nc.SetDeadline(time.Unix(1, 0))
}

// rest reports whether a connection whose goroutines have stopped to park it is still of use, and
// prepares its next Run.
func (c *Conn) rest() bool {
	if c.out.isClosed() {
		return false
	}
	if c.kept.tooMuch {
		c.Close(errors.New("peer said more than can be kept"))
		return false
	}
	c.heard = append(c.kept.replay(), c.heard...)
	c.kept = replayBuffer{}
	c.nc.SetDeadline(time.Time{})
	c.parked.Store(false)
	return true
}

// Send appends messages to the outbox by means of an encoder of package wire. The writer is not
// woken: see [Conn.Flush]. The connection is closed if too much waits.
func (c *Conn) Send(encode func(b []byte) []byte) {
	if c.out.add(encode) {
		c.Close(ErrUnread)
	}
}

// Request asks for a block, and counts it for the download limit.
func (c *Conn) Request(r Request) {
	c.limit.asked.Add(1)
	c.Send(func(b []byte) []byte {
		return wire.AppendRequest(b, uint32(r.Piece), uint32(r.Begin), uint32(r.Length))
	})
}

// Upload queues a block to be sent behind all messages. The writer is not woken.
func (c *Conn) Upload(r Request) { c.out.addUpload(r) }

// Uploads is how many blocks wait to be sent.
func (c *Conn) Uploads() int { return c.out.queued() }

// Withdraw takes a block out of the queue and reports whether it was there.
func (c *Conn) Withdraw(r Request) bool { return c.out.withdraw(r) }

// WithdrawAll empties the queue of blocks and returns what was in it.
func (c *Conn) WithdrawAll() []Request { return c.out.withdrawAll() }

// Flush wakes the writer: once for everything that was put into the outbox.
func (c *Conn) Flush() { c.out.wakeWriter() }

// Unsent is how many bytes of messages wait to be sent.
func (c *Conn) Unsent() int { return c.out.waiting() }

// AddrPort is a connection's address, with IPv4 in its short form. It is invalid if the address has
// no port.
func AddrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	if t, ok := a.(interface{ AddrPort() netip.AddrPort }); ok { // TCP and UDP
		ap = t.AddrPort()
	} else if p, err := netip.ParseAddrPort(a.String()); err == nil {
		ap = p
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
