package cache

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"torrentfs/cache/resume"
	"torrentfs/metainfo"
)

// emptiesAtOpen is how many empty files and links are made before Open returns.
// The rest of more is made by the writer: a torrent of 6 MB can name 200,000.
const emptiesAtOpen = 1000

// emptyFiles makes what no block would make.
type emptyFiles struct{ s *Store }

// empties lists what no block would make: empty files, and symbolic links that
// stay below the torrent's own top-level directory.
func (e *emptyFiles) empties() (files []int) {
	s := e.s
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
func (e *emptyFiles) makeEmpties(files []int) {
	s := e.s
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
		if err := e.makeEmpty(f, f.Symlink == ""); err != nil && !errors.Is(err, fs.ErrExist) {
			s.log.Warn("cannot make an empty file or link", "path", f.Path, "err", err)
			if readOnly(err) {
				return
			}
		}
	}
}

func (e *emptyFiles) makeEmpty(f *metainfo.File, empty bool) error {
	s := e.s
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
