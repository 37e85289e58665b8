package fs_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"torrentfs/fs"
)

// pattern fills p with what a fake file of that seed holds at off: each byte depends on its file
// and its offset.
func pattern(p []byte, seed uint64, off int64) {
	word := func(off int64) uint64 {
		x := (uint64(off)>>3 + seed*0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
		return x ^ x>>29
	}
	for len(p) > 0 && off&7 != 0 {
		p[0] = byte(word(off) >> (8 * (off & 7)))
		p, off = p[1:], off+1
	}
	for ; len(p) >= 8; p, off = p[8:], off+8 {
		binary.LittleEndian.PutUint64(p, word(off))
	}
	for i := range p {
		p[i] = byte(word(off) >> (8 * i))
	}
}

// fakeSource has files whose bytes come when a test wants them.
type fakeSource struct {
	id         [20]byte
	entries    []fs.Entry
	files      []*fakeData
	mu         sync.Mutex
	onComplete func(int)
	openFiles  atomic.Int64
	dirs       []*os.File // that pass for backing files
}

func newFakeSource() *fakeSource { return &fakeSource{id: [20]byte{1, 2, 3}} }

// add appends a file all of whose bytes are there.
func (s *fakeSource) add(path string, size int64) *fakeData {
	d := &fakeData{size: size, seed: uint64(len(s.files) + 1), changed: make(chan struct{}), have: size}
	s.entries = append(s.entries, fs.Entry{Path: path, Size: size, ModTime: time.Unix(1_000_000_000, 5)})
	s.files = append(s.files, d)
	return d
}

func (s *fakeSource) Name() string        { return "fake" }
func (s *fakeSource) ID() [20]byte        { return s.id }
func (s *fakeSource) Entries() []fs.Entry { return s.entries }

func (s *fakeSource) Open(i int) (fs.File, error) {
	s.openFiles.Add(1)
	return &fakeFile{d: s.files[i], s: s}, nil
}

func (s *fakeSource) OnComplete(f func(int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onComplete = f
}

// complete writes file i to dir, or to its earlier place, and announces it.
func (s *fakeSource) complete(i int, dir string) error {
	d := s.files[i]
	path := filepath.Join(dir, fmt.Sprint("backing", i))
	if err := d.writeTo(path); err != nil {
		return err
	}
	s.mu.Lock()
	f := s.onComplete
	s.mu.Unlock()
	if f != nil {
		f(i)
	}
	return nil
}

// spoil is another program that overwrites a complete file with zeros: it is not lent any more.
func (s *fakeSource) spoil(i int) error {
	d := s.files[i]
	d.mu.Lock()
	path := d.backing.Name()
	d.backing = nil
	d.mu.Unlock()
	return os.WriteFile(path, make([]byte, d.size), 0o644)
}

// fakeData is one file's state, shared by its handles.
type fakeData struct {
	size   int64
	seed   uint64
	memory bool          // serve from memory
	delay  time.Duration // before each block of 16 KiB arrives once it is asked for
	rate   int64         // bytes per second at which blocks arrive, one after the other; 0 is no limit
	noHint bool
	fail   string // how reads end: "", "unavailable", "short", "panic"; "refused": its backing file is none

	mu      sync.Mutex
	have    int64           // bytes from the start that are there
	free    int64           // Unix nanoseconds at which the line is free
	blocks  map[int64]int64 // beyond have: block → Unix nanoseconds at which it is there
	image   []byte          // set if memory is
	backing *os.File
	changed chan struct{}
	asked   atomic.Int64
}

const fakeBlock = 16 << 10

func (d *fakeData) missing() *fakeData { d.have = 0; return d }

func (d *fakeData) release(upTo int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.have = max(d.have, upTo)
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *fakeData) writeTo(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for off := int64(0); off < d.size; off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), d.size-off)]
		pattern(buf, d.seed, off)
		if _, err := f.Write(buf); err != nil {
			return err
		}
	}
	d.mu.Lock()
	d.backing = f
	d.mu.Unlock()
	d.release(d.size)
	return nil
}

// ask starts the arrival of the blocks of a range, and returns when the last is there; zero means
// at once, negative never.
func (d *fakeData) ask(off, end int64) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if end <= d.have {
		return 0
	}
	if d.delay == 0 {
		return -1
	}
	if d.blocks == nil {
		d.blocks = make(map[int64]int64)
	}
	var last int64
	now := time.Now().UnixNano()
	for b := off / fakeBlock; b*fakeBlock < end; b++ {
		if d.blocks[b] == 0 {
			d.free = max(d.free, now)
			if d.rate > 0 {
				d.free += fakeBlock * int64(time.Second) / d.rate
			}
			d.blocks[b] = d.free + int64(d.delay)
		}
		last = max(last, d.blocks[b])
	}
	if last <= now {
		return 0
	}
	return last
}

type fakeFile struct {
	d      *fakeData
	s      *fakeSource
	closed atomic.Bool
}

func (f *fakeFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if f.closed.Load() {
		panic("read of closed file")
	}
	f.d.asked.Add(1)
	switch f.d.fail {
	case "unavailable":
		return 0, fmt.Errorf("no peer has it: %w", fs.ErrUnavailable)
	case "short":
		return len(p) / 2, nil
	case "panic":
		panic("by order of the test")
	}
	for {
		f.d.mu.Lock()
		changed := f.d.changed
		f.d.mu.Unlock()
		at := f.d.ask(off, off+int64(len(p)))
		if at == 0 {
			break
		}
		var timer <-chan time.Time
		if at > 0 {
			timer = time.After(time.Until(time.Unix(0, at)))
		}
		select {
		case <-changed:
		case <-timer:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	if off+int64(len(p)) > f.d.size {
		return 0, io.EOF
	}
	f.d.fill(p, off)
	return len(p), nil
}

func (d *fakeData) fill(p []byte, off int64) {
	if d.image != nil {
		copy(p, d.image[off:])
		return
	}
	pattern(p, d.seed, off)
}

func (f *fakeFile) Ready(off int64, n int) bool {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if off+int64(n) <= f.d.have {
		return true
	}
	now := time.Now().UnixNano()
	for b := off / fakeBlock; b*fakeBlock < off+int64(n); b++ {
		if at := f.d.blocks[b]; at == 0 || at > now {
			return false
		}
	}
	return true
}

func (f *fakeFile) PrefetchUrgent(off int64, n int) { f.WillNeed(off, n) }

func (f *fakeFile) WillNeed(off int64, n int) {
	if !f.d.noHint {
		f.d.ask(off, off+int64(n))
	}
}

func (f *fakeFile) Memory(off int64, n int) ([][]byte, bool) {
	if !f.d.memory {
		return nil, false
	}
	var bufs [][]byte
	for n > 0 {
		k := min(n, fakeBlock-int(off%fakeBlock))
		bufs = append(bufs, f.d.image[off:off+int64(k)])
		off, n = off+int64(k), n-k
	}
	return bufs, true
}

func (f *fakeFile) Backing() (*os.File, bool) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.fail == "refused" {
		dir, err := os.Open("/")
		if err != nil {
			panic(err)
		}
		f.s.dirs = append(f.s.dirs, dir)
		return dir, true
	}
	return f.d.backing, f.d.backing != nil
}

func (f *fakeFile) Close() error {
	if !f.closed.CompareAndSwap(false, true) {
		panic("file closed twice")
	}
	f.s.openFiles.Add(-1)
	return nil
}
