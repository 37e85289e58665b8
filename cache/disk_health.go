package cache

import (
	"cmp"
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"time"
)

// diskOp is what the disk is asked to do; each has its own episodes of errors.
type diskOp int

const (
	writing diskOp = iota
	syncing
	reading
	numDiskOps
)

// diskHealth is what is known of how the disk works: which operations fail, and which it does not
// answer. It reports the beginning and the end of an episode.
type diskHealth struct {
	log     *slog.Logger
	onError func(error) // may be nil

	mu         sync.Mutex // a leaf
	errs       [numDiskOps]error
	readFailed time.Time               // last
	probed     time.Time               // last
	writeBegun time.Time               // of the write under way; zero: none is
	stuck      map[*operation]struct{} // what the disk does not answer
}

// fail notes that the disk refuses, and reports it if that is news: of one
// cause, which hinders several operations at once, one word is enough.
func (h *diskHealth) fail(c diskOp, err error) {
	h.mu.Lock()
	news := h.errs[c] == nil
	for other, known := range h.errs {
		if diskOp(other) != c && known != nil && errnoOf(known) == errnoOf(err) {
			news = false
		}
	}
	h.errs[c] = err
	h.mu.Unlock()
	if !news {
		return
	}
	h.log.Error("disk fails", "err", err)
	if h.onError != nil {
		h.onError(err)
	}
}

// errnoOf is what the system calls the cause, 0 if it has no name for it.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	errors.As(err, &errno)
	return errno
}

// recovered ends the episode.
func (h *diskHealth) recovered(c diskOp) {
	h.mu.Lock()
	was := h.errs[c]
	h.errs[c] = nil
	well := true
	for _, err := range h.errs {
		well = well && err == nil
	}
	h.mu.Unlock()
	if was != nil && well {
		h.log.Info("disk works again", "after", was)
	}
}

// failReading reports that the disk does not read, if that is news.
func (h *diskHealth) failReading(err error) {
	now := time.Now()
	h.mu.Lock()
	if now.Sub(h.readFailed) > quiet && len(h.stuck) == 0 {
		h.errs[reading] = nil
	}
	h.readFailed = now
	h.mu.Unlock()
	h.fail(reading, err)
}

// readsBadly reports whether the disk failed to read not long ago: the kernel and peers are not
// given its files then, for we can mend what it does not read.
func (h *diskHealth) readsBadly() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.readFailed.IsZero() && time.Since(h.readFailed) < quiet || h.longest(reading) != nil
}

// err is that of the present episode, nil when all is well.
func (h *diskHealth) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := h.longest(numDiskOps); o != nil {
		return o.err()
	}
	if time.Since(h.readFailed) > quiet {
		h.errs[reading] = nil
	}
	return cmp.Or(h.errs[writing], h.errs[syncing], h.errs[reading])
}

// stallTime is how long one write may take before the disk counts as stalled.
const stallTime = 2 * time.Second

// stalled reports whether the disk takes nothing now: it refuses, or has been
// at one write for seconds.
func (h *diskHealth) stalled() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.errs[writing] != nil || !h.writeBegun.IsZero() && time.Since(h.writeBegun) > stallTime
}

// setWriting notes since when a write is under way; zero: none is.
func (h *diskHealth) setWriting(since time.Time) {
	h.mu.Lock()
	h.writeBegun = since
	h.mu.Unlock()
}

// toProbe reports whether a file is to be read from before it is handed out.
func (h *diskHealth) toProbe() bool {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.probed) < probeEvery {
		return false
	}
	h.probed = now
	return true
}
