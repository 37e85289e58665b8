package fs

import "time"

const (
	// bounceMemorySize is how many bounced ranges an inode remembers.
	bounceMemorySize = 32
	// bounceMemoryTime is how long it remembers them: a reader that asks for the same range after
	// that has read something else since.
	bounceMemoryTime = 30 * time.Second
	// orderlyReads is the number of reads in a row after which a handle counts as reading in order.
	orderlyReads = 1
	// orderlyGap is how far apart reads in order may lie: the kernel keeps several requests in
	// flight and we may see them in any order.
	orderlyGap = 1 << 20
)

// history is what is known of a handle's way of reading; guarded by the handle's lock.
type history struct {
	end int64 // of the furthest read
	run int   // reads in a row that went on from there
}

// note adds one read to the handle's history and reports whether the handle reads in order. Single
// pages do not count: they follow a bounce.
func (h *handle) note(off int64, n int) bool {
	if n <= pageSize() {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.history.note(off, n)
}

func (y *history) note(off int64, n int) bool {
	ordered := y.run >= orderlyReads
	end := off + int64(n)
	switch {
	case off >= y.end-orderlyGap && off <= y.end+orderlyGap && y.end > 0:
		y.run++
		y.end = max(y.end, end)
	default:
		y.run, y.end = 0, end
		ordered = false
	}
	return ordered
}

// bounces decides whether to fail a read unseen, and if so remembers it. It must be a read-ahead:
// larger than a page, of a cached handle. It must not have been failed lately, because the kernel
// asks a second time if a reader waits.
func (h *handle) bounces(off int64, n int, direct, sequential bool) bool {
	f := h.fs
	switch {
	case n <= pageSize(), direct, h.ready == nil, h.hints == nil, !f.refaults.Load():
		return false
	case f.opt.Bounce == BounceOff:
		return false
	case f.opt.Bounce != BounceOn && sequential:
		return false
	case h.ready.Ready(off, n):
		return false
	}
	return h.inode.bounceOnce(off, n, time.Now())
}

// pageWanted hints at the rest of a bounced range when its first page is asked for: the range is
// then being read from its start. A page fault asks for a page in the middle of what the kernel
// would have read around it; the rest of that may not be needed.
func (h *handle) pageWanted(off int64) {
	if h.hints == nil {
		return
	}
	if end, ok := h.inode.begun(off, time.Now()); ok {
		h.hints.PrefetchUrgent(off, int(end-off))
	}
}

// bounceMemory remembers the last ranges that were bounced; guarded by the inode's lock.
type bounceMemory struct {
	ranges []bouncedRange // a ring once it is full
	next   int
}

type bouncedRange struct {
	off, end int64
	at       time.Time
	begun    bool // its first page was asked for
}

// has reports whether any byte of the range was bounced lately.
func (m *bounceMemory) has(off, end int64, now time.Time) bool {
	for _, r := range m.ranges {
		if off < r.end && r.off < end && now.Sub(r.at) < bounceMemoryTime {
			return true
		}
	}
	return false
}

func (m *bounceMemory) add(off, end int64, now time.Time) {
	r := bouncedRange{off: off, end: end, at: now}
	if len(m.ranges) < bounceMemorySize {
		m.ranges = append(m.ranges, r)
		return
	}
	m.ranges[m.next] = r
	m.next = (m.next + 1) % bounceMemorySize
}

// bounceOnce reports whether the range may be bounced, and remembers that it was.
func (in *inode) bounceOnce(off int64, n int, now time.Time) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	end := off + int64(n)
	if in.bounced.has(off, end, now) {
		return false
	}
	in.bounced.add(off, end, now)
	return true
}

// begun returns the end of the bounced range that begins at off, once.
func (in *inode) begun(off int64, now time.Time) (end int64, ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i := range in.bounced.ranges {
		r := &in.bounced.ranges[i]
		if r.off == off && !r.begun && now.Sub(r.at) < bounceMemoryTime {
			r.begun = true
			return r.end, true
		}
	}
	return 0, false
}

func (in *inode) wasBounced(off int64, n int) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.bounced.has(off, off+int64(n), time.Now())
}
