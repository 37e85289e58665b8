package cache

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"torrentfs/cache/resume"
	"torrentfs/cache/vfs"
)

// Blocks come in an order of the swarm's. Waiting a little lets neighbours
// come together: one call of the system then writes up to runBytes.
const (
	gatherTime  = 100 * time.Millisecond
	gatherBytes = 4 << 20
	runBytes    = 4 << 20
	batchBytes  = 16 << 20
	retryFirst  = time.Second
	retryMost   = 30 * time.Second
)

// writer writes payload behind Put: blocks that wait for the disk, and pieces that a failed sync may
// have cost. It is one goroutine's, and after that Close's.
type writer struct {
	s      *Store
	vector [][]byte
	kick   chan struct{} // something is queued
	full   chan struct{} // enough is queued
	flush  chan chan error
}

func newWriter(s *Store) *writer {
	return &writer{s: s, kick: make(chan struct{}, 1), full: make(chan struct{}, 1), flush: make(chan chan error)}
}

// writeLoop is the one goroutine that writes payload, until Close takes over.
func (w *writer) writeLoop(empties []int) {
	s := w.s
	defer s.wg.Done()
	(&emptyFiles{s}).makeEmpties(empties)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	armed := false
	var backoff time.Duration
	for {
		var reply chan error
		select {
		case <-s.done:
			return
		case <-w.kick:
			if !armed {
				timer.Reset(gatherTime)
				armed = true
			}
			continue
		case <-w.full:
			if backoff > 0 {
				continue
			}
		case <-timer.C:
		case reply = <-w.flush:
		}
		timer.Stop()
		armed = false
		err := w.writeAll()
		if err != nil {
			backoff = min(max(2*backoff, retryFirst), retryMost)
			timer.Reset(backoff)
			armed = true
		} else {
			backoff = 0
		}
		if reply != nil {
			reply <- err
		}
	}
}

// writeAll writes what is queued, and puts back what the disk did not take.
func (w *writer) writeAll() error {
	s := w.s
	var failed []item
	var first error
	s.mu.Lock()
	todo := s.queued
	s.mu.Unlock()
	for {
		batch, n := w.takeQueued()
		if n == 0 {
			break
		}
		slices.SortFunc(batch, func(a, b item) int { return cmp.Compare(a.off, b.off) })
		for rest := batch; len(rest) > 0; {
			n := run(rest)
			bad, err := w.writeRun(rest[:n])
			if err != nil && first == nil {
				first = err
			}
			failed = append(failed, bad...)
			rest = rest[n:]
		}
		if todo -= n; todo <= 0 {
			break
		}
	}
	s.mu.Lock()
	s.queue = append(failed, s.queue...)
	for i := range failed {
		s.queued += int64(len(failed[i].data))
	}
	more := len(s.queue) > len(failed)
	s.mu.Unlock()
	if more {
		signal(w.kick)
	}
	rest, err := w.rewriteSome()
	if rest && err == nil {
		signal(w.kick)
	}
	if first = cmp.Or(first, err); first != nil {
		s.disk.fail(writing, first)
		return first
	}
	s.disk.recovered(writing)
	return nil
}

// takeQueued takes the oldest blocks out of the queue, and says how many bytes
// it took. What stays can be given up while these are written.
func (w *writer) takeQueued() (batch []item, bytes int64) {
	s := w.s
	s.mu.Lock()
	i := 0
	for ; i < len(s.queue) && bytes < batchBytes; i++ {
		bytes += int64(len(s.queue[i].data))
	}
	batch = slices.Clone(s.queue[:i])
	s.queue = slices.Delete(s.queue, 0, i)
	s.queued -= bytes
	dropped := int64(0)
	batch = slices.DeleteFunc(batch, func(it item) bool {
		if it.current() {
			return false
		}
		dropped += int64(len(it.data))
		return true
	})
	s.mu.Unlock()
	if dropped > 0 {
		s.dirty.Add(-dropped)
		s.written()
	}
	return batch, bytes
}

// run returns how many of the sorted items follow each other without a gap.
func run(items []item) int {
	end := items[0].off + int64(len(items[0].data))
	for i := 1; i < len(items); i++ {
		if items[i].off != end || end-items[0].off >= runBytes {
			return i
		}
		end += int64(len(items[i].data))
	}
	return len(items)
}

// writeRun writes adjacent items, which may lie in several files, and returns
// those that are not wholly on disk.
func (w *writer) writeRun(items []item) (failed []item, err error) {
	s := w.s
	start := items[0].off
	last := &items[len(items)-1]
	var bad []part
	var files []int
	for p := range s.lay.parts(start, last.off+int64(len(last.data))-start) {
		if p.file < 0 {
			continue // padding
		}
		if perr := w.writePart(items, p); perr != nil {
			bad = append(bad, p)
			if err == nil {
				err = perr
			}
			continue
		}
		files = append(files, p.file)
	}
	good := items
	if len(bad) > 0 {
		good = nil
		for _, it := range items {
			if slices.ContainsFunc(bad, func(p part) bool {
				return it.off < p.off+p.n && p.off < it.off+int64(len(it.data))
			}) {
				failed = append(failed, it)
			} else {
				good = append(good, it)
			}
		}
	}
	n := int64(0)
	for i := range good {
		n += int64(len(good[i].data))
	}
	s.mu.Lock()
	for _, f := range files { // in one step with sealing: the syncer takes both
		s.dirtyFiles[f] = struct{}{}
	}
	done := s.wrote(good)
	s.mu.Unlock()
	s.dirty.Add(-n)
	s.written()
	s.filesDone(done)
	return failed, err
}

func (s *Store) written() {
	signal(s.news)
	if s.opt.onWritten != nil {
		s.opt.onWritten()
	}
}

// writePart writes what the items, which are adjacent, have of one file.
func (w *writer) writePart(items []item, p part) error {
	s := w.s
	name := s.lay.files[p.file].Path
	defer s.disk.begin(writing, "write", name)()
	s.disk.setWriting(time.Now())
	defer s.disk.setWriting(time.Time{})
	if err := s.beforeWrite(); err != nil {
		return &DiskError{Op: "record the writing of", Path: name, Err: err}
	}
	v := w.slices(items, p.off, p.n)
	err := s.changeFile(p.file, func(f vfs.File) error {
		if err := s.space.room(f, p.at, p.n); err != nil {
			return err
		}
		_, err := f.WriteVectorAt(v, p.at)
		return err
	})
	clear(v) // keeps no block alive
	if err != nil {
		return &DiskError{Op: "write", Path: name, Err: err}
	}
	return nil
}

// changeFile opens a payload file and changes it. A file that another program
// changed is doubted first, and opened anew: it may be another one now.
func (s *Store) changeFile(file int, f func(vfs.File) error) error {
	k := fileKey{s, file, true}
	for try := 0; ; try++ {
		h, err := s.cache.files.acquire(k)
		if err != nil {
			return err
		}
		if err = s.own(file, h.f); err == nil {
			err = s.change(file, h.f, func() error { return f(h.f) })
		}
		s.cache.files.release(h)
		s.mu.Lock()
		s.dirtyFiles[file] = struct{}{} // its state is to be journaled, whatever became of it
		s.mu.Unlock()
		if err == nil {
			return nil
		}
		s.cache.files.forget(k) // the next attempt opens it anew
		if !errors.Is(err, ErrChanged) || try == 2 {
			return err
		}
		s.invalidateFile(file)
	}
}

// slices cuts [off, off+n) out of the items; the result is valid until the
// next call.
func (w *writer) slices(items []item, off, n int64) [][]byte {
	v := w.vector[:0]
	i := indexOf(items, off)
	for ; n > 0; i++ {
		b := items[i].data[off-items[i].off:]
		b = b[:min(int64(len(b)), n)]
		v = append(v, b)
		off += int64(len(b))
		n -= int64(len(b))
	}
	w.vector = v
	return v
}

// indexOf returns the index of the item that holds off.
func indexOf(items []item, off int64) int {
	i, found := slices.BinarySearchFunc(items, off, func(it item, off int64) int { return cmp.Compare(it.off, off) })
	if !found {
		i--
	}
	return i
}

// beforeWrite has the journal know that files are about to change. It fails
// where there can be none.
func (s *Store) beforeWrite() error {
	if s.resume.refused != nil {
		return s.resume.refused
	}
	return s.resume.begin(s.snapshot)
}

// own notes in the journal which file, by inode, is about to be news: the
// next run knows it for ours. It fails if that is another file of the torrent.
func (s *Store) own(file int, f vfs.File) error {
	s.mu.Lock()
	owned := s.watchOf(file).owned
	s.mu.Unlock()
	if owned {
		return nil
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if other, known := s.place.holder(st.ID()); known && other != file {
		s.invalidateFile(other) // they may have been swapped
	}
	if err := s.place.alone(file, st.ID(), s.lay.files); err != nil {
		return err
	}
	if err := s.resume.append(resume.Record{Kind: resume.FileOpened, Index: uint32(file), Value: st.Ino}); err != nil {
		return err
	}
	s.mu.Lock()
	s.watchOf(file).owned = true
	if s.stats[file].Size == resume.FileMissing {
		s.stats[file].Ino = st.Ino
	}
	s.mu.Unlock()
	return nil
}
