package swarm

import (
	"errors"
	"net"
	"sync"
	"time"

	"torrentfs/swarm/wire"
)

// Runs of blocks that are sent with one call.
const (
	maxRun  = 8                    // blocks
	fastRun = 2 * time.Millisecond // what a run may take for the next one to be longer
)

// blockWriter sends blocks: runs through memory, with one read and one write for
// all; a single block by sendfile where its bytes lie in a file, else from memory.
type blockWriter struct {
	c       *peerConn
	header  [wire.PieceHeaderLen]byte
	scratch []byte
	run     int // blocks that the connection takes at once
	blocks  [maxRun]upload
	headers [maxRun * wire.PieceHeaderLen]byte
	vector  net.Buffers
}

// runLength is how many blocks may be sent with one call. An upload limit is
// kept block by block.
func (w *blockWriter) runLength() int {
	if w.c.t.s.up != nil {
		return 1
	}
	return max(w.run, 1)
}

// sendRun sends blocks that follow each other in a piece, and learns whether
// the connection is fast enough for longer runs.
func (w *blockWriter) sendRun(blocks []upload) error {
	begun := time.Now()
	sent, err := false, error(nil)
	if len(blocks) > 1 {
		sent, err = w.sendTogether(blocks)
	}
	for i := 0; !sent && err == nil && i < len(blocks); i++ {
		err = w.send(blocks[i])
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

// sendTogether sends a run with one write. It reports false, with nothing
// written, where not all of it can be read.
func (w *blockWriter) sendTogether(blocks []upload) (sent bool, err error) {
	t := w.c.t
	last := blocks[len(blocks)-1]
	off, n := int64(blocks[0].piece)*t.info.PieceLength()+int64(blocks[0].begin), last.begin+last.n-blocks[0].begin
	if off+int64(n) > t.info.Size() {
		return false, nil
	}
	buf := runBuffers.Get().(*[maxRun * blockSize]byte)
	defer runBuffers.Put(buf)
	if k, _ := t.store.ReadAt(buf[:n], off); k < n {
		return false, nil // block by block it will show why
	}
	w.vector = w.vector[:0]
	headers, data := w.headers[:0], buf[:n]
	for _, u := range blocks {
		at := len(headers)
		headers = wire.AppendPieceHeader(headers, uint32(u.piece), uint32(u.begin), uint32(u.n))
		w.vector = append(w.vector, headers[at:], data[:u.n])
		data = data[u.n:]
	}
	v := w.vector
	if _, err := v.WriteTo(w.c.nc); err != nil {
		return true, err
	}
	w.count(n)
	return true, nil
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
				c.t.invalidate(u.piece, fault.err)
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
			c.t.invalidate(u.piece, err)
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

// fileError says that the file was the fault, not the connection.
type fileError struct{ err error }

func (e *fileError) Error() string { return "read for a peer: " + e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

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
