package cache

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"

	"torrentfs/cache/resume"
	"torrentfs/cache/state"
	"torrentfs/cache/vfs"
	"torrentfs/metainfo"
)

// scan is one look at the files of a torrent when its store is opened.
type scan struct {
	s       *Store
	snap    *resume.Snapshot // nil: nothing is vouched for
	trusted []bool           // files in the state for which the snapshot vouches
	look    looker
}

// run compares what the resume data says with what lies on disk, and sets
// the store's first state. It decides in favour of hashing: a piece is held
// only if the snapshot vouches for it and for all its files.
//
// A file is trusted if it is in the very state that was recorded when the last
// of what is held in it had been synced, or at a clean stop (fileStat). Any other
// is hashed, be it that we wrote to it before a crash.
//
// A piece that is not held is in doubt where files reach over all of it and
// not all of that is a hole, or where its hash is that of zeros; otherwise there
// is nothing to hash.
func (c *scan) run(info *metainfo.Info) {
	s := c.s
	snap, err := s.resume.load()
	if err != nil {
		s.log.Warn("resume data cannot be used: what lies on disk is hashed again", "err", err)
	}
	trusted := make([]bool, len(s.lay.files))
	clean := snap != nil && snap.Clean
	renumbered := snap != nil && c.renumbered(snap)
	dirs := directories{fs: s.fs, absent: map[string]bool{".": false}}
	for i := range s.lay.files {
		s.stats[i] = resume.FileState{Size: resume.FileMissing}
		if s.lay.files[i].Length == 0 || !stored(&s.lay.files[i]) {
			trusted[i] = true
			continue
		}
		if !dirs.lack(path.Dir(s.lay.files[i].Path)) {
			s.stats[i] = s.stat(i)
		}
		if snap == nil {
			continue
		}
		trusted[i] = snap.Keeps(i, s.stats[i], renumbered)
		clean = clean && trusted[i] && !renumbered
		if !trusted[i] {
			s.log.Info("file changed since it was last checked", "path", s.lay.files[i].Path)
		}
	}
	c.tellLonger()
	s.stale = snap != nil && !clean
	s.sync.syncAll = snap != nil && !snap.Clean
	c.snap, c.trusted = snap, trusted
	c.look = looker{
		s: s, data: make(map[int]*dataRange), budget: scanBytes,
		zeros: zeroPieces{info: info, sums: make(map[int64]metainfo.SHA1)},
	}
	defer c.look.close()
	for piece := range s.lay.pieces {
		switch c.judge(piece) {
		case held:
			s.states.set(piece, state.Durable)
			for p := range s.lay.parts(s.lay.pieceRange(piece)) {
				if p.file >= 0 {
					s.fileBytes[p.file] += p.n
				}
			}
		case toHash:
			s.states.set(piece, state.InDoubt)
		}
	}
	for i := range s.lay.files {
		if f := &s.lay.files[i]; stored(f) && f.Length > 0 && s.fileBytes[i] == f.Length {
			s.complete.set(i)
		}
	}
}

// tellLonger warns of files that go on after what the torrent has of them. They are never cut: nobody but their
// owner knows what the rest is.
func (c *scan) tellLonger() {
	s := c.s
	longer, example, beyond := 0, "", int64(0)
	for i := range s.lay.files {
		f := &s.lay.files[i]
		if over := s.stats[i].Size - f.Length; stored(f) && f.Length > 0 && over > 0 {
			if longer++; longer == 1 {
				example, beyond = f.Path, over
			}
		}
	}
	if longer > 0 {
		s.log.Warn("file is longer than the torrent has it: the rest is left as it is, and not shown",
			"path", example, "bytes_beyond", beyond, "other_such_files", longer-1)
	}
}

// directories spares a look at each file of a directory that is not there: a new torrent of many files has none of them.
type directories struct {
	fs     vfs.FS
	absent map[string]bool // by path, as far as they were looked at
}

func (d *directories) lack(dir string) bool {
	absent, known := d.absent[dir]
	if known {
		return absent
	}
	absent = d.lack(path.Dir(dir))
	if !absent {
		_, err := d.fs.Lstat(dir)
		absent = errors.Is(err, fs.ErrNotExist)
	}
	d.absent[dir] = absent
	return absent
}

type verdict int

const (
	nothing verdict = iota
	toHash
	held
)

func (c *scan) judge(piece metainfo.Piece) verdict {
	s, snap := c.s, c.snap
	off, n := s.lay.pieceRange(piece)
	if snap != nil && snap.Blocks[piece] != nil {
		switch some, all := c.restoreBlocks(piece, snap.Blocks[piece], c.trusts(piece)); {
		case all:
			return toHash // complete, but for the hash of the piece
		case some:
			return nothing // of the rest: it is fetched again
		}
	}
	all, content := true, false
	for p := range s.lay.parts(off, n) {
		if p.file < 0 {
			continue
		}
		content = true
		if s.stats[p.file].Size < p.at+p.n {
			return nothing
		}
		all = all && c.trusted[p.file]
	}
	switch {
	case snap != nil && snap.Held.Has(piece) && all:
		return held
	case !content:
		return toHash // padding throughout: no peer is ever asked for it
	case snap != nil && snap.Clean && all && !snap.InDoubt.Has(piece):
		return nothing // known not to be verified
	case c.look.anyData(off, n), c.look.zeros.has(piece):
		return toHash
	}
	return nothing
}

func (c *scan) trusts(piece metainfo.Piece) bool {
	s := c.s
	for f := range s.lay.filesOf(piece) {
		if !c.trusted[f] {
			return false
		}
	}
	return true
}

// renumbered reports whether the file system gave out new inode numbers since
// the snapshot was published, or all was moved to another one.
func (c *scan) renumbered(snap *resume.Snapshot) bool {
	s := c.s
	st, err := s.fs.Lstat(resume.StateDir)
	return err == nil && snap.StateIno != 0 && st.Ino != snap.StateIno
}

// scanBytes is how much of single blocks is read and compared after a crash.
const scanBytes = 256 << 20

// looker finds holes. Pieces are asked for in ascending order, so that it
// keeps one range of data and an open file for each file at hand.
type looker struct {
	s     *Store
	data  map[int]*dataRange
	zeros zeroPieces

	budget int64 // of bytes that may yet be read
}

type dataRange struct {
	f          vfs.File
	start, end int64
}

func (l *looker) anyData(off, n int64) bool {
	any := false
	for p := range l.s.lay.parts(off, n) {
		if p.file >= 0 && l.inFile(p) {
			any = true
		}
		if p.file >= 0 && p.at+p.n == l.s.lay.files[p.file].Length {
			l.done(p.file)
		}
	}
	return any
}

func (l *looker) inFile(p part) bool {
	d := l.data[p.file]
	if d == nil {
		f, err := l.s.openRead(p.file)
		if errors.Is(err, fs.ErrNotExist) {
			return false
		}
		if err != nil {
			l.s.log.Warn("cannot open a file of the torrent", "path", l.s.lay.files[p.file].Path, "err", err)
			return false
		}
		d = &dataRange{f: f}
		l.data[p.file] = d
	}
	if d.end <= p.at {
		start, end, err := d.f.NextData(p.at)
		switch {
		case err == io.EOF:
			start, end = 1<<62, 1<<62
		case err != nil:
			start, end = p.at, p.at+p.n // in doubt
		}
		d.start, d.end = start, end
	}
	return d.start < p.at+p.n
}

func (l *looker) done(file int) {
	if d := l.data[file]; d != nil {
		_ = d.f.Close()
		delete(l.data, file)
	}
}

func (l *looker) close() {
	for file := range l.data {
		l.done(file)
	}
}

// stat is what a snapshot says of a file now. Anything but a regular file (or
// a link to one, below DataDir) is as good as missing.
func (s *Store) stat(file int) resume.FileState {
	name := s.lay.files[file].Path
	st, err := s.fs.Lstat(name)
	if err == nil && st.Mode&fs.ModeSymlink != 0 {
		var f vfs.File
		if f, err = s.fs.OpenFile(name, os.O_RDONLY, 0); err == nil {
			st, err = f.Stat()
			_ = f.Close()
		}
	}
	if err != nil || !st.Mode.IsRegular() {
		return resume.FileState{Size: resume.FileMissing}
	}
	return stateOf(st)
}
