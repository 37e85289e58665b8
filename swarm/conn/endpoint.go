package conn

import (
	"context"
	"errors"
	"io"
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
// ciphering, and most peers take it; a peer that hangs up on a plain handshake is
// dialled again at once with MSE, and what worked is remembered by the caller.
const (
	EncryptionPrefer  Encryption = iota
	EncryptionRequire            // RC4 alone, in both directions
	EncryptionDisable            // plain connections alone
)

// HandshakeTimeout bounds the handshake of each connection.
const HandshakeTimeout = 10 * time.Second

// Endpoint is our end of all connections of a process: how they are made. Its fields do not change
// after the first call.
type Endpoint struct {
	Dialer     Dialer
	UTP        Transport             // uTP beside TCP; nil: none
	Encryption Encryption            // policy on MSE
	Blocked    func(netip.Addr) bool // addresses to have nothing to do with; cheap. nil: none
	// Source is the address from which packets to a peer go out, as the system
	// has it now; invalid if that is not known. nil: it never is. It sends
	// nothing and does not wait.
	Source func(netip.AddrPort) netip.Addr

	utp utpPeers
}

// Offer is what an outgoing connection begins with.
type Offer struct {
	Hello   wire.Handshake // ours; its info-hash is the key of MSE
	Eager   []byte         // messages that are sent with a plain handshake; nil: none
	Encrypt bool           // what worked the last time
	Punch   bool           // by uTP alone, to a peer that does the same now (BEP 55)
	Again   func()         // is called before each further connection that the dial makes; nil: nothing is
}

// Dial connects to a peer and shakes hands, in plain, by MSE, or first one
// and then the other, as the policy has it. A peer that hangs up on all that by TCP
// may want uTP: some clients take such connections only to close them. Whether
// the peer is the right one is for the caller to look at.
func (e *Endpoint) Dial(ctx context.Context, addr netip.AddrPort, o Offer) (*Conn, error) {
	if o.Again == nil {
		o.Again = func() {}
	}
	c, err := e.dialEither(ctx, addr, o)
	if err != nil && HungUp(err) && ctx.Err() == nil && e.UTP != nil && !o.Punch && !e.utp.has(addr) {
		e.utp.note(addr, true)
		o.Again()
		if c, err = e.dialEither(ctx, addr, o); err != nil {
			e.utp.note(addr, false)
		}
	}
	return c, err
}

// dialEither dials with and without MSE, as the policy has it.
func (e *Endpoint) dialEither(ctx context.Context, addr netip.AddrPort, o Offer) (*Conn, error) {
	switch e.Encryption {
	case EncryptionRequire:
		o.Encrypt = true
		return e.dialOnce(ctx, addr, o)
	case EncryptionDisable:
		o.Encrypt = false
		return e.dialOnce(ctx, addr, o)
	}
	c, err := e.dialOnce(ctx, addr, o)
	if err != nil && HungUp(err) && ctx.Err() == nil {
		o.Encrypt = !o.Encrypt
		o.Again()
		c, err = e.dialOnce(ctx, addr, o)
	}
	return c, err
}

// handshakeError wraps what went wrong after a connection was made.
type handshakeError struct{ error }

func (e handshakeError) Unwrap() error { return e.error }

// Connected reports whether a dial failed after the connection was made: the address is that of a
// listener.
func Connected(err error) bool { return errors.As(err, new(handshakeError)) }

// HungUp reports whether a peer was there and ended the connection during the
// handshake, as one does that does not like how we speak.
func HungUp(err error) bool {
	return Connected(err) && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, mse.ErrSync) || errors.Is(err, mse.ErrProtocol) || errors.Is(err, mse.ErrMethod))
}

// Silent reports whether a peer took the connection and then said nothing.
func Silent(err error) bool {
	return Connected(err) && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded))
}

func (e *Endpoint) dialOnce(ctx context.Context, addr netip.AddrPort, o Offer) (*Conn, error) {
	begun := time.Now()
	nc, err := e.connect(ctx, addr, o.Punch)
	if err != nil {
		return nil, err
	}
	rtt := time.Since(begun)
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	spoken, hello, err := e.greet(ctx, nc, o)
	if err != nil {
		nc.Close()
		return nil, handshakeError{err}
	}
	c := New(spoken, hello)
	c.Addr, c.Local, c.RTT = addr, e.localOf(spoken), rtt
	c.Outgoing, c.Punched, c.Encrypted, c.Greeted = true, o.Punch, o.Encrypt, !o.Encrypt && o.Eager != nil
	return c, nil
}

// greet sends our handshake, wrapped in that of MSE if so wanted, and reads the
// peer's. Eager messages do not go into the first payload of MSE, which not
// every client expects to hold more than the handshake.
func (e *Endpoint) greet(ctx context.Context, nc net.Conn, o Offer) (net.Conn, wire.Handshake, error) {
	ctx, cancel := context.WithTimeout(ctx, HandshakeTimeout)
	defer cancel()
	hello := o.Hello.Append(nil)
	if o.Encrypt {
		opt := mse.InitiateOptions{Payload: hello}
		if e.Encryption == EncryptionRequire {
			opt.Provide = mse.RC4
		}
		r, err := mse.Initiate(ctx, nc, o.Hello.InfoHash, opt)
		if err != nil {
			return nil, wire.Handshake{}, err
		}
		nc = r.Conn
	}
	deadline, _ := ctx.Deadline()
	nc.SetDeadline(deadline)
	if !o.Encrypt {
		if _, err := nc.Write(append(hello, o.Eager...)); err != nil {
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

// Accept reads the handshake of an incoming connection, plain or by MSE, as the policy has it; key
// tells which of our info-hashes an MSE handshake means. The peer waits for [Conn.Answer]. After an
// error the connection is closed.
func (e *Endpoint) Accept(ctx context.Context, nc net.Conn, key mse.Lookup) (*Conn, error) {
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	spoken, hello, encrypted, err := e.hear(ctx, nc, key)
	if err != nil {
		nc.Close()
		return nil, err
	}
	c := New(spoken, hello)
	c.Local, c.Encrypted = e.localOf(spoken), encrypted
	return c, nil
}

// hear reads the peer's handshake and returns what the peer protocol is spoken over.
func (e *Endpoint) hear(ctx context.Context, nc net.Conn, key mse.Lookup) (
	_ net.Conn, h wire.Handshake, encrypted bool, err error,
) {
	if e.Encryption != EncryptionDisable {
		ctx, cancel := context.WithTimeout(ctx, HandshakeTimeout)
		defer cancel()
		opt := mse.AcceptOptions{}
		if e.Encryption == EncryptionRequire {
			opt = mse.AcceptOptions{NoPlain: true, Allow: mse.RC4}
		}
		r, err := mse.Accept(ctx, nc, key, opt)
		if err != nil {
			return nil, h, false, err
		}
		nc, encrypted = r.Conn, r.Method != mse.None
	}
	nc.SetDeadline(time.Now().Add(HandshakeTimeout))
	h, err = wire.ReadHandshake(nc)
	return mse.Unwrap(nc), h, encrypted, err
}

// Answer sends our handshake to a peer that came to us.
func (c *Conn) Answer(ctx context.Context, hello wire.Handshake) error {
	stop := context.AfterFunc(ctx, func() { c.nc.Close() })
	defer stop()
	if _, err := c.nc.Write(hello.Append(nil)); err != nil {
		return err
	}
	return c.nc.SetDeadline(time.Time{})
}

// localOf is the address of ours from which a connection's packets go out;
// invalid if that cannot be told. A uTP connection has the address of its
// socket, which is most often none in particular.
func (e *Endpoint) localOf(nc net.Conn) netip.Addr {
	local := AddrPort(nc.LocalAddr()).Addr()
	if local.IsUnspecified() && e.Source != nil {
		return e.Source(AddrPort(nc.RemoteAddr()))
	}
	return local
}
