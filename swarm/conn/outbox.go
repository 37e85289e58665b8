package conn

import (
	"slices"
	"sync"

	"torrentfs/metainfo"
)

// Bounds of what waits for a peer that does not read, in bytes of messages; each piece adds
// unreadPiece, for the HAVEs.
const (
	minUnread   = 256 << 10
	unreadPiece = 16
)

// Request names bytes of a piece that one side asks of the other: a block, or a part of one (BEP
// 3).
type Request struct {
	Piece  metainfo.Piece
	Begin  int // offset in the piece, bytes
	Length int // bytes
}

// outbox is what waits to be sent on one connection. The owner fills it, the writer empties it:
// messages first, then a block, or a short run of them if the connection is fast, so that a HAVE or
// a request never waits behind many blocks.
type outbox struct {
	mu       sync.Mutex // a leaf
	messages []byte
	uploads  queue[Request]
	most     int // bytes of messages that may wait; 0: any number
	closed   bool
	wake     chan struct{} // holds one token
}

func (o *outbox) init() { o.wake = make(chan struct{}, 1) }

// bound sets how many bytes of messages may wait.
func (o *outbox) bound(most int) {
	o.mu.Lock()
	o.most = most
	o.mu.Unlock()
}

// wakeWriter makes the writer look at the outbox.
func (o *outbox) wakeWriter() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// add appends messages, and reports whether more wait than may.
func (o *outbox) add(encode func(b []byte) []byte) (tooMany bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.messages = encode(o.messages)
	return o.most > 0 && len(o.messages) > o.most
}

func (o *outbox) addUpload(r Request) {
	o.mu.Lock()
	o.uploads.push(r)
	o.mu.Unlock()
}

// queued is how many blocks wait to be sent.
func (o *outbox) queued() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.uploads.len()
}

// waiting is how many bytes of messages wait to be sent.
func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.messages)
}

// withdraw takes a block out of the queue and reports whether it was there.
func (o *outbox) withdraw(r Request) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.Index(o.uploads.all(), r)
	if i >= 0 {
		o.uploads.remove(i)
	}
	return i >= 0
}

// withdrawAll empties the queue of blocks and returns what was in it.
func (o *outbox) withdrawAll() []Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.uploads.all()
	o.uploads = queue[Request]{}
	return all
}

func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.wakeWriter()
}

func (o *outbox) isClosed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed
}

// take swaps the waiting messages with buf and pops a block, and those that follow it in its piece
// and in the queue, at most so many. The run is appended to blocks.
func (o *outbox) take(buf []byte, blocks []Request, most int) (messages []byte, run []Request, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	messages = o.swap(buf)
	for o.uploads.len() > 0 && len(blocks) < most {
		r := o.uploads.all()[0]
		if n := len(blocks); n > 0 && (r.Piece != blocks[n-1].Piece || r.Begin != blocks[n-1].Begin+blocks[n-1].Length) {
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

// putBack returns what was taken and not sent to the front.
func (o *outbox) putBack(messages []byte, blocks []Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.messages = slices.Concat(messages, o.messages)
	if len(blocks) == 0 {
		return
	}
	behind := o.uploads.all()
	o.uploads = queue[Request]{}
	for _, r := range slices.Concat(blocks, behind) {
		o.uploads.push(r)
	}
}
