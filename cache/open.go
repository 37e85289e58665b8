package cache

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"

	"torrentfs/cache/resume"
	"torrentfs/cache/vfs"
	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// Open opens the torrent's content below opt.DataDir, whether it is new, was
// left by this program, or by another. [ErrLocked] says that somebody else
// works there. The store reads info and never changes it.
func (c *Cache) Open(info *metainfo.Info, opt Options) (*Store, error) {
	s, err := c.open(info, opt)
	if err != nil {
		return nil, fmt.Errorf("open store of %q: %w", info.Name, err)
	}
	return s, nil
}

func (c *Cache) open(info *metainfo.Info, opt Options) (_ *Store, err error) {
	lay, err := newLayout(info)
	if err != nil {
		return nil, err
	}
	if opt.UnverifiedMemory == 0 {
		opt.UnverifiedMemory = DefaultUnverifiedMemory
	}
	s := &Store{
		cache: c, lay: lay, opt: opt, fs: opt.FS, ord: c.last.Add(1),
		log:  cmp.Or(opt.Logger, slog.New(slog.DiscardHandler)),
		gate: newGate(), states: newPieceStates(lay.pieces), untold: make(map[int]struct{}),
		complete: newSharedBits(len(lay.files)), pieces: make(map[int]*pieceBuf),
		fileBytes: make([]int64, len(lay.files)), stats: make([]resume.FileState, len(lay.files)),
		dirtyFiles: make(map[int]struct{}), dirtyDirs: make(map[string]struct{}),
		distrusted: make(map[int]struct{}), unsure: make(map[int]struct{}), rewrites: make(map[int]struct{}), rechecks: make(map[int]struct{}), filling: make(map[int]struct{}), pins: make(map[int]*pin),
		suspicion: suspicion{blocks: make(map[int]bitset.Set), files: make(map[int]struct{})},
		watches:   make(map[int]*watch),
		news:      make(chan struct{}, 1), done: make(chan struct{}), kick: make(chan struct{}, 1), full: make(chan struct{}, 1),
		flush: make(chan chan error), sealKick: make(chan struct{}, 1), syncNow: make(chan chan error),
	}
	s.disk = diskHealth{log: s.log, onError: opt.OnError, stuck: make(map[*operation]struct{})}
	if s.fs == nil {
		if s.fs, err = vfs.Open(opt.DataDir); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			s.unlock()
		}
	}()
	s.resume = &stateFiles{
		fs: s.fs, base: resume.StateDir + "/" + info.Hash.String(),
		id: resume.Identity{
			V1: info.Hash.V1, V2: info.Hash.V2,
			PieceLength: lay.pieceLen, Pieces: lay.pieces, BlocksPerPiece: lay.perPiece, Files: len(lay.files),
		},
	}
	if err := s.lockTorrent(); err != nil {
		return nil, err
	}
	if err := s.settle(info); err != nil {
		return nil, err
	}
	s.survey(info)
	empties := s.empties()
	atOpen := min(len(empties), emptiesAtOpen)
	s.makeEmpties(empties[:atOpen])
	if err := c.adopt(s); err != nil {
		return nil, err
	}
	if files, _ := s.completeFiles(); len(files) > 0 {
		signal(s.sealKick) // for the catalogue
	}
	s.wg.Add(2)
	go s.writeLoop(empties[atOpen:])
	go s.syncLoop()
	return s, nil
}

// lockTorrent takes the torrent's lock. If the folder cannot be written there
// is nothing to protect: what lies there can still be seeded. It stays
// unwritten for as long as the store is open, for then it is not locked either.
func (s *Store) lockTorrent() error {
	err := s.fs.Mkdir(resume.StateDir, 0o755)
	switch {
	case err == nil:
		err = s.fs.SyncDir(".")
	case errors.Is(err, fs.ErrExist):
		err = nil
	}
	if err == nil {
		s.place.torrent, err = s.lock(s.resume.base + ".lock")
	}
	if readOnly(err) {
		s.log.Warn("data folder cannot be written: what lies there is only read", "folder", s.opt.DataDir, "err", err)
		s.resume.refused = err
		return nil
	}
	return err
}

// lockName takes the lock of a top-level name, which another torrent may
// share, instead of the one that is held.
func (s *Store) lockName(top string) error {
	top = metainfo.FoldName(top)
	if s.resume.refused != nil || s.place.name != nil && s.place.top == top {
		return nil
	}
	sum := sha256.Sum256([]byte(top))
	l, err := s.lock(resume.StateDir + "/name-" + hex.EncodeToString(sum[:8]) + ".lock")
	if err != nil {
		return err
	}
	if s.place.name != nil {
		_ = s.place.name.Close()
	}
	s.place.name, s.place.top = l, top
	return nil
}

func (s *Store) lock(name string) (io.Closer, error) {
	l, err := s.fs.Lock(name)
	if errors.Is(err, vfs.ErrLocked) {
		locked := &LockedError{File: filepath.Join(s.opt.DataDir, name)}
		if o := ownerOf(s.fs, name); o != nil {
			locked.PID, locked.Purpose = o.PID, o.Purpose
		}
		return nil, locked
	}
	if err == nil {
		s.signLock(name)
	}
	return l, err
}

func readOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || isReadOnlyFS(err)
}

// emptiesAtOpen is how many empty files and links are made before Open returns.
// The rest of more is made by the writer: a torrent of 6 MB can name 200,000.
const emptiesAtOpen = 1000

// empties lists what no block would make: empty files, and symbolic links that
// stay below the torrent's own top-level directory.
func (s *Store) empties() (files []int) {
	for i := range s.lay.files {
		f := &s.lay.files[i]
		empty := stored(f) && f.Length == 0
		if empty {
			s.complete.set(i)
		}
		if empty || f.Symlink != "" && safeLink(f.Path, f.Symlink) {
			files = append(files, i)
		}
	}
	if s.opt.SeedOnly {
		return nil
	}
	return files
}

// makeEmpties makes empty files and links, until the store is closed: what is
// missing then is made the next time. Trouble is logged only; there is no
// content to lose.
func (s *Store) makeEmpties(files []int) {
	for _, i := range files {
		select {
		case <-s.done:
			return
		default:
		}
		f := &s.lay.files[i]
		if _, err := s.fs.Lstat(f.Path); err == nil {
			continue
		}
		if err := s.makeEmpty(f, f.Symlink == ""); err != nil && !errors.Is(err, fs.ErrExist) {
			s.log.Warn("cannot make an empty file or link", "path", f.Path, "err", err)
			if readOnly(err) {
				return
			}
		}
	}
}

func (s *Store) makeEmpty(f *metainfo.File, empty bool) error {
	dir := path.Dir(f.Path)
	if err := s.mkdirs(dir); err != nil {
		return err
	}
	if !empty {
		err := s.fs.Symlink(f.Symlink, f.Path)
		if err == nil {
			s.noteNewEntry(dir)
		}
		return err
	}
	perm := fs.FileMode(0o644)
	if f.Executable {
		perm = 0o755
	}
	h, err := s.fs.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	s.noteNewEntry(dir)
	return h.Close()
}

// safeLink tells whether the link at name leads to somewhere below its own
// top-level directory, and not to that itself.
func safeLink(name, target string) bool {
	top, _, nested := strings.Cut(name, "/")
	if !nested || path.IsAbs(target) || resume.CheckPath(name) != nil {
		return false
	}
	// Every prefix must stay inside: a/../../b does not, even if it comes back.
	at := path.Dir(name)
	for _, elem := range strings.Split(target, "/") {
		at = path.Join(at, elem)
		if at != top && !strings.HasPrefix(at, top+"/") {
			return false
		}
	}
	return at != top
}
