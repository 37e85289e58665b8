package cache

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"torrentfs/cache/resume"
	"torrentfs/cache/vfs"
	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// Hashes tell the torrent's content from other data. The readers are to be
// read to their end, or until it is plain that they are wrong.
type Hashes interface {
	// Piece reports whether r has the content of a piece. It is not known
	// while the piece's hash is not here.
	Piece(piece int, r io.Reader) (right, known bool)
	// File reports the same of a whole file.
	File(file int, r io.Reader) (right, known bool)
}

// ErrForeign is in the error of a write to a file that another program put under
// a name of the torrent's.
var ErrForeign = errors.New("another program put a file of this name there, which is left as it is")

// place is what a store may do in its data folder.
type place struct {
	mu     sync.Mutex
	ours   bitset.Set         // files that may be written to
	inodes map[vfs.FileID]int // file that was opened for writing, by identity
	ids    map[int]vfs.FileID // the reverse of inodes
}

// may reports whether the file that lies under a file's name may be written to.
func (p *place) may(file int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ours.Has(file)
}

// take notes that we made the file.
func (p *place) take(file int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ours.Set(file)
}

// holder is the file of the torrent that was written to as a file on disk.
func (p *place) holder(id vfs.FileID) (file int, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	file, known = p.inodes[id]
	return file, known
}

// moved forgets which file on disk a file of the torrent was: it is another one now.
func (p *place) moved(file int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(file)
}

// forget takes a file out of inodes and ids; mu is held.
func (p *place) forget(file int) {
	if id, known := p.ids[file]; known {
		delete(p.inodes, id)
		delete(p.ids, file)
	}
}

// alone notes which file on disk is written to as a file of the torrent, and
// fails if it is another one of the torrent's as well.
func (p *place) alone(file int, id vfs.FileID, files []metainfo.File) error {
	if id == (vfs.FileID{}) {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if other, known := p.inodes[id]; known && other != file {
		return fmt.Errorf("it is one file on disk with %s; remove one of the two names", files[other].Path)
	}
	p.forget(file)
	p.inodes[id], p.ids[file] = file, id
	return nil
}

// settle decides where the files of the torrent lie, and which of those that
// are there already may be written to, before anything is written:
//
//   - A file that the resume data knows is ours, and so is a copy of it with
//     its size and date.
//   - Of any other file, pieces are hashed. It is the torrent's if at least
//     16 KiB of it are right, or all of it if it is shorter; parts that are
//     zeros do not count. At most 64 wrong pieces are looked at, in all parts
//     of the file.
//   - A file that is empty, or has nothing but zeros, may be written to.
//   - Everything else is left as it is, and the torrent's file gets another
//     name. If none of a multi-file torrent lies in the directory of its name,
//     it gets a directory of its own.
//   - A top-level name that begins with a dot is not created, since such names
//     configure programs. It is used where all the files are there already.
//   - No two files share one on disk, by a hard link or because the file system
//     takes their names for one.
//
// With Options.Hashes nil, files in place may be written to. With
// Options.SeedOnly all is left under its name; what is not the torrent's may
// not be written to then either.
func (s *Store) settle(info *metainfo.Info) error {
	p, err := s.newPlacing(info)
	if err != nil {
		return err
	}
	if err := s.locks.lockName(p.top()); err != nil {
		return err
	}
	if p.writes() {
		err = p.arrange()
	} else {
		err = p.look()
	}
	if err == nil {
		err = s.locks.lockName(p.top())
	}
	if err != nil {
		return err
	}
	s.place.ours = bitset.New(len(p.names))
	s.place.inodes, s.place.ids = make(map[vfs.FileID]int), make(map[int]vfs.FileID)
	for i, st := range p.standing {
		if st == ours || st == blank {
			s.place.ours.Set(i)
		}
	}
	s.lay = s.lay.renamed(p.names)
	if s.resume.refused == nil && !slices.Equal(p.names, p.recorded) {
		if err := s.resume.saveNames(info.Files, p.names); err != nil {
			return &DiskError{Op: "record the names in", Path: resume.StateDir, Err: err}
		}
	}
	return nil
}

// standing is what a file in place is to the torrent.
type standing int8

const (
	vacant  standing = iota
	ours             // we made it, or it has the torrent's content
	blank            // empty, or zeros: nothing is lost if it is written to
	foreign          // anything else
)

// placing is one call of settle.
type placing struct {
	s        *Store
	info     *metainfo.Info
	names    []string // by index
	recorded []string // what the last run recorded: the files' own if there is no record, nil if it is of no use
	snap     *resume.Snapshot
	trusted  bool // the snapshot is of the files under these names
	chosen   bool // names were recorded: their top-level one is the torrent's

	standing []standing
	ids      []vfs.FileID   // of what lies under the names; the zero FileID: unknown
	whole    int            // files that are there throughout
	started  bool           // the resume data knows one of the files
	adopted  moves          // files that are the torrent's by their content alone
	pieces   map[int]bool   // verdicts
	tried    map[string]int // last number of a folded name, see freeName
}

// writes reports whether anything may be made or written in the folder.
func (p *placing) writes() bool { return p.s.resume.refused == nil && !p.s.opt.SeedOnly }

func (s *Store) newPlacing(info *metainfo.Info) (*placing, error) {
	p := &placing{s: s, info: info, pieces: make(map[int]bool)}
	l := newLocator(s.fs, info)
	names, err := s.resume.loadNames(info.Files)
	if err != nil {
		s.log.Warn("record of names cannot be used: what lies in the folder is looked at", "err", err)
	}
	p.trusted = true
	switch {
	case names != nil && l.valid(names) && !p.overrules(names):
		p.names, p.recorded, p.chosen = names, slices.Clone(names), true
	default:
		p.trusted = err == nil && names == nil
		if p.trusted {
			p.recorded = resume.OwnNames(info.Files)
		}
		l.locate()
		p.names = l.names
	}
	if err := linkOut(s.fs, l.trouble); err != nil {
		return nil, err
	}
	p.snap, _ = s.resume.load() // scan says what is wrong with it
	return p, nil
}

// overrules reports whether the user wants the torrent's own top-level name
// although data went to another one before.
func (p *placing) overrules(names []string) bool {
	if p.s.opt.Hashes != nil {
		return false
	}
	for i, name := range names {
		if !p.info.Files[i].Pad {
			return topOf(name) != p.info.Name && topOf(name) != p.info.RawName
		}
	}
	return false
}

func topOf(name string) string {
	top, _, _ := strings.Cut(name, "/")
	return top
}

// top is the top-level name that all files have.
func (p *placing) top() string {
	for i, name := range p.names {
		if !p.info.Files[i].Pad {
			return topOf(name)
		}
	}
	return p.info.Name
}
