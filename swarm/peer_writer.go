package swarm

import (
	"errors"
	"net"
	"sync"
	"time"

	"torrentfs/swarm/wire"
)

// Times of a connection's writer.
const (
	keepAliveInterval = 110 * time.Second // peers give up after two minutes of silence (BEP 3)
	writeTimeout      = 60 * time.Second
)

// upload is a block that a peer asked for and that we have.
type upload struct{ piece, begin, n int }

// outbox is what waits to be sent on one connection. The loop fills it, the
// connection's writer empties it: protocol messages first, then one block at a
// time, so that a have or a request never waits behind many blocks.
type outbox struct {
	mu       sync.Mutex
	messages []byte
	uploads  []upload // queue; head is at uploads[first]
	first    int
	closed   bool
	wake     chan struct{} // holds one token
}

func (o *outbox) init() { o.wake = make(chan struct{}, 1) }

// wakeWriter makes the writer look at the outbox.
func (o *outbox) wakeWriter() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// add appends messages by means of an encoder of package wire. The writer is
// not woken: the loop does that once for all it did.
func (o *outbox) add(encode func(b []byte) []byte) {
	o.mu.Lock()
	o.messages = encode(o.messages)
	o.mu.Unlock()
}

func (o *outbox) addUpload(u upload) {
	o.mu.Lock()
	o.uploads = append(o.uploads, u)
	o.mu.Unlock()
}

// queued is how many blocks wait to be sent.
func (o *outbox) queued() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.uploads) - o.first
}

// withdraw takes a block out of the queue and says whether it was there.
func (o *outbox) withdraw(u upload) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := o.first; i < len(o.uploads); i++ {
		if o.uploads[i] == u {
			o.uploads = append(o.uploads[:i], o.uploads[i+1:]...)
			return true
		}
	}
	return false
}

// withdrawAll empties the queue of blocks and returns what was in it.
func (o *outbox) withdrawAll() []upload {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.uploads[o.first:]
	o.uploads, o.first = nil, 0
	return all
}

func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.wakeWriter()
}

// take swaps the waiting messages with buf and pops one block.
func (o *outbox) take(buf []byte) (messages []byte, u upload, haveUpload, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	messages, o.messages = o.messages, buf[:0]
	if o.first < len(o.uploads) {
		u, haveUpload = o.uploads[o.first], true
		if o.first++; o.first == len(o.uploads) {
			o.uploads, o.first = o.uploads[:0], 0
		}
	}
	return messages, u, haveUpload, o.closed
}

// takeMessages is take without a block.
func (o *outbox) takeMessages(buf []byte) (messages []byte, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	messages, o.messages = o.messages, buf[:0]
	return messages, o.closed
}

// write sends what the outbox holds until it is closed or the connection fails.
func (c *peerConn) write() error {
	w := blockWriter{c: c}
	idle := time.NewTimer(keepAliveInterval)
	defer idle.Stop()
	var buf []byte
	for {
		msgs, u, haveUpload, closed := c.out.take(buf)
		if closed {
			return ErrClosed
		}
		buf = msgs
		if len(msgs) == 0 && !haveUpload {
			select {
			case <-c.out.wake:
			case <-idle.C:
				c.out.add(wire.AppendKeepAlive)
			}
			continue
		}
		idle.Reset(keepAliveInterval)
		c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
		if len(msgs) > 0 {
			if _, err := c.nc.Write(msgs); err != nil {
				return err
			}
		}
		if haveUpload {
			if err := w.send(u); err != nil {
				return err
			}
		}
	}
}

// blockWriter sends blocks: by sendfile where the bytes lie in a file, else from memory.
type blockWriter struct {
	c       *peerConn
	header  [wire.PieceHeaderLen]byte
	scratch []byte
}

func (w *blockWriter) send(u upload) error {
	c := w.c
	if err := w.waitForRate(u.n); err != nil {
		return err
	}
	header := wire.AppendPieceHeader(w.header[:0], uint32(u.piece), uint32(u.begin), uint32(u.n))
	off := int64(u.piece)*c.t.info.PieceLength() + int64(u.begin)
	if f, at, ok := c.t.store.Section(off, u.n); ok {
		switch sent, err := sendSection(c.nc, header, f, at, u.n); {
		case err != nil:
			if fault := (*fileError)(nil); errors.As(err, &fault) { // in the middle of a message: the peer has to come back
				c.t.distrust(u.piece, fault.err)
			}
			return err
		case sent:
			w.count(u.n)
			return nil
		}
	}
	if w.scratch == nil {
		w.scratch = make([]byte, blockSize)
	}
	p := w.scratch[:u.n]
	content := p[:min(int64(u.n), max(c.t.info.Size()-off, 0))]
	clear(p[len(content):]) // see servable
	if _, err := c.t.store.ReadAt(content, off); err != nil && len(content) > 0 {
		// Evicted, or the disk failed: the peer gets its answer and asks another.
		c.t.log.Debug("serve block: "+err.Error(), "piece", u.piece)
		if c.t.store.Has(u.piece) {
			c.t.distrust(u.piece, err)
		}
		if c.fast {
			c.out.add(func(b []byte) []byte {
				return wire.AppendReject(b, uint32(u.piece), uint32(u.begin), uint32(u.n))
			})
		}
		return nil
	}
	bufs := net.Buffers{header, p}
	if _, err := bufs.WriteTo(c.nc); err != nil {
		return err
	}
	w.count(u.n)
	return nil
}

func (w *blockWriter) count(n int) {
	w.c.sent.Add(int64(n))
	w.c.t.sent.Add(int64(n))
}

// waitForRate waits for the upload limit, and meanwhile goes on sending messages.
func (w *blockWriter) waitForRate(n int) error {
	c := w.c
	l := c.t.s.up
	if l == nil {
		return nil
	}
	r := l.ReserveN(time.Now(), n)
	timer := time.NewTimer(r.Delay())
	defer timer.Stop()
	var buf []byte
	for {
		select {
		case <-timer.C:
			c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
			return nil
		case <-c.out.wake:
			msgs, closed := c.out.takeMessages(buf)
			if closed {
				r.Cancel()
				return ErrClosed
			}
			c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := c.nc.Write(msgs); err != nil {
				return err
			}
			buf = msgs
		}
	}
}
