package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"torrentfs/internal/leave"
	"torrentfs/metainfo"
)

// Options tune a check. The zero value is a sound default.
type Options struct {
	// Progress is told how many bytes of the piece space are hashed so far. It
	// is called from the workers, one at a time.
	Progress func(done, total int64)
	// Locate returns where the files lie below the data directory, by index; nil if all lie under
	// their own names (metainfo.File.Path).
	Locate func() []string

	workers int // that read and hash, for tests; 0 means one for each core
}

// Report is the outcome of a check.
type Report struct {
	Pieces, Good int   // pieces of the torrent, and those whose hash is right
	Verified     int64 // bytes of real files within good pieces
	Total        int64 // bytes of real files
	Files        []File
}

// OK reports whether the data is complete and right.
func (r *Report) OK() bool {
	for _, f := range r.Files {
		if f.Fault != nil {
			return false
		}
	}
	return r.Good == r.Pieces
}

// File is what became of one file of the torrent. Pads and links are left out.
type File struct {
	Path     string // as metainfo.File has it, below the data directory
	Length   int64  // bytes that it should have
	Verified int64  // bytes within good pieces
	Fault    error  // what is wrong with it as far as known without a hash, or ErrContent
}

// Sentinels of File.Fault; an error of the operating system is wrapped as is.
var (
	ErrMissing = errors.New("missing")
	ErrLength  = errors.New("wrong length")
	ErrContent = errors.New("wrong content")
)

// Data hashes what lies in dir, in the torrent's own layout, against mi. The
// error is for a check that could not be made, not for its outcome.
func Data(ctx context.Context, mi *metainfo.MetaInfo, dir string, opt Options) (*Report, error) {
	r, err := leave.Run(ctx, leaveAfter, func() (*Report, error) { return data(ctx, mi, dir, opt) })
	if err != nil && err == context.Cause(ctx) { // it was left behind
		return nil, fmt.Errorf("verify %s: %w", mi.Info.Name, context.Cause(ctx))
	}
	return r, err
}

// leaveAfter is how long a disk may take to answer after the caller's context has ended; a read
// that it does not answer is abandoned.
const leaveAfter = time.Second

func data(ctx context.Context, mi *metainfo.MetaInfo, dir string, opt Options) (*Report, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	defer root.Close() //nolint:errcheck // nothing was written
	c := newCheck(mi, root, opt)
	workers := opt.workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var wg sync.WaitGroup
	for range min(workers, mi.Info.NumPieces()) {
		wg.Go(func() { c.work(ctx) })
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("verify %s: %w", mi.Info.Name, err)
	}
	c.compareRoots()
	return c.report(), nil
}

// check is the state of one call of Data.
type check struct {
	// immutable
	*Hashes
	root  *os.Root
	paths []string // of files, below root; nil: their own

	// bare are the files whose piece layer the torrent does not have, as that of a link: of those
	// sums holds what was found, for the pieces in hashed, and it is the root that tells. Each
	// piece's entry is written by the worker that hashes it.
	bare   []int
	rooted []bool // by piece: it belongs to one of them; nil if there are none
	hashed []bool // by piece

	next     atomic.Int64   // piece that the next free worker takes
	good     atomic.Int64   // pieces
	verified []atomic.Int64 // bytes, by file
	faults   []error        // by file; written before the workers start

	mu       sync.Mutex // guards what follows
	done     int64
	progress func(done, total int64)
}

func newCheck(mi *metainfo.MetaInfo, root *os.Root, opt Options) *check {
	c := &check{
		Hashes: NewHashes(mi), root: root, progress: opt.Progress,
		verified: make([]atomic.Int64, len(mi.Info.Files)),
		faults:   make([]error, len(mi.Info.Files)),
	}
	if opt.Locate != nil {
		c.paths = opt.Locate()
	}
	for i := range c.info.Files {
		f := &c.info.Files[i]
		c.faults[i] = c.look(i)
		if c.info.Hash.HasV2 && stored(f) && f.Length > c.info.PieceLength() && mi.PieceLayers[f.PiecesRoot] == nil {
			c.expectRoot(i)
		}
	}
	return c
}

// path is a file's path below the data directory.
func (c *check) path(i int) string {
	if c.paths != nil {
		return c.paths[i]
	}
	return c.info.Files[i].Path
}

// stored reports whether a file has a content of its own on disk.
func stored(f *metainfo.File) bool { return !f.Pad && !f.Link() }

// look finds what is wrong with a file without reading it.
func (c *check) look(i int) error {
	f := &c.info.Files[i]
	if !stored(f) {
		return nil
	}
	st, err := c.root.Stat(c.path(i))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return ErrMissing
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%w: not a regular file", ErrContent)
	case st.Size() != f.Length:
		return fmt.Errorf("%w: %d bytes instead of %d", ErrLength, st.Size(), f.Length)
	}
	return nil
}

// expectRoot prepares for a file without a piece layer.
func (c *check) expectRoot(file int) {
	first, level := c.info.PieceOf(c.info.Files[file].Offset), metainfo.LevelOf(c.info.PieceLength())
	if c.rooted == nil {
		c.rooted, c.hashed = make([]bool, c.info.NumPieces()), make([]bool, c.info.NumPieces())
	}
	c.bare = append(c.bare, file)
	for p := first; p < first+c.piecesOf(file); p++ {
		c.rooted[p], c.tree[p] = true, level
	}
}

func (c *check) piecesOf(file int) int {
	length := c.info.PieceLength()
	return int((c.info.Files[file].Length + length - 1) / length)
}

// compareRoots decides about the files without a piece layer: all of such a file is right, or it is
// unknown which of its pieces are wrong. For a hybrid the v1 hashes have decided.
func (c *check) compareRoots() {
	for _, i := range c.bare {
		f := &c.info.Files[i]
		first := c.info.PieceOf(f.Offset)
		end := first + c.piecesOf(i)
		right := !slices.Contains(c.hashed[first:end], false) &&
			metainfo.LayerRoot(c.sums[first:end], metainfo.LevelOf(c.info.PieceLength())) == f.PiecesRoot
		switch {
		case right && !c.info.Hash.HasV1:
			for p := first; p < end; p++ {
				c.credit(p)
			}
		case !right && c.faults[i] == nil:
			c.faults[i] = ErrContent
		}
	}
}

func (c *check) report() *Report {
	r := &Report{Pieces: c.info.NumPieces(), Good: int(c.good.Load()), Total: c.info.TotalLength()}
	for i := range c.info.Files {
		f := &c.info.Files[i]
		if f.Pad || f.Link() {
			continue
		}
		out := File{Path: f.Path, Length: f.Length, Verified: c.verified[i].Load(), Fault: c.faults[i]}
		if out.Fault == nil && out.Verified < out.Length {
			out.Fault = ErrContent
		}
		r.Verified += out.Verified
		r.Files = append(r.Files, out)
	}
	return r
}

// advance reports progress.
func (c *check) advance(n int64) {
	if c.progress == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += n
	c.progress(c.done, c.info.Size())
}
