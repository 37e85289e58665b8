package mse

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rc4"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Lengths of the specification, in bytes.
const (
	maxPad     = 512   // each of PadA to PadD
	maxPayload = 65535 // IA; its length has 16 bits
	dropped    = 1024  // of each RC4 stream, whose beginning tells of the key
	vcLen      = 8     // the verification constant: zeros
)

// Errors that a caller may branch on. All of them, like any error of the
// connection, leave it useless.
var (
	// ErrSync means that the other side's mark was not within the longest pad: it knows another
	// info-hash, or does not speak MSE.
	ErrSync = errors.New("no synchronisation mark")
	// ErrUnknownKey means that the peer wants a torrent that we do not have.
	ErrUnknownKey = errors.New("unknown info-hash")
	// ErrMethod means that the two sides have no method in common, or that the other side chose one
	// that it was not offered.
	ErrMethod = errors.New("no common encryption method")
	// ErrPlain means that the peer sent a plain BitTorrent handshake, which [AcceptOptions]
	// forbade.
	ErrPlain = errors.New("plain handshake where encryption is required")
	// ErrProtocol means that the peer broke the protocol in another way.
	ErrProtocol = errors.New("protocol error")
)

// Method is how the stream goes on after the handshake; as a set, the bits of
// crypto_provide.
type Method uint32

// The methods.
const (
	None      Method = 0      // a plain BitTorrent handshake: MSE was not spoken
	Plaintext Method = 1 << 0 // only the handshake was obfuscated
	RC4       Method = 1 << 1
)

// String names a single method.
func (m Method) String() string {
	switch m {
	case None:
		return "none"
	case Plaintext:
		return "plaintext"
	case RC4:
		return "RC4"
	}
	return fmt.Sprintf("Method(%#x)", uint32(m))
}

// Result is a connection after the handshake.
type Result struct {
	// Conn is the connection for the peer protocol. It is the connection that went in, except with
	// RC4 or if bytes of the protocol were already read; in the latter case [Unwrap] gets back to
	// it.
	Conn   net.Conn
	Method Method
	// Key is the info-hash that both sides know; for an incoming connection
	// with Method None it is not known yet, and zero.
	Key [20]byte
}

// InitiateOptions are the choices of an outgoing connection. The zero value
// offers both methods.
type InitiateOptions struct {
	Provide Method    // methods to offer; 0: RC4 and plaintext
	Payload []byte    // sent with the handshake, encrypted: the BitTorrent handshake saves a round trip here. At most 65,535 bytes
	rand    io.Reader // of keys and pads, for tests; nil: crypto/rand
}

// AcceptOptions are the choices of an incoming connection. The zero value takes
// everything and prefers plaintext, as it costs nothing.
type AcceptOptions struct {
	Allow   Method // methods to agree to; 0: RC4 and plaintext
	NoPlain bool   // refuse peers that do not speak MSE, with ErrPlain

	// For tests.
	preferRC4 bool      // if the peer offers both
	rand      io.Reader // of keys and pads; nil: crypto/rand
}

// exchange is one handshake under way.
type exchange struct {
	nc     net.Conn
	rand   io.Reader
	keys   keyPair
	secret [keyLen]byte
	in     *rc4.Cipher
	out    *rc4.Cipher
}

func newExchange(nc net.Conn, random io.Reader) (*exchange, error) {
	if random == nil {
		random = rand.Reader
	}
	x := &exchange{nc: nc, rand: random}
	var err error
	x.keys, err = newKeyPair(random)
	return x, err
}

// Initiate speaks first on a new connection to a peer that is expected to know
// the info-hash key (of v2-only torrents the truncated one). It obeys ctx, whose
// deadline should be short: many peers do not speak MSE and just wait.
func Initiate(ctx context.Context, nc net.Conn, key [20]byte, opt InitiateOptions) (Result, error) {
	if len(opt.Payload) > maxPayload {
		return Result{}, fmt.Errorf("initiate encryption: payload of %d bytes is too long", len(opt.Payload))
	}
	if opt.Provide == 0 {
		opt.Provide = RC4 | Plaintext
	}
	var m Method
	var x *exchange
	err := within(ctx, nc, func() (err error) {
		if x, err = newExchange(nc, opt.rand); err == nil {
			m, err = x.initiate(key, opt)
		}
		return err
	})
	if err != nil {
		return Result{}, fmt.Errorf("initiate encryption: %w", err)
	}
	return Result{Conn: x.conn(m, nil), Method: m, Key: key}, nil
}

func (x *exchange) initiate(key [20]byte, opt InitiateOptions) (Method, error) {
	if err := x.sendPublic(); err != nil {
		return 0, err
	}
	if err := x.readPublic(nil); err != nil {
		return 0, err
	}
	x.out, x.in = x.cipher("keyA", key), x.cipher("keyB", key)
	pad, err := x.pad(nil)
	if err != nil {
		return 0, err
	}
	id, mask := KeyID(key), hash("req3", x.secret[:])
	subtle.XORBytes(id[:], id[:], mask[:])
	sync := hash("req1", x.secret[:])
	msg := append(sync[:], id[:]...)
	clear := len(msg)
	msg = append(msg, make([]byte, vcLen)...)
	msg = binary.BigEndian.AppendUint32(msg, uint32(opt.Provide))
	msg = appendCounted(msg, pad)
	msg = appendCounted(msg, opt.Payload)
	x.out.XORKeyStream(msg[clear:], msg[clear:])
	if _, err := x.nc.Write(msg); err != nil {
		return 0, fmt.Errorf("send request: %w", err)
	}
	var vc [vcLen]byte
	x.in.XORKeyStream(vc[:], vc[:]) // as the other side encrypts its zeros
	if err := x.scan(vc[:]); err != nil {
		return 0, err
	}
	selected, err := x.readUint32()
	if err != nil {
		return 0, fmt.Errorf("read chosen method: %w", err)
	}
	m := Method(selected)
	if m&opt.Provide == 0 || (m != RC4 && m != Plaintext) {
		return 0, fmt.Errorf("%w: peer chose %v", ErrMethod, m)
	}
	return m, x.skipPad("PadD")
}

// greeting begins a plain BitTorrent handshake (BEP 3).
const greeting = "\x13BitTorrent protocol"

// Accept answers on a connection that a peer made. The peer may speak MSE or
// begin with a plain BitTorrent handshake; Result.Conn delivers the BitTorrent
// handshake in either case. find tells which torrent the peer means; it is
// called once, and only for peers that got through the key exchange.
func Accept(ctx context.Context, nc net.Conn, find Lookup, opt AcceptOptions) (Result, error) {
	if opt.Allow == 0 {
		opt.Allow = RC4 | Plaintext
	}
	var res Result
	err := within(ctx, nc, func() (err error) {
		res, err = accept(nc, find, opt)
		return err
	})
	if err != nil {
		return Result{}, fmt.Errorf("accept encryption: %w", err)
	}
	return res, nil
}

func accept(nc net.Conn, find Lookup, opt AcceptOptions) (Result, error) {
	first := make([]byte, len(greeting))
	if _, err := io.ReadFull(nc, first); err != nil {
		return Result{}, fmt.Errorf("read first bytes: %w", err)
	}
	if string(first) == greeting {
		if opt.NoPlain {
			return Result{}, ErrPlain
		}
		return Result{Conn: replay(nc, first), Method: None}, nil
	}
	x, err := newExchange(nc, opt.rand)
	if err != nil {
		return Result{}, err
	}
	if err := x.readPublic(first); err != nil {
		return Result{}, err
	}
	if err := x.sendPublic(); err != nil {
		return Result{}, err
	}
	key, provided, payload, err := x.readRequest(find)
	if err != nil {
		return Result{}, err
	}
	m := choose(provided&opt.Allow, opt.preferRC4)
	if m == None {
		return Result{}, fmt.Errorf("%w: peer offers %#x", ErrMethod, uint32(provided))
	}
	pad, err := x.pad(nil)
	if err != nil {
		return Result{}, err
	}
	msg := binary.BigEndian.AppendUint32(make([]byte, vcLen, vcLen+6+maxPad), uint32(m))
	msg = appendCounted(msg, pad)
	x.out.XORKeyStream(msg, msg)
	if _, err := nc.Write(msg); err != nil {
		return Result{}, fmt.Errorf("send answer: %w", err)
	}
	return Result{Conn: x.conn(m, payload), Method: m, Key: key}, nil
}

// readRequest reads the initiator's second message.
func (x *exchange) readRequest(find Lookup) (key [20]byte, provided Method, payload []byte, err error) {
	sync := hash("req1", x.secret[:])
	if err = x.scan(sync[:]); err != nil {
		return key, 0, nil, err
	}
	var id [20]byte
	if _, err = io.ReadFull(x.nc, id[:]); err != nil {
		return key, 0, nil, fmt.Errorf("read key: %w", err)
	}
	mask := hash("req3", x.secret[:])
	subtle.XORBytes(id[:], id[:], mask[:])
	key, ok := find(id)
	if !ok {
		return key, 0, nil, ErrUnknownKey
	}
	x.in, x.out = x.cipher("keyA", key), x.cipher("keyB", key)
	var vc [vcLen]byte
	if err = x.read(vc[:]); err != nil {
		return key, 0, nil, fmt.Errorf("read verification constant: %w", err)
	}
	if vc != [vcLen]byte{} {
		return key, 0, nil, fmt.Errorf("%w: wrong verification constant", ErrProtocol)
	}
	bits, err := x.readUint32()
	if err != nil {
		return key, 0, nil, fmt.Errorf("read methods: %w", err)
	}
	if err = x.skipPad("PadC"); err != nil {
		return key, 0, nil, err
	}
	n, err := x.readUint16()
	if err != nil {
		return key, 0, nil, fmt.Errorf("read payload length: %w", err)
	}
	var b bytes.Buffer // grows with the bytes that come, not by an announced length
	if _, err = io.CopyN(&b, x.nc, int64(n)); err != nil {
		return key, 0, nil, fmt.Errorf("read payload: %w", err)
	}
	payload = b.Bytes()
	x.in.XORKeyStream(payload, payload)
	return key, Method(bits), payload, nil
}

func choose(m Method, preferRC4 bool) Method {
	switch {
	case m&RC4 != 0 && (preferRC4 || m&Plaintext == 0):
		return RC4
	case m&Plaintext != 0:
		return Plaintext
	}
	return None
}

// conn is the connection after the handshake; payload comes first.
func (x *exchange) conn(m Method, payload []byte) net.Conn {
	if m == RC4 {
		return newCipherConn(x.nc, x.in, x.out, payload)
	}
	return replay(x.nc, payload)
}

// aLongTimeAgo is a deadline that ends blocked calls.
var aLongTimeAgo = time.Unix(1, 0)

// within runs f, which blocks on nc, and makes it fail when ctx ends.
func within(ctx context.Context, nc net.Conn, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cut)
		_ = nc.SetDeadline(aLongTimeAgo)
	})
	err := f()
	if !stop() {
		<-cut
		return ctx.Err()
	}
	return err
}
