package mse

import (
	"crypto/rc4"
	"net"

	"torrentfs/swarm/wire"
)

// Unwrap returns the connection that was given to [Initiate] or [Accept] if nc
// is one of their results and adds nothing any more: no cipher, and what was
// read ahead is consumed. Otherwise it returns nc.
func Unwrap(nc net.Conn) net.Conn {
	if r, ok := nc.(*replayConn); ok && len(r.head) == 0 {
		return r.Conn
	}
	return nc
}

// replayConn delivers bytes that were already read, and then the connection's.
type replayConn struct {
	net.Conn
	head []byte // owned by the reader
}

func replay(nc net.Conn, head []byte) net.Conn {
	if len(head) == 0 {
		return nc
	}
	return &replayConn{Conn: nc, head: head}
}

// Read implements net.Conn.
func (c *replayConn) Read(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// maxScratch bounds the bytes that are encrypted at a time: a block and its header.
const maxScratch = 16<<10 + 64

// cipherConn is a connection under RC4. One goroutine may read and another one write at a time:
// bytes in an unknown order could not be decrypted.
type cipherConn struct {
	net.Conn

	// Owned by the reader.
	vec  wire.VectoredReader // Conn, if it can
	in   *rc4.Cipher
	head []byte // decrypted, comes first

	// Owned by the writer.
	out     *rc4.Cipher
	scratch []byte
	err     error // after a write that failed: the keystream has gone on
}

var _ wire.VectoredReader = (*cipherConn)(nil)

func newCipherConn(nc net.Conn, in, out *rc4.Cipher, head []byte) *cipherConn {
	nc = wire.NewVectoredConn(nc)
	vec, _ := nc.(wire.VectoredReader)
	return &cipherConn{Conn: nc, vec: vec, in: in, out: out, head: head}
}

// Read implements net.Conn. It decrypts in p.
func (c *cipherConn) Read(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	c.in.XORKeyStream(p[:n], p[:n])
	return n, err
}

// ReadVectored implements [wire.VectoredReader].
func (c *cipherConn) ReadVectored(bufs [][]byte) (int, error) {
	if len(c.head) > 0 || c.vec == nil {
		for _, b := range bufs {
			if len(b) > 0 {
				return c.Read(b)
			}
		}
		return 0, nil
	}
	n, err := c.vec.ReadVectored(bufs)
	left := n
	for _, b := range bufs {
		b = b[:min(len(b), left)]
		c.in.XORKeyStream(b, b)
		left -= len(b)
	}
	return n, err
}

// Write implements net.Conn. It leaves p as it is. After an error all writes
// fail.
func (c *cipherConn) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), maxScratch)]
		k, err := c.flush(c.encrypt(c.scratch[:0], part))
		n += k
		if err != nil {
			return n, err
		}
		p = p[k:]
	}
	return n, c.err
}

// WriteVectored writes several buffers, in as few writes to the connection as
// its own buffer allows, and leaves them as they are.
func (c *cipherConn) WriteVectored(bufs [][]byte) (n int64, err error) {
	b := c.scratch[:0]
	for _, p := range bufs {
		for len(p) > 0 {
			part := p[:min(len(p), maxScratch-len(b))]
			b = c.encrypt(b, part)
			p = p[len(part):]
			if len(b) < maxScratch {
				continue
			}
			k, err := c.flush(b)
			n += int64(k)
			if err != nil {
				return n, err
			}
			b = c.scratch[:0]
		}
	}
	k, err := c.flush(b)
	return n + int64(k), err
}

// encrypt appends p, encrypted, to b, which is part of the scratch buffer.
func (c *cipherConn) encrypt(b, p []byte) []byte {
	at := len(b)
	b = append(b, p...)
	c.out.XORKeyStream(b[at:], b[at:])
	c.scratch = b[:0]
	return b
}

func (c *cipherConn) flush(b []byte) (int, error) {
	if c.err != nil || len(b) == 0 {
		return 0, c.err
	}
	n, err := c.Conn.Write(b)
	c.err = err
	return n, err
}
