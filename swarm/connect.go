package swarm

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"torrentfs/swarm/mse"
	"torrentfs/swarm/wire"
)

// Encryption is the policy on Message Stream Encryption (package mse).
type Encryption int

// The policies. Both encrypted and plain peers are welcome with EncryptionPrefer.
// It dials in plain first, since that is a round trip shorter and costs no
// ciphering, and most peers take it; whoever hangs up on a plain handshake is
// dialled again at once with MSE, and what worked is remembered.
const (
	EncryptionPrefer  Encryption = iota
	EncryptionRequire            // RC4 alone, in both directions
	EncryptionDisable            // plain connections alone
)

// greeting is what a new outgoing connection begins with.
type greeting struct {
	hash    [20]byte
	hello   wire.Handshake
	eager   []byte // messages sent with a plain handshake, see [Torrent.dial]
	encrypt bool   // what worked the last time
	punch   bool   // by uTP alone, to a peer that does the same now (BEP 55)
	ticket  *dialTicket
}

// contact is a connection past the handshakes, and how it came about.
type contact struct {
	nc        net.Conn
	hello     wire.Handshake // the peer's
	rtt       time.Duration  // of connecting
	eager     bool           // the eager messages went out
	encrypted bool           // MSE was spoken
}

// openPeer connects to a peer and shakes hands, in plain, by MSE, or first one
// and then the other, as the policy has it. Whoever hangs up on all that by TCP
// may want uTP: some clients take such connections only to close them. Whether
// the peer is the right one is for the caller to look at.
func (s *Session) openPeer(ctx context.Context, addr netip.AddrPort, g greeting) (contact, error) {
	c, err := s.openEither(ctx, addr, g)
	if err != nil && hungUp(err) && ctx.Err() == nil && s.cfg.UTP != nil && !g.punch && !s.utp.has(addr) {
		s.utp.note(addr, true)
		g.ticket.again()
		if c, err = s.openEither(ctx, addr, g); err != nil {
			s.utp.note(addr, false)
		}
	}
	return c, err
}

func (s *Session) openEither(ctx context.Context, addr netip.AddrPort, g greeting) (contact, error) {
	switch s.cfg.Encryption {
	case EncryptionRequire:
		g.encrypt = true
		return s.tryPeer(ctx, addr, g)
	case EncryptionDisable:
		g.encrypt = false
		return s.tryPeer(ctx, addr, g)
	}
	c, err := s.tryPeer(ctx, addr, g)
	if err != nil && hungUp(err) && ctx.Err() == nil {
		g.encrypt = !g.encrypt
		g.ticket.again()
		c, err = s.tryPeer(ctx, addr, g)
	}
	return c, err
}

// errHandshake wraps what went wrong after a connection was made.
type errHandshake struct{ error }

func (e errHandshake) Unwrap() error { return e.error }

// hungUp reports whether a peer was there and ended the connection during the
// handshake, as one does that does not like how we speak.
func hungUp(err error) bool {
	var h errHandshake
	return errors.As(err, &h) && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, mse.ErrSync) || errors.Is(err, mse.ErrProtocol) || errors.Is(err, mse.ErrMethod))
}

// silent reports whether a peer took the connection and then said nothing.
func silent(err error) bool {
	var h errHandshake
	return errors.As(err, &h) && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded))
}

func (s *Session) tryPeer(ctx context.Context, addr netip.AddrPort, g greeting) (contact, error) {
	begun := time.Now()
	nc, err := s.connect(ctx, addr, g.punch)
	if err != nil {
		return contact{}, err
	}
	c := contact{rtt: time.Since(begun), encrypted: g.encrypt, eager: !g.encrypt && g.eager != nil}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	c.nc, c.hello, err = s.greet(ctx, nc, g)
	if err != nil {
		nc.Close()
		return contact{}, errHandshake{err}
	}
	return c, nil
}

// greet sends our handshake, wrapped in that of MSE if so wanted, and reads the
// peer's. Eager messages do not go into the first payload of MSE, which not
// every client expects to hold more than the handshake.
func (s *Session) greet(ctx context.Context, nc net.Conn, g greeting) (net.Conn, wire.Handshake, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	hello := g.hello.Append(nil)
	if g.encrypt {
		opt := mse.InitiateOptions{Payload: hello}
		if s.cfg.Encryption == EncryptionRequire {
			opt.Provide = mse.RC4
		}
		r, err := mse.Initiate(ctx, nc, g.hash, opt)
		if err != nil {
			return nil, wire.Handshake{}, err
		}
		nc = r.Conn
	}
	deadline, _ := ctx.Deadline()
	nc.SetDeadline(deadline)
	if !g.encrypt {
		if _, err := nc.Write(append(hello, g.eager...)); err != nil {
			return nil, wire.Handshake{}, err
		}
	}
	h, err := wire.ReadHandshake(nc)
	if err != nil {
		return nil, wire.Handshake{}, err
	}
	nc.SetDeadline(time.Time{})
	return mse.Unwrap(nc), h, nil
}

// accept reads the handshake of an incoming connection, plain or by MSE, as
// the policy has it. The connection that it returns is to be closed in any case.
func (s *Session) accept(nc net.Conn) (_ net.Conn, h wire.Handshake, encrypted bool, err error) {
	if s.cfg.Encryption != EncryptionDisable {
		ctx, cancel := context.WithTimeout(s.ctx, handshakeTimeout)
		defer cancel()
		opt := mse.AcceptOptions{}
		if s.cfg.Encryption == EncryptionRequire {
			opt = mse.AcceptOptions{NoPlain: true, Allow: mse.RC4}
		}
		r, err := mse.Accept(ctx, nc, s.findKey, opt)
		if err != nil {
			return nc, h, false, err
		}
		nc, encrypted = r.Conn, r.Method != mse.None
	}
	nc.SetDeadline(time.Now().Add(handshakeTimeout))
	h, err = wire.ReadHandshake(nc)
	return mse.Unwrap(nc), h, encrypted, err
}

// findKey tells which of our torrents an incoming MSE handshake means.
func (s *Session) findKey(id [20]byte) (key [20]byte, ok bool) {
	s.mu.Lock()
	keys := make(map[[20]byte]struct{}, len(s.torrents)+len(s.searches))
	for k := range s.torrents {
		keys[k] = struct{}{}
	}
	for k := range s.searches {
		keys[k] = struct{}{}
	}
	s.mu.Unlock()
	return mse.Candidates(maps.Keys(keys))(id)
}
