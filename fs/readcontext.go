package fs

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"
)

// errClosed is the errno of what fails because the mount ends.
const errClosed = syscall.EIO

var (
	errInterrupted = errors.New("reader is being killed")
	errReaderGone  = errors.New("reader closed the file")
)

// readContext ends when the wait for one READ should: the caller is being killed, its handle is flushed, or the mount
// ends. Most reads never wait, so it costs nothing before somebody asks for Done.
type readContext struct {
	// immutable
	pid                      uint32
	cancel, closing, flushed <-chan struct{}
	alone                    bool // an application may wait for this very request: a flush ends it only if its thread is gone

	mu      sync.Mutex
	err     error
	done    chan struct{} // nil before somebody asks
	stop    chan struct{} // closed by finish
	watcher sync.WaitGroup
}

var _ context.Context = (*readContext)(nil)

// newReadContext makes the context of one READ of the thread pid. cancel ends with an INTERRUPT; flushed may be nil. The
// caller must call finish.
func newReadContext(pid uint32, cancel, closing, flushed <-chan struct{}) *readContext {
	return &readContext{pid: pid, cancel: cancel, closing: closing, flushed: flushed}
}

func (c *readContext) Deadline() (time.Time, bool) { return time.Time{}, false }

func (c *readContext) Value(any) any { return nil }

func (c *readContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done, c.stop = make(chan struct{}), make(chan struct{})
		c.watcher.Go(c.watch)
	}
	return c.done
}

// Err says why the context ended: an error that is both ours and [context.Canceled].
func (c *readContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.done == nil {
		select {
		case <-c.closing:
			return canceled{ErrClosed}
		default:
		}
	}
	return c.err
}

// finish ends the watch, and waits for it.
func (c *readContext) finish() {
	c.mu.Lock()
	stop := c.stop
	c.mu.Unlock()
	if stop != nil {
		close(stop)
		c.watcher.Wait()
	}
}

func (c *readContext) watch() {
	cancel, flushed := c.cancel, c.flushed
	leaving := false // an application may be about to end
	var again <-chan time.Time
	pause := interruptPoll
	for {
		select {
		case <-c.stop:
			return
		case <-c.closing:
			c.fail(ErrClosed)
			return
		case <-flushed:
			if !c.alone {
				c.fail(errReaderGone)
				return
			}
			flushed, leaving = nil, true
		case <-cancel:
			cancel = nil
		case <-again:
		}
		// The kernel sends one INTERRUPT for a request, with the first signal of any kind. A program that handles
		// the signal (Go's runtime signals itself all the time) must not see its read fail; and a later signal
		// that kills is not announced. So look whether it is one that kills, now and then until the read ends.
		if cancel == nil && c.cancel != nil && fatalSignalPending(c.pid) {
			c.fail(errInterrupted)
			return
		}
		// A page that the kernel reads ahead of a killed reader is not interrupted at all: its thread ends, which
		// flushes the file. Nobody waits for the page then but threads that ask for it again by themselves.
		if leaving && threadGone(c.pid) {
			c.fail(errReaderGone)
			return
		}
		again = time.After(pause)
		pause = min(2*pause, maxInterruptPoll)
	}
}

// interruptPoll is how soon an interrupted reader is looked at again, and maxInterruptPoll how late: a person who presses
// ^C waits for it.
const (
	interruptPoll    = 25 * time.Millisecond
	maxInterruptPoll = 200 * time.Millisecond
)

func (c *readContext) fail(err error) {
	c.mu.Lock()
	c.err = canceled{err}
	c.mu.Unlock()
	close(c.done)
}

// canceled is a cause that sources recognise as context.Canceled.
type canceled struct{ cause error }

func (e canceled) Error() string        { return e.cause.Error() }
func (e canceled) Unwrap() error        { return e.cause }
func (e canceled) Is(target error) bool { return target == context.Canceled }
