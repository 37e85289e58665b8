package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

const (
	// readBuffer holds every message of a fixed length many times over: a
	// flood of requests or haves costs a syscall for a couple of hundred.
	readBuffer = 4 << 10
	// tailWindow is how much of the buffer is offered behind a block's own
	// memory: room for the next header and a few small messages. More would
	// only move payload through the buffer.
	tailWindow = 512
	// progressStep is the least number of payload bytes between two reports.
	progressStep = 4 << 10
	// keepPayload is the largest payload memory that survives its message.
	keepPayload = 32 << 10
)

// ErrBlockSize is returned by [Reader.ReadBlock] for a buffer that is empty or
// longer than what is left of the block. It is the caller's mistake; the stream
// is as before.
var ErrBlockSize = errors.New("buffer does not fit the announced block")

// Reader decodes the messages of one connection, after the handshake. It is not
// safe for concurrent use. An error of the connection or the protocol is final:
// every later call returns it again.
type Reader struct {
	src io.Reader
	vec VectoredReader // src, if it can fill two buffers at once
	lim Limits
	err error

	buf        []byte // bytes start to end are read but not consumed
	start, end int

	block    int // payload bytes of the announced Piece not yet consumed
	got      int // payload bytes of it consumed
	reported int // got at the last progress report
	progress func(n int)

	payload []byte    // memory of payloads that outgrow buf
	broken  []byte    // what was consumed of a message whose rest did not come
	vecs    [2][]byte // argument of ReadVectored, here so that it is not allocated
}

// NewReader returns a Reader of the messages that follow the handshake on r. If r implements
// [VectoredReader] (see [NewVectoredConn]) the end of a block and the header behind it are read in
// one call.
func NewReader(r io.Reader, lim Limits) *Reader {
	vec, _ := r.(VectoredReader)
	return &Reader{src: r, vec: vec, lim: lim, buf: make([]byte, readBuffer)}
}

// NewReaderAfter is NewReader for a connection of which the bytes in unread came
// already; it takes their ownership.
func NewReaderAfter(unread []byte, r io.Reader, lim Limits) *Reader {
	n := NewReader(r, lim)
	if len(unread) > 0 {
		n.end = len(unread)
		n.buf = unread
		if n.end < readBuffer {
			n.buf = append(unread, make([]byte, readBuffer-n.end)...)
		}
	}
	return n
}

// Unread returns the bytes that came and are not part of a message that Next
// returned, for a [NewReaderAfter] to go on with: nothing is lost when Next was
// ended by a deadline, even within a message. The Reader is of no use afterwards.
func (r *Reader) Unread() []byte {
	return append(r.broken, r.buf[r.start:r.end]...)
}

// BlockProgress sets fn to be called from within [Reader.ReadBlock] while a
// block trickles in: whenever at least 4 KiB of its payload came since the last
// call and some is still missing, with the number of payload bytes so far. A
// block that comes in one read is not reported. nil switches it off.
func (r *Reader) BlockProgress(fn func(n int)) { r.progress = fn }

// Buffered returns the number of bytes that were read from the connection and
// not yet consumed.
func (r *Reader) Buffered() int { return r.end - r.start }

// Next reads the next message into m, whose former contents are lost. Of a
// [Piece] only the header is consumed: [Reader.ReadBlock] or [Reader.SkipBlock]
// take the payload, else the following Next skips what is left of it.
//
// Errors are [io.EOF] when the stream ended between two messages,
// [io.ErrUnexpectedEOF] when it ended within one, those that wrap [ErrProtocol],
// and those of the connection.
func (r *Reader) Next(m *Message) error {
	if err := r.SkipBlock(); err != nil {
		return err
	}
	if cap(r.payload) > keepPayload {
		r.payload = nil
	}
	*m = Message{}
	if err := r.next(m); err != nil {
		r.err = err
		return err
	}
	return nil
}

func (r *Reader) next(m *Message) error {
	head, err := r.peek(4)
	if err != nil {
		if err == io.EOF && r.Buffered() > 0 {
			err = io.ErrUnexpectedEOF
		}
		return readError("message", err)
	}
	n := binary.BigEndian.Uint32(head)
	if n == 0 {
		m.ID = KeepAlive
		r.start += 4
		return nil
	}
	head, err = r.peek(5)
	if err != nil {
		return readError("message", noEOF(err))
	}
	m.ID = ID(head[4])
	n-- // the id is part of the length
	if err := r.lim.check(m.ID, n); err != nil {
		return err
	}
	fixed, rest := fixedLen(m.ID, int(n))
	head, err = r.peek(5 + fixed)
	if err != nil {
		return readError(m.ID.String(), noEOF(err))
	}
	m.decode(head[5:])
	var consumed [5 + hashHeaderLen]byte
	copy(consumed[:], head)
	r.start += 5 + fixed
	if m.ID == Piece {
		m.Length = uint32(rest)
		r.block, r.got, r.reported = rest, 0, 0
	} else if m.Payload, err = r.readPayload(rest); err != nil {
		r.broken = slices.Concat(consumed[:5+fixed], m.Payload)
		m.Payload = nil
		return readError(m.ID.String(), noEOF(err))
	}
	return r.lim.judge(m)
}

// fixedLen splits the n bytes behind an id into its fields and its payload.
func fixedLen(id ID, n int) (fixed, payload int) {
	switch id {
	case Bitfield:
		fixed = 0
	case Piece:
		fixed = 8
	case Extended:
		fixed = 1
	case Hashes:
		fixed = hashHeaderLen
	default:
		fixed = n
	}
	return fixed, n - fixed
}

// decode takes the fields of m.ID from b, whose length check has passed.
func (m *Message) decode(b []byte) {
	switch m.ID {
	case Have, Suggest, AllowedFast:
		m.Piece = binary.BigEndian.Uint32(b)
	case Request, Cancel, Reject:
		m.Piece = binary.BigEndian.Uint32(b)
		m.Begin = binary.BigEndian.Uint32(b[4:])
		m.Length = binary.BigEndian.Uint32(b[8:])
	case Piece:
		m.Piece = binary.BigEndian.Uint32(b)
		m.Begin = binary.BigEndian.Uint32(b[4:])
	case Port:
		m.Port = binary.BigEndian.Uint16(b)
	case Extended:
		m.ExtID = b[0]
	case HashRequest, Hashes, HashReject:
		m.Hash.decode(b)
	}
}

// judge checks the values of which a wrong one can only come from a broken or hostile peer.
// Requests are not judged: one that cannot be served gets an answer, which is the engine's task;
// nor are hints (suggest, allowed fast).
func (l *Limits) judge(m *Message) error {
	switch m.ID {
	case Have:
		if l.Pieces > 0 && uint64(m.Piece) >= uint64(l.Pieces) {
			return protocolErrorf(m.ID, "piece %d of %d", m.Piece, l.Pieces)
		}
	case Bitfield:
		if l.Pieces > 0 && !spareBitsZero(m.Payload, l.Pieces) {
			return protocolErrorf(m.ID, "spare bits set")
		}
	case Piece:
		if l.Pieces > 0 && uint64(m.Piece) >= uint64(l.Pieces) {
			return protocolErrorf(m.ID, "piece %d of %d", m.Piece, l.Pieces)
		}
		if l.PieceLength > 0 && int64(m.Begin)+int64(m.Length) > l.PieceLength {
			return protocolErrorf(m.ID, "block %d+%d beyond the piece", m.Begin, m.Length)
		}
	case HashRequest, HashReject:
		if m.Hash.overflows() {
			return protocolErrorf(m.ID, "hashes %d+%d overflow", m.Hash.Index, m.Hash.Length)
		}
	case Hashes:
		if want := m.Hash.NumHashes(); want == 0 || len(m.Payload) != 32*want {
			return protocolErrorf(m.ID, "%d bytes for %d hashes", len(m.Payload), want)
		}
	}
	return nil
}

// ReadBlock reads the next len(p) payload bytes of the [Piece] that Next
// announced, normally all of it. What is not buffered yet is read from the
// connection directly into p. p stays the caller's; after an error its contents
// are undefined.
func (r *Reader) ReadBlock(p []byte) error {
	if r.err != nil {
		return r.err
	}
	if len(p) == 0 || len(p) > r.block {
		return fmt.Errorf("read block: %w: %d bytes, %d left", ErrBlockSize, len(p), r.block)
	}
	n := copy(p, r.buf[r.start:r.end])
	r.consume(n)
	for idle := 0; n < len(p); {
		m, err := r.readInto(p[n:])
		n += m
		r.consumeBlock(m)
		if m > 0 {
			idle = 0
		} else if idle++; err == nil && idle == maxEmptyReads {
			err = io.ErrNoProgress
		}
		if err != nil && n < len(p) {
			r.err = readError("block", noEOF(err))
			return r.err
		}
		r.report()
	}
	return nil
}

// consume takes n bytes of the announced block out of the buffer.
func (r *Reader) consume(n int) {
	r.start += n
	if r.start == r.end {
		r.start, r.end = 0, 0
	}
	r.consumeBlock(n)
}

func (r *Reader) consumeBlock(n int) {
	r.block -= n
	r.got += n
}

func (r *Reader) report() {
	if r.progress != nil && r.block > 0 && r.got-r.reported >= progressStep {
		r.reported = r.got
		r.progress(r.got)
	}
}

// readInto reads once into p, and into the empty buffer behind it if the connection can do both at
// once. It returns the bytes that went to p.
func (r *Reader) readInto(p []byte) (int, error) {
	if r.vec == nil {
		return r.src.Read(p)
	}
	r.vecs = [2][]byte{p, r.buf[:tailWindow]}
	n, err := r.vec.ReadVectored(r.vecs[:])
	r.vecs[0] = nil // the block's memory is not ours to keep
	if n <= len(p) {
		return n, err
	}
	r.end = n - len(p)
	return len(p), nil // an error comes again when the tail is used up
}

// SkipBlock discards what is left of the announced block's payload, if any.
func (r *Reader) SkipBlock() error {
	if r.err != nil {
		return r.err
	}
	for r.block > 0 {
		if r.start == r.end {
			if _, err := r.peek(1); err != nil {
				r.err = readError("block", noEOF(err))
				return r.err
			}
		}
		r.consume(min(r.block, r.end-r.start))
	}
	return nil
}

// peek returns the next n bytes (n ≤ readBuffer) without consuming them.
func (r *Reader) peek(n int) ([]byte, error) {
	if r.start == r.end {
		r.start, r.end = 0, 0
		if len(r.buf) > readBuffer { // it began with more: see NewReaderAfter
			r.buf = make([]byte, readBuffer)
		}
	}
	if r.start+n > len(r.buf) {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	for idle := 0; r.end-r.start < n; {
		m, err := r.src.Read(r.buf[r.end:])
		r.end += m
		if r.end-r.start >= n {
			break
		}
		if err != nil {
			return nil, err
		}
		if m > 0 {
			idle = 0
		} else if idle++; idle == maxEmptyReads {
			return nil, io.ErrNoProgress
		}
	}
	return r.buf[r.start : r.start+n], nil
}

// readPayload returns the next n bytes: a piece of the buffer if it can hold them, else memory that
// grows with what has arrived, never by n alone. With an error it returns those that are no longer
// in the buffer.
func (r *Reader) readPayload(n int) ([]byte, error) {
	if n <= len(r.buf) {
		b, err := r.peek(n)
		r.start += len(b)
		return b, err
	}
	p := append(r.payload[:0], r.buf[r.start:r.end]...)
	r.start, r.end = 0, 0
	for len(p) < n {
		step := min(n-len(p), max(len(p), readBuffer))
		p = slices.Grow(p, step)
		m, err := io.ReadFull(r.src, p[len(p):len(p)+step])
		p = p[:len(p)+m]
		if err != nil {
			return p, err
		}
	}
	r.payload = p
	return p, nil
}

// noEOF turns an end of stream within a message into io.ErrUnexpectedEOF.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readError names what was being read. A clean end stays the bare io.EOF.
func readError(what string, err error) error {
	if err == io.EOF {
		return err
	}
	return fmt.Errorf("read %s: %w", what, err)
}
