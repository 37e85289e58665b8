package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"torrentfs/cache/resume"
	"torrentfs/cache/vfs"
	"torrentfs/metainfo"
)

// Limits on the search for duplicates.
const (
	maxCatalogues     = 4096     // that are read
	maxCatalogueBytes = 64 << 20 // in all of them
)

// Duplicate is a file of another torrent that is said to have the content of one of
// ours. Nobody vouches for that: what is taken from it has to be hashed.
type Duplicate struct {
	Root    metainfo.SHA256 // of its tree (BEP 52, "pieces root")
	Length  int64
	DataDir string
	Path    string // below DataDir
}

// DuplicateSearch is where and what to look for.
type DuplicateSearch struct {
	Hash     metainfo.InfoHash         // of the torrent that looks, and is not its own duplicate
	DataDir  string                    // of that torrent
	DataDirs []string                  // folders to look into
	Want     map[metainfo.SHA256]int64 // lengths by root
}

// FindDuplicates reads the catalogues of other torrents' complete files and returns
// those that are wanted, one for each root. Folders and catalogues that cannot
// be read, or are damaged, are passed over.
func FindDuplicates(ctx context.Context, q DuplicateSearch) (found []Duplicate) {
	left := map[metainfo.SHA256]int64{}
	for root, n := range q.Want {
		left[root] = n
	}
	number, size := 0, int64(0)
	for _, dir := range q.DataDirs {
		for name, b := range catalogues(dir) {
			if ctx.Err() != nil || len(left) == 0 || number >= maxCatalogues || size+int64(len(b)) > maxCatalogueBytes {
				return found
			}
			number, size = number+1, size+int64(len(b))
			if dir == q.DataDir && name == q.Hash.String()+resume.CatalogueSuffix {
				continue
			}
			files, err := resume.DecodeCatalogue(b)
			if err != nil {
				continue
			}
			for _, f := range files {
				if n, ok := left[f.Root]; ok && n == f.Length {
					delete(left, f.Root)
					found = append(found, Duplicate{f.Root, f.Length, dir, f.Path})
				}
			}
		}
	}
	return found
}

// catalogues yields the catalogues in a data folder. No link leads out of it,
// and nothing but a regular file is read.
func catalogues(dir string) func(yield func(name string, b []byte) bool) {
	return func(yield func(string, []byte) bool) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return
		}
		defer root.Close()
		entries, err := fs.ReadDir(root.FS(), resume.StateDir)
		if err != nil {
			return
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), resume.CatalogueSuffix) || !e.Type().IsRegular() {
				continue
			}
			if b, err := readCatalogue(root, resume.StateDir+"/"+e.Name()); err == nil && !yield(e.Name(), b) {
				return
			}
		}
	}
}

func readCatalogue(root *os.Root, name string) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return nil, resume.ErrCatalogue
	}
	b, err := io.ReadAll(io.LimitReader(f, resume.MaxCatalogue+1))
	if err == nil && len(b) > resume.MaxCatalogue {
		err = resume.ErrCatalogue
	}
	return b, err
}

// SubFolders lists the folders in a folder, as candidates for data folders.
func SubFolders(dir string) (dirs []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() && len(dirs) < maxCatalogues {
			dirs = append(dirs, filepath.Join(dir, e.Name()))
		}
	}
	return dirs
}

// Fill puts the bytes of a piece on disk that a file of the same content has.
// Where the file system can, both files then share their blocks on disk until
// one is written to; never are they one file. Nothing is verified: the caller
// hashes the piece (through Unverified), and calls Commit or Discard. It fails
// where anything of the piece came already, and where the piece is not of one
// file alone.
func (s *Store) Fill(piece metainfo.Piece, src vfs.File) error {
	if !s.guard.enter() {
		return ErrClosed
	}
	defer s.guard.leave()
	s.mu.Lock()
	busy := s.states.readable(piece) || s.pieces[piece] != nil
	if !busy {
		s.filling[piece] = struct{}{}
	}
	s.mu.Unlock()
	if busy {
		return fmt.Errorf("fill piece %d: something of it came already", piece)
	}
	var of *part
	for p := range s.lay.parts(s.lay.pieceRange(piece)) {
		switch {
		case p.file < 0: // padding
		case of != nil:
			return fmt.Errorf("fill piece %d: it is of several files", piece)
		default:
			of = &p
		}
	}
	if of == nil {
		return fmt.Errorf("fill piece %d: it is of no file", piece)
	}
	if err := s.fillPart(*of, src); err != nil {
		return &DiskError{Op: "copy into", Path: s.lay.files[of.file].Path, Err: err}
	}
	return nil
}

// fillPart copies as writePart writes: after the journal knows of it.
func (s *Store) fillPart(p part, src vfs.File) error {
	if err := s.beforeWrite(); err != nil {
		return err
	}
	theirs, err := src.Stat()
	if err != nil {
		return err
	}
	return s.changeFile(p.file, func(f vfs.File) error {
		ours, err := f.Stat()
		if err != nil {
			return err
		}
		if id := ours.ID(); id != (vfs.FileID{}) && id == theirs.ID() {
			return errors.New("it may be the same file")
		}
		if err := s.space.room(f, p.at, p.n); err != nil {
			return err
		}
		return vfs.Copy(f, p.at, src, p.at, p.n)
	})
}
