package crashfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"torrentfs/cache/vfs"
)

// file is an open file.
type file struct {
	fs       *FS
	n        *node
	name     string
	writable bool
	closed   bool
}

// begin checks a call; on success mu is held.
func (h *file) begin(op string, write bool) error {
	h.fs.mu.Lock()
	err := error(nil)
	switch {
	case h.closed:
		err = fs.ErrClosed
	case write && !h.writable:
		err = fs.ErrPermission
	default:
		err = h.fs.step(op, h.name)
	}
	if err != nil {
		h.fs.mu.Unlock()
		return pathError(op, h.name, err)
	}
	return nil
}

func (h *file) ReadAt(p []byte, off int64) (int, error) {
	if err := h.begin("read", false); err != nil {
		return 0, err
	}
	defer h.fs.mu.Unlock()
	c := h.n.data
	n := int(max(min(int64(len(p)), c.size-off), 0))
	for done := 0; done < n; {
		i, at := (off+int64(done))/sector, (off+int64(done))%sector
		m := min(n-done, int(sector-at))
		if s := c.sectors[i]; s != nil {
			copy(p[done:done+m], s[at:])
		} else {
			clear(p[done : done+m])
		}
		done += m
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *file) WriteAt(p []byte, off int64) (int, error) {
	if err := h.begin("write", true); err != nil {
		return 0, err
	}
	defer h.fs.mu.Unlock()
	err := error(nil)
	if h.fs.cut >= 0 && h.fs.ops >= h.fs.cut { // the last one: a part of it
		p, err = p[:h.fs.rng.IntN(len(p)+1)], pathError("write", h.name, ErrCut)
	}
	h.n.write(p, off)
	h.noteOthers()
	return len(p), err
}

func (n *node) write(p []byte, off int64) {
	for done := 0; done < len(p); {
		i, at := (off+int64(done))/sector, (off+int64(done))%sector
		s := new([sector]byte)
		if old := n.data.sectors[i]; old != nil {
			*s = *old
		}
		done += copy(s[at:], p[done:])
		n.data.sectors[i] = s
		n.dirty[i] = true
	}
	n.data.size = max(n.data.size, off+int64(len(p)))
	n.modified()
}

// modified sets both dates.
func (n *node) modified() {
	n.data.mtime = time.Now().UnixNano()
	n.touched()
}

// touched sets the date that no program can set.
func (n *node) touched() { n.data.ctime = max(n.data.ctime+1, time.Now().UnixNano()) }

func (h *file) WriteVectorAt(bufs [][]byte, off int64) (int, error) {
	return h.WriteAt(slices.Concat(bufs...), off)
}

func (h *file) Probe(int64) error {
	if err := h.begin("read", false); err != nil {
		return err
	}
	h.fs.mu.Unlock()
	return nil
}

func (h *file) Sync() error {
	if err := h.begin("sync", false); err != nil {
		h.fs.mu.Lock()
		defer h.fs.mu.Unlock()
		if !h.closed && !errors.Is(err, ErrCut) {
			h.n.lose(h.fs.loss)
		}
		return err
	}
	defer h.fs.mu.Unlock()
	h.n.sync()
	return nil
}

func (h *file) Truncate(size int64) error {
	if err := h.begin("truncate", true); err != nil {
		return err
	}
	defer h.fs.mu.Unlock()
	h.n.truncate(size)
	h.noteOthers()
	return nil
}

func (n *node) truncate(size int64) {
	for i := range n.data.sectors {
		if i*sector >= size {
			delete(n.data.sectors, i)
			n.dirty[i] = true
		}
	}
	if rest := size % sector; rest != 0 && n.data.sectors[size/sector] != nil {
		s := *n.data.sectors[size/sector]
		clear(s[rest:])
		n.data.sectors[size/sector] = &s
		n.dirty[size/sector] = true
	}
	n.data.size = size
	n.modified()
}

func (h *file) PunchHole(off, size int64) error {
	if err := h.begin("punch", true); err != nil {
		return err
	}
	defer h.fs.mu.Unlock()
	end := min(off+size, h.n.data.size)
	for o := off; o < end; {
		i, at := o/sector, o%sector
		m := min(sector-at, end-o)
		if s := h.n.data.sectors[i]; s != nil {
			if m == sector || o+m == h.n.data.size && at == 0 {
				delete(h.n.data.sectors, i)
			} else {
				c := *s
				clear(c[at : at+m])
				h.n.data.sectors[i] = &c
			}
			h.n.dirty[i] = true
		}
		o += m
	}
	h.n.modified()
	return nil
}

func (h *file) NextData(off int64) (start, end int64, err error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	c := h.n.data
	for start = off; start < c.size; start = (start/sector + 1) * sector {
		if c.sectors[start/sector] == nil {
			continue
		}
		for end = start; end < c.size && c.sectors[end/sector] != nil; {
			end = (end/sector + 1) * sector
		}
		return start, min(end, c.size), nil
	}
	return 0, 0, io.EOF
}

func (h *file) Stat() (vfs.Info, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return h.n.info(), nil
}

func (h *file) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return pathError("close", h.name, fs.ErrClosed)
	}
	h.closed = true
	return nil
}

func (h *file) OS() *os.File { return nil }

// ReadCached implements [vfs.File]: all is on the disk.
func (h *file) ReadCached([]byte, int64) int { return 0 }

// Witness implements [vfs.File]: no writes of others are reported until a test has another program
// write ([FS.Others]).
func (h *file) Witness() vfs.Witness {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if !h.fs.tells {
		return nil
	}
	return witness{h.fs, h.n}
}

type witness struct {
	fs *FS
	n  *node
}

func (w witness) Changes() uint64 {
	w.fs.mu.Lock()
	defer w.fs.mu.Unlock()
	return w.n.byOthers
}

// noteOthers counts a change if it is another program's; mu is held.
func (h *file) noteOthers() {
	if h.fs.others {
		h.n.byOthers++
	}
}
