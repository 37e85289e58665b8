package swarm

import (
	"slices"
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
// connection's writer empties it: protocol messages first, then a block, or a
// short run of them where the connection is fast, so that a have or a request
// never waits behind many blocks.
type outbox struct {
	mu       sync.Mutex
	messages []byte
	uploads  queue[upload]
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
	o.uploads.push(u)
	o.mu.Unlock()
}

// queued is how many blocks wait to be sent.
func (o *outbox) queued() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.uploads.len()
}

// withdraw takes a block out of the queue and says whether it was there.
func (o *outbox) withdraw(u upload) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.Index(o.uploads.all(), u)
	if i >= 0 {
		o.uploads.remove(i)
	}
	return i >= 0
}

// withdrawAll empties the queue of blocks and returns what was in it.
func (o *outbox) withdrawAll() []upload {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.uploads.all()
	o.uploads = queue[upload]{}
	return all
}

func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.wakeWriter()
}

// take swaps the waiting messages with buf and pops a block, and those that
// follow it in its piece and in the queue, at most so many. The run is
// appended to blocks.
func (o *outbox) take(buf []byte, blocks []upload, most int) (messages []byte, run []upload, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	messages = o.swap(buf)
	for o.uploads.len() > 0 && len(blocks) < most {
		u := o.uploads.all()[0]
		if n := len(blocks); n > 0 && (u.piece != blocks[n-1].piece || u.begin != blocks[n-1].begin+blocks[n-1].n) {
			break
		}
		blocks = append(blocks, o.uploads.pop())
	}
	return messages, blocks, o.closed
}

// keptMessages is how much room for messages is kept, in bytes.
const keptMessages = 64 << 10

// swap takes the waiting messages, and buf as room for the next ones. mu is held.
func (o *outbox) swap(buf []byte) (messages []byte) {
	if cap(buf) > keptMessages {
		buf = nil
	}
	messages, o.messages = o.messages, buf[:0]
	return messages
}

// takeMessages is take without a block.
func (o *outbox) takeMessages(buf []byte) (messages []byte, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.swap(buf), o.closed
}

// write sends what the outbox holds until it is closed or the connection fails.
func (c *peerConn) write() error {
	w := blockWriter{c: c}
	idle := time.NewTimer(keepAliveInterval)
	defer idle.Stop()
	var buf []byte
	for {
		msgs, blocks, closed := c.out.take(buf, w.blocks[:0], w.runLength())
		if closed {
			return ErrClosed
		}
		buf = msgs
		if len(msgs) == 0 && len(blocks) == 0 {
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
		if len(blocks) > 0 {
			if err := w.sendRun(blocks); err != nil {
				return err
			}
		}
	}
}
