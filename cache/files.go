package cache

import (
	"container/list"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"

	"torrentfs/cache/vfs"
)

// fileTable holds the open payload files of all stores of a cache, at most
// about limit of them: a torrent may have 100,000. Files in use are counted
// and closed only after their last use; so the limit is exceeded when more
// than that are in use at one time.
type fileTable struct {
	limit int

	mu   sync.Mutex
	open map[fileKey]*handle
	idle list.List // of *handle with refs == 0; front = last used
	used int       // handles in the table
}

type fileKey struct {
	store *Store
	file  int
	write bool
}

// handle is one open file of the table. f and err are set before ready is
// closed and not changed after.
type handle struct {
	key   fileKey
	ready chan struct{}
	f     vfs.File
	err   error

	// guarded by the table's mu
	refs    int
	place   *list.Element // in idle
	dropped bool          // not in the table any more: close with the last use
}

func newFileTable(limit int) *fileTable {
	return &fileTable{limit: limit, open: make(map[fileKey]*handle)}
}

// acquire opens the file or finds it open. Each success is paired with a
// release.
func (t *fileTable) acquire(k fileKey) (*handle, error) {
	t.mu.Lock()
	h := t.open[k]
	if h != nil {
		h.refs++
		if h.place != nil {
			t.idle.Remove(h.place)
			h.place = nil
		}
		t.mu.Unlock()
		<-h.ready
		if h.err != nil {
			t.release(h)
			return nil, h.err
		}
		return h, nil
	}
	h = &handle{key: k, ready: make(chan struct{}), refs: 1}
	t.open[k] = h
	t.used++
	victims := t.shrink()
	t.mu.Unlock()

	closeAll(victims)
	h.f, h.err = k.open()
	if errors.Is(h.err, syscall.EMFILE) || errors.Is(h.err, syscall.ENFILE) {
		// The limit is lower than ours, or others need more of it: what is idle makes room.
		t.mu.Lock()
		victims = t.shrinkTo(t.used / 2)
		t.mu.Unlock()
		closeAll(victims)
		h.f, h.err = k.open()
	}
	close(h.ready)
	if h.err != nil {
		t.mu.Lock()
		t.drop(h) // the next one tries again
		t.mu.Unlock()
		t.release(h)
		return nil, h.err
	}
	return h, nil
}

// acquireOpen is acquire for a file that is open already, else nil: it does not
// wait for the disk.
func (t *fileTable) acquireOpen(k fileKey) *handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.open[k]
	if h == nil {
		return nil
	}
	select {
	case <-h.ready:
	default:
		return nil
	}
	if h.err != nil {
		return nil
	}
	h.refs++
	if h.place != nil {
		t.idle.Remove(h.place)
		h.place = nil
	}
	return h
}

func (t *fileTable) release(h *handle) {
	t.mu.Lock()
	h.refs--
	var victims []*handle
	switch {
	case h.refs > 0:
	case h.dropped:
		victims = []*handle{h}
	default:
		h.place = t.idle.PushFront(h)
		victims = t.shrink()
	}
	t.mu.Unlock()
	closeAll(victims)
}

// closeStore closes the store's files. None of them is in use.
func (t *fileTable) closeStore(s *Store) {
	t.mu.Lock()
	var victims []*handle
	for k, h := range t.open {
		if k.store == s {
			t.drop(h)
			victims = append(victims, h)
		}
	}
	t.mu.Unlock()
	closeAll(victims)
}

// forget makes the next acquire open the file anew.
func (t *fileTable) forget(k fileKey) {
	t.mu.Lock()
	var victims []*handle
	if h := t.open[k]; h != nil {
		t.drop(h)
		if h.refs == 0 {
			victims = append(victims, h)
		}
	}
	t.mu.Unlock()
	closeAll(victims)
}

// shrink takes the idle files beyond the limit out of the table. mu is held.
func (t *fileTable) shrink() (victims []*handle) { return t.shrinkTo(t.limit) }

func (t *fileTable) shrinkTo(limit int) (victims []*handle) {
	for t.used > limit && t.idle.Len() > 0 {
		h := t.idle.Back().Value.(*handle)
		t.drop(h)
		victims = append(victims, h)
	}
	return victims
}

// drop takes h out of the table. mu is held.
func (t *fileTable) drop(h *handle) {
	if h.dropped {
		return
	}
	h.dropped = true
	delete(t.open, h.key)
	t.used--
	if h.place != nil {
		t.idle.Remove(h.place)
		h.place = nil
	}
}

func closeAll(victims []*handle) {
	for _, h := range victims {
		if h.f != nil {
			_ = h.f.Close() // what it wrote is synced elsewhere, or reported there
		}
	}
}

func (k fileKey) open() (vfs.File, error) {
	if k.write {
		return k.store.openWrite(k.file)
	}
	return k.store.openRead(k.file)
}

// openRead opens a payload file for reading; it must exist.
func (s *Store) openRead(i int) (vfs.File, error) {
	return s.fs.OpenFile(s.lay.files[i].Path, os.O_RDONLY, 0)
}

// openWrite opens a payload file for writing and makes it, and the
// directories above, if they are missing. It opens none that another program put
// there, see [Store.settle].
func (s *Store) openWrite(i int) (vfs.File, error) {
	f := &s.lay.files[i]
	flag := os.O_RDWR | os.O_CREATE | os.O_EXCL
	if s.place.may(i) {
		h, err := s.fs.OpenFile(f.Path, os.O_RDWR, 0)
		if !errors.Is(err, fs.ErrNotExist) {
			return h, err
		}
		flag &^= os.O_EXCL
	}
	if err := s.mkdirs(path.Dir(f.Path)); err != nil {
		return nil, err
	}
	perm := fs.FileMode(0o644)
	if f.Executable {
		perm = 0o755
	}
	h, err := s.fs.OpenFile(f.Path, flag, perm)
	if errors.Is(err, fs.ErrExist) {
		if st := s.stat(i); st.Size != 0 {
			return nil, fmt.Errorf("%w: move it away", ErrForeign)
		}
		h, err = s.fs.OpenFile(f.Path, os.O_RDWR, 0)
	}
	if err == nil {
		s.place.take(i)
		s.noteNewEntry(path.Dir(f.Path))
	}
	return h, err
}

// mkdirs makes dir and its parents below DataDir.
func (s *Store) mkdirs(dir string) error {
	if dir == "." {
		return nil
	}
	err := s.fs.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.mkdirs(path.Dir(dir)); err != nil {
			return err
		}
		err = s.fs.Mkdir(dir, 0o755)
	}
	switch {
	case err == nil:
		s.noteNewEntry(path.Dir(dir))
		return nil
	case errors.Is(err, fs.ErrExist):
		return nil // if it is not a directory, the next step says so
	default:
		return err
	}
}

// noteNewEntry has the directory synced before anything in it is journaled.
func (s *Store) noteNewEntry(dir string) {
	s.mu.Lock()
	s.dirtyDirs[dir] = struct{}{}
	s.mu.Unlock()
}
