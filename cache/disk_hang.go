package cache

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"torrentfs/internal/leave"
)

// hangTime is how long the disk may take for one operation until it counts as
// hanging: more than one takes that has to spin up first.
const hangTime = 10 * time.Second

// HangError says that the disk has not answered. It is the cause in a
// [DiskError], which names the operation and the file.
type HangError struct {
	Since time.Time // when the disk was asked
}

func (e *HangError) Error() string {
	return "no answer from the disk since " + e.Since.Format(time.TimeOnly)
}

// As makes it one cause, whatever the operation, in what the log is told.
func (*HangError) As(target any) bool {
	errno, ok := target.(*syscall.Errno)
	if ok {
		*errno = syscall.ETIMEDOUT
	}
	return ok
}

// operation is one that the disk is at.
type operation struct {
	kind     diskOp
	op, path string
	since    time.Time

	// guarded by the health's mu
	over, stuck bool
}

func (o *operation) err() error { return &DiskError{Op: o.op, Path: o.path, Err: &HangError{o.since}} }

// begin notes that the disk is asked to do something. The caller
// calls the result when it has answered; if that takes long, the log hears of it.
func (h *diskHealth) begin(c diskOp, op, path string) (end func()) {
	o := &operation{kind: c, op: op, path: path, since: time.Now()}
	timer := time.AfterFunc(hangTime, func() { h.hangs(o) })
	return func() {
		timer.Stop()
		h.answered(o)
	}
}

// hangs notes that the disk has not answered in time, and reports whether that is so.
func (h *diskHealth) hangs(o *operation) bool {
	h.mu.Lock()
	if o.over {
		h.mu.Unlock()
		return false
	}
	o.stuck = true
	h.stuck[o] = struct{}{}
	h.mu.Unlock()
	h.fail(o.kind, o.err())
	return true
}

// answered notes that the disk has answered after all.
func (h *diskHealth) answered(o *operation) {
	h.mu.Lock()
	o.over = true
	was := o.stuck
	delete(h.stuck, o)
	more := false
	for other := range h.stuck {
		more = more || other.kind == o.kind
	}
	h.mu.Unlock()
	if was && !more {
		h.recovered(o.kind) // what it answered may be news again
	}
}

// hanging returns why nothing is to be expected of the disk for now, nil if it
// answers: about one kind of operation, or all of them.
func (h *diskHealth) hanging(c diskOp) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := h.longest(c); o != nil {
		return o.err()
	}
	return nil
}

// longest is what the disk has not answered for the longest time, nil if it
// answers; mu is held.
func (h *diskHealth) longest(c diskOp) (first *operation) {
	for o := range h.stuck {
		if (o.kind == c || c == numDiskOps) && (first == nil || o.since.Before(first.since)) {
			first = o
		}
	}
	return first
}

// bounded runs f, which asks the disk for something, and leaves it behind if the
// disk does not answer: then f still runs, and may use nothing that the caller
// gets back. While the disk hangs it is asked for nothing else, so that few
// threads are stuck there.
func (h *diskHealth) bounded(op, path string, f func() error) error {
	if err := h.hanging(reading); err != nil {
		return err
	}
	o := &operation{kind: reading, op: op, path: path, since: time.Now()}
	done := leave.Go(func() (struct{}, error) {
		err := f()
		h.answered(o)
		return struct{}{}, err
	})
	timer := time.NewTimer(hangTime)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.Err
	case <-timer.C:
	}
	if h.hangs(o) {
		return o.err()
	}
	return (<-done).Err // it answered just now
}

// hangs reports whether an error says that the disk hangs.
func hangs(err error) bool {
	h := (*HangError)(nil)
	return errors.As(err, &h)
}

// readBuffers are for reads that may be left behind.
var readBuffers = sync.Pool{New: func() any { return new([]byte) }}

// readFile fills dst with a part of a file: at once from what the system has
// in memory, else through a buffer of its own.
func (s *Store) readFile(dst []byte, p part) error {
	if h := s.cache.files.acquireOpen(fileKey{s, p.file, false}); h != nil {
		n := h.f.ReadCached(dst, p.at)
		var err error
		if n == len(dst) {
			err = s.intact(p.file, h.f)
		}
		s.cache.files.release(h)
		if n == len(dst) {
			return err
		}
		dst, p.at = dst[n:], p.at+int64(n)
	}
	buf := readBuffers.Get().(*[]byte)
	if cap(*buf) < len(dst) {
		*buf = make([]byte, len(dst))
	}
	b := (*buf)[:len(dst)]
	err := s.disk.bounded("read", s.lay.files[p.file].Path, func() error { return s.askDisk(b, p) })
	if hangs(err) {
		return err // and the buffer is lost to it
	}
	if err == nil {
		copy(dst, b)
	}
	readBuffers.Put(buf)
	return err
}

// closeInTime runs the rest of Close and leaves it behind if the disk does not
// answer: it goes on then until the process ends.
func (s *Store) closeInTime(rest func() error) error {
	done := leave.Go(func() (struct{}, error) { return struct{}{}, rest() })
	ticker := time.NewTicker(hangTime / 10)
	defer ticker.Stop()
	for begun := time.Now(); ; {
		select {
		case r := <-done:
			return r.Err
		case <-ticker.C:
			if err := s.disk.hanging(numDiskOps); err != nil && time.Since(begun) >= hangTime/2 {
				return fmt.Errorf("not everything is written: %w", err)
			}
		}
	}
}
