package fs

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// errClosed is the errno of what fails because the mount ends.
const errClosed = syscall.EIO

var (
	errInterrupted = errors.New("reader was sent a signal that ends it")
	errReaderGone  = errors.New("reader closed the file")
	errUnseen      = errors.New("reader lives in a foreign pid namespace")
)

// readContext ends when the wait for one READ should: a signal ends the caller, its handle is
// flushed, or the mount ends. Most reads never wait, so it costs nothing before Done is called.
type readContext struct {
	// immutable
	pid                      uint32
	cancel, closing, flushed <-chan struct{}
	foreground               bool          // an application may wait for it: a flush ends it only if its thread is gone
	waiting                  *atomic.Int64 // reads that wait now; nil counts as few
	stateOf                  func(pid uint32) readerState

	mu      sync.Mutex
	err     error
	done    chan struct{} // nil before Done is called
	stop    chan struct{} // closed by finish
	watcher sync.WaitGroup
}

var _ context.Context = (*readContext)(nil)

// newReadContext makes the context of one READ of the thread pid. cancel ends with an INTERRUPT;
// flushed may be nil. The caller must call finish.
func newReadContext(pid uint32, cancel, closing, flushed <-chan struct{}) *readContext {
	return &readContext{pid: pid, cancel: cancel, closing: closing, flushed: flushed, stateOf: readerStateOf}
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

// Err returns why the context ended: an error that is both ours and [context.Canceled].
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
	began, cancel, flushed := time.Now(), c.cancel, c.flushed
	interrupted, leaving := false, false
	pause := c.idlePause()
	for {
		look := time.NewTimer(pause)
		select {
		case <-c.stop:
			look.Stop()
			return
		case <-c.closing:
			look.Stop()
			c.fail(ErrClosed)
			return
		case <-flushed:
			if !c.foreground {
				look.Stop()
				c.fail(errReaderGone)
				return
			}
			flushed, leaving, pause = nil, true, interruptPoll
		case <-cancel:
			cancel, interrupted, pause = nil, true, interruptPoll
		case <-look.C:
			if interrupted || leaving {
				pause = min(2*pause, maxInterruptPoll)
			} else {
				pause = c.idlePause()
			}
		}
		look.Stop()
		if err := c.look(time.Since(began), interrupted, leaving); err != nil {
			c.fail(err)
			return
		}
	}
}

// look returns why the reader no longer waits, or nil if it waits.
//
// The kernel sends one INTERRUPT for a request, with the first signal of any kind. A program that
// handles the signal (Go's runtime signals itself all the time) must not see its read fail, and a
// later signal that ends it is not announced. For read-ahead there is no INTERRUPT at all: the
// reader waits for the page, and only signals that kill it at once reach it. So the reader's state
// is polled until the read ends.
func (c *readContext) look(waited time.Duration, interrupted, leaving bool) error {
	switch c.stateOf(c.pid) {
	case readerEnds:
		return errInterrupted
	case readerUnknown:
		// A program that sees EINTR is better than one that cannot be killed.
		if interrupted {
			return errInterrupted
		}
		// The kernel asks again for the page that is needed, and that request can be interrupted.
		if !c.foreground && waited >= unseenLimit {
			return errUnseen
		}
	case readerGone:
		if interrupted {
			return errInterrupted
		}
		// Its thread ended, which flushed the file. Other threads that wait for the page ask for it
		// again by themselves.
		if leaving || !c.foreground {
			return errReaderGone
		}
	}
	return nil
}

// interruptPoll is the first pause before an interrupted reader is looked at again, and
// maxInterruptPoll the longest: a person who presses ^C waits for it. Readers without an interrupt
// are looked at every maxInterruptPoll if they are few, and at most a thousand times per second in
// all.
const (
	interruptPoll    = 25 * time.Millisecond
	maxInterruptPoll = 200 * time.Millisecond
	idleLook         = time.Millisecond
	// unseenLimit is how long the kernel's read-ahead waits for a reader that cannot be looked at.
	unseenLimit = time.Second
)

// idlePause is the time to the next look at a reader without an interrupt.
func (c *readContext) idlePause() time.Duration {
	pause := maxInterruptPoll
	if c.waiting != nil {
		pause = max(pause, time.Duration(c.waiting.Load())*idleLook)
	}
	return pause
}

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
