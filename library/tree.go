package library

import (
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"torrentfs/fs"
	"torrentfs/metainfo"
	"torrentfs/swarm"
)

// tree shows a torrent as the source of a file system.
type tree struct {
	t     *Torrent
	files []int // index in the torrent's list, by entry
	entry []int // the reverse, -1 for what is not shown

	original OnUnavailable // as the torrent was added

	mu          sync.Mutex // guards what follows; a leaf
	onComplete  func(entry int)
	unavailable OnUnavailable         // of files that have none of their own
	policies    map[int]OnUnavailable // by index in the torrent's list
}

var (
	_ fs.Source           = (*tree)(nil)
	_ fs.CompletionSource = (*tree)(nil)
	_ fs.MemoryFile       = (*file)(nil)
	_ fs.BackedFile       = (*file)(nil)
	_ fs.ReadyFile        = (*file)(nil)
	_ fs.Prefetcher       = (*file)(nil)
)

func newTree(t *Torrent, policy OnUnavailable) *tree {
	tr := &tree{
		t: t, entry: make([]int, len(t.info.Files)),
		original: policy, unavailable: policy, policies: map[int]OnUnavailable{},
	}
	for i := range t.info.Files {
		tr.entry[i] = -1
		if !t.info.Files[i].Omit {
			tr.entry[i] = len(tr.files)
			tr.files = append(tr.files, i)
		}
	}
	return tr
}

// Source is the torrent as a tree of files, for fs.Mount.
func (t *Torrent) Source() fs.Source { return t.tree }

// Open opens a file of the torrent by its path, as [metainfo.File] has it. Its ReadAt waits for the
// bytes that are not here yet, until its context ends, and gets them before all else; reading on in
// order fetches ahead. The error wraps [os.ErrNotExist] if there is no such file. The caller closes
// it.
func (t *Torrent) Open(path string) (fs.File, error) {
	for e, i := range t.tree.files {
		if f := &t.info.Files[i]; f.Path == path && f.Symlink == "" {
			return t.tree.Open(e)
		}
	}
	return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
}

func (tr *tree) Name() string { return tr.t.info.Name }

func (tr *tree) ID() [20]byte { return tr.t.info.Hash.Wire() }

func (tr *tree) Entries() []fs.Entry {
	entries := make([]fs.Entry, len(tr.files))
	for e, i := range tr.files {
		f := &tr.t.info.Files[i]
		entries[e] = fs.Entry{Path: f.Path, Size: f.Length, Executable: f.Executable, Symlink: f.Symlink, ModTime: f.ModTime}
		if f.ModTime.IsZero() {
			entries[e].ModTime = tr.t.created
		}
	}
	return entries
}

func (tr *tree) Open(entry int) (fs.File, error) {
	f := &file{t: tr.t, index: tr.files[entry]}
	f.meta = &tr.t.info.Files[f.index]
	f.reader = tr.t.swarm.NewReader(f)
	return f, nil
}

func (tr *tree) OnComplete(f func(entry int)) {
	tr.mu.Lock()
	tr.onComplete = f
	tr.mu.Unlock()
}

// fileComplete is called by the store for each file that is verified and written.
func (tr *tree) fileComplete(index int) {
	tr.mu.Lock()
	f := tr.onComplete
	tr.mu.Unlock()
	if f != nil && tr.entry[index] >= 0 {
		f(tr.entry[index])
	}
}

// file is one open handle: a window on the piece space with a reader's history.
type file struct {
	t      *Torrent
	index  int
	meta   *metainfo.File
	reader *swarm.Reader
	backed atomic.Int32 // times that Backing lent the file on disk
}

func (f *file) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off >= f.meta.Length {
		return 0, io.EOF
	}
	short := off+int64(len(p)) > f.meta.Length
	if short {
		p = p[:f.meta.Length-off]
	}
	n, err := f.reader.ReadAt(ctx, p, f.meta.Offset+off)
	if n < len(p) {
		return n, f.unavailable(err)
	}
	if short {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) Close() error {
	for range f.backed.Load() {
		f.t.store.ReleaseBacking(f.index)
	}
	return f.reader.Close()
}

// Memory has verified bytes that need no copy; the reader's history is kept up to date.
func (f *file) Memory(off int64, n int) ([][]byte, bool) {
	bufs, ok := f.t.store.Memory(f.meta.Offset+off, n)
	if ok {
		f.reader.Hit(f.meta.Offset+off, n)
	}
	return bufs, ok
}

// Backing is the file on disk once it is complete. It is lent until Close.
func (f *file) Backing() (*os.File, bool) {
	disk, ok := f.t.store.Backing(f.index)
	if ok {
		f.backed.Add(1)
	}
	return disk, ok
}

// WillNeed has a range fetched that will probably be read soon.
func (f *file) WillNeed(off int64, n int) { f.reader.WillNeed(f.meta.Offset+off, n) }

// PrefetchUrgent has a range fetched of which the first page alone is asked for.
func (f *file) PrefetchUrgent(off int64, n int) { f.reader.PrefetchUrgent(f.meta.Offset+off, n) }

// Ready reports whether a read would not wait.
func (f *file) Ready(off int64, n int) bool {
	if n == 0 {
		return true
	}
	return f.t.store.Ready(f.meta.Offset+off, n)
}
