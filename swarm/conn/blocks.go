package conn

import (
	"errors"
	"net"
	"sync"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// blockSize is the length of a block in bytes.
const blockSize = metainfo.BlockSize

// Runs of blocks that are sent with one call.
const (
	maxRun  = 8                    // blocks
	fastRun = 2 * time.Millisecond // what a run may take for the next one to be longer
)

// blockWriter sends blocks: runs through memory, with one read and one write for
// all; a single block by sendfile if its bytes lie in a file, else from memory.
type blockWriter struct {
	c       *Conn
	header  [wire.PieceHeaderLen]byte
	scratch []byte
	run     int // blocks that the connection takes at once
	blocks  [maxRun]Request
	headers [maxRun * wire.PieceHeaderLen]byte
	vector  net.Buffers
}

// runLength is how many blocks may be sent with one call. An upload limit is
// kept block by block.
func (w *blockWriter) runLength() int {
	if w.c.cfg.Up != nil {
		return 1
	}
	return max(w.run, 1)
}

// sendRun sends blocks that follow each other in a piece, and learns whether
// the connection is fast enough for longer runs.
func (w *blockWriter) sendRun(blocks []Request) error {
	begun := time.Now()
	sent, err := false, error(nil)
	if len(blocks) > 1 {
		sent, err = w.sendTogether(blocks)
	}
	for i := 0; !sent && err == nil && i < len(blocks); i++ {
		if err = w.send(blocks[i]); err == errParked {
			w.c.out.putBack(nil, blocks[i:])
		}
	}
	w.learn(len(blocks), time.Since(begun))
	return err
}

// learn sets how long the next run may be by what one of n blocks took.
func (w *blockWriter) learn(n int, took time.Duration) {
	if took > fastRun {
		w.run = max(w.run/2, 1)
	} else if n >= w.run {
		w.run = min(max(2*w.run, 2), maxRun)
	}
}

// runBuffers are buffers for runs, shared by all connections of the process.
var runBuffers = sync.Pool{New: func() any { return new([maxRun * blockSize]byte) }}

// offset is where a request begins in the piece space.
func (w *blockWriter) offset(r Request) int64 {
	return int64(r.Piece)*w.c.cfg.Geometry.PieceLength() + int64(r.Begin)
}

// sendTogether sends a run with one write. It reports false, with nothing
// written, if not all of it can be read.
func (w *blockWriter) sendTogether(blocks []Request) (sent bool, err error) {
	last := blocks[len(blocks)-1]
	off, n := w.offset(blocks[0]), last.Begin+last.Length-blocks[0].Begin
	if off+int64(n) > w.c.cfg.Geometry.Size() {
		return false, nil
	}
	buf := runBuffers.Get().(*[maxRun * blockSize]byte)
	defer runBuffers.Put(buf)
	if k, _ := w.c.cfg.Source.ReadAt(buf[:n], off); k < n {
		return false, nil // block by block it will show why
	}
	w.vector = w.vector[:0]
	headers, data := w.headers[:0], buf[:n]
	for _, r := range blocks {
		at := len(headers)
		headers = wire.AppendPieceHeader(headers, uint32(r.Piece), uint32(r.Begin), uint32(r.Length))
		w.vector = append(w.vector, headers[at:], data[:r.Length])
		data = data[r.Length:]
	}
	v := w.vector
	if _, err := v.WriteTo(w.c.nc); err != nil {
		return true, err
	}
	w.count(n)
	return true, nil
}

// send sends one block.
func (w *blockWriter) send(r Request) error {
	c := w.c
	if err := w.waitForRate(r.Length); err != nil {
		return err
	}
	header := wire.AppendPieceHeader(w.header[:0], uint32(r.Piece), uint32(r.Begin), uint32(r.Length))
	off := w.offset(r)
	if f, at, ok := c.cfg.Source.Section(off, r.Length); ok {
		switch sent, err := sendSection(c.nc, header, f, at, r.Length); {
		case err != nil:
			if fault := (*fileError)(nil); errors.As(err, &fault) { // in the middle of a message: the peer has to come back
				w.unreadable(r, fault.err)
			}
			return err
		case sent:
			w.count(r.Length)
			return nil
		}
	}
	if w.scratch == nil {
		w.scratch = make([]byte, blockSize)
	}
	p := w.scratch[:r.Length]
	content := p[:min(int64(r.Length), max(c.cfg.Geometry.Size()-off, 0))]
	clear(p[len(content):]) // padding behind the end, which the owner let pass
	if _, err := c.cfg.Source.ReadAt(content, off); err != nil && len(content) > 0 {
		// Evicted, or the disk failed: the peer gets its answer and asks another.
		w.unreadable(r, err)
		if c.Fast() {
			c.out.add(func(b []byte) []byte {
				return wire.AppendReject(b, uint32(r.Piece), uint32(r.Begin), uint32(r.Length))
			})
		}
		return nil
	}
	bufs := net.Buffers{header, p}
	if _, err := bufs.WriteTo(c.nc); err != nil {
		return err
	}
	w.count(r.Length)
	return nil
}

func (w *blockWriter) unreadable(r Request, err error) {
	if f := w.c.cfg.Unreadable; f != nil {
		f(r.Piece, err)
	}
}

// fileError says that the file was the fault, not the connection.
type fileError struct{ err error }

func (e *fileError) Error() string { return "read for a peer: " + e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

func (w *blockWriter) count(n int) {
	w.c.sent.Add(int64(n))
	if all := w.c.cfg.Sent; all != nil {
		all.Add(int64(n))
	}
}

// waitForRate waits for the upload limit, and meanwhile goes on sending messages.
func (w *blockWriter) waitForRate(n int) error {
	c := w.c
	l := c.cfg.Up
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
			if c.parked.Load() {
				r.Cancel()
				return errParked
			}
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
