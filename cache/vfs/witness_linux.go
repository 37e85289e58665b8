package vfs

import (
	"encoding/binary"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// witnesses is the process's one fanotify(7) group, which any user may have
// since Linux 5.13. It tells who changed a file: this process, or another one.
// An event is queued before the system call that made it returns.
type witnesses struct {
	mu    sync.Mutex
	fd    int // negative: the system does not do that
	pid   int32
	buf   [16 << 10]byte
	files map[fileHandle]*witness
}

// fileHandle is what events call a file.
type fileHandle struct {
	fsid   unix.Fsid
	kind   int32
	handle string
}

type witness struct {
	all     *witnesses
	key     fileHandle
	refs    int // guarded by the group's mu
	changes atomic.Uint64
}

const witnessed = unix.FAN_MODIFY | unix.FAN_CLOSE_WRITE

var allWitnesses = sync.OnceValue(func() *witnesses {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_FID|unix.FAN_NONBLOCK|unix.FAN_CLOEXEC, 0)
	if err != nil {
		fd = -1
	}
	return &witnesses{fd: fd, pid: int32(os.Getpid()), files: make(map[fileHandle]*witness)}
})

// observe begins to watch the file; nil if the system or the file system cannot.
func (all *witnesses) observe(f *os.File) (w *witness) {
	if all.fd < 0 {
		return nil
	}
	_ = withFD(f, func(fd int) error {
		var st unix.Statfs_t
		if err := unix.Fstatfs(fd, &st); err != nil {
			return err
		}
		h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
		if err != nil {
			return err
		}
		key := fileHandle{st.Fsid, h.Type(), string(h.Bytes())}
		all.mu.Lock()
		defer all.mu.Unlock()
		if w = all.files[key]; w != nil {
			w.refs++
			return nil
		}
		if err := unix.FanotifyMark(all.fd, unix.FAN_MARK_ADD, witnessed, fd, ""); err != nil {
			return err
		}
		w = &witness{all: all, key: key, refs: 1}
		all.files[key] = w
		return nil
	})
	return w
}

// release ends the watch; f is still open.
func (w *witness) release(f *os.File) {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	w.all.drain()
	if w.refs--; w.refs > 0 {
		return
	}
	delete(w.all.files, w.key)
	_ = withFD(f, func(fd int) error {
		return unix.FanotifyMark(w.all.fd, unix.FAN_MARK_REMOVE, witnessed, fd, "")
	})
}

// Changes implements [Witness].
func (w *witness) Changes() uint64 {
	w.all.mu.Lock()
	w.all.drain()
	w.all.mu.Unlock()
	return w.changes.Load()
}

// drain reads the events that are there; mu is held.
func (all *witnesses) drain() {
	for {
		n, err := unix.Read(all.fd, all.buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		all.take(all.buf[:n])
		if n < len(all.buf)/2 {
			return // that was all
		}
	}
}

const (
	eventHeader = 24            // struct fanotify_event_metadata
	infoHeader  = 4 + 8 + 4 + 4 // of a file: type and length, fsid, length and type of the handle
)

// take counts the changes that events tell of. Where they were too many for
// the system to keep any file may have changed.
func (all *witnesses) take(b []byte) {
	ne := binary.NativeEndian
	for len(b) >= eventHeader {
		n := int(ne.Uint32(b))
		if n < eventHeader || n > len(b) {
			return
		}
		event := b[:n]
		b = b[n:]
		if ne.Uint64(event[8:])&unix.FAN_Q_OVERFLOW != 0 {
			for _, w := range all.files {
				w.changes.Add(1)
			}
			continue
		}
		if int32(ne.Uint32(event[20:])) == all.pid {
			continue
		}
		if key, ok := handleOf(event[eventHeader:]); ok && all.files[key] != nil {
			all.files[key].changes.Add(1)
		}
	}
}

// handleOf finds the file in what follows an event's header.
func handleOf(b []byte) (key fileHandle, ok bool) {
	ne := binary.NativeEndian
	for len(b) >= infoHeader {
		n := int(ne.Uint16(b[2:]))
		if n < infoHeader || n > len(b) {
			return key, false
		}
		if b[0] == unix.FAN_EVENT_INFO_TYPE_FID {
			size := int(ne.Uint32(b[12:]))
			if size > n-infoHeader {
				return key, false
			}
			key.fsid.Val = [2]int32{int32(ne.Uint32(b[4:])), int32(ne.Uint32(b[8:]))}
			key.kind = int32(ne.Uint32(b[16:]))
			key.handle = string(b[infoHeader:][:size])
			return key, true
		}
		b = b[n:]
	}
	return key, false
}

// Witness implements [File].
func (o *osFile) Witness() Witness {
	o.once.Do(func() { o.witness = allWitnesses().observe(o.f) })
	if o.witness == nil {
		return nil
	}
	return o.witness
}

// Close implements [io.Closer].
func (o *osFile) Close() error {
	o.once.Do(func() {}) // no watch begins any more
	if o.witness != nil {
		o.witness.release(o.f)
		o.witness = nil
	}
	return o.f.Close()
}

// watched is what a file has for its witness.
type watched struct {
	once    sync.Once
	witness *witness
}
