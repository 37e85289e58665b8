package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/text/unicode/norm"

	"torrentfs/cache/resume"
	"torrentfs/cache/vfs"
	"torrentfs/metainfo"
)

// ErrLink is in the error of Open if the data can only be reached by a link
// that leads out of the data folder.
var ErrLink = errors.New("link leads out of the data folder")

// Locate returns where the files of a torrent lie below dir, by index: as an
// earlier run recorded it, or else as they are found there. It writes nothing.
func Locate(dir string, info *metainfo.Info) ([]string, error) {
	root, err := os.Stat(dir)
	if err == nil && !root.IsDir() {
		err = fmt.Errorf("%s is not a directory", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("locate files: %w", err)
	}
	fsys, err := vfs.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("locate files: %w", err)
	}
	defer fsys.Close()
	r := &stateFiles{fs: fsys, base: resume.StateDir + "/" + info.Hash.String()}
	l := newLocator(fsys, info)
	if names, err := r.loadNames(info.Files); err == nil && names != nil && l.valid(names) {
		return names, nil
	}
	l.locate()
	return l.names, nil
}

// locator finds under which names the files of a torrent lie in a folder. Of
// each element it tries the safe name, the one that the torrent spells, and
// both Unicode normalisations of that; what is not there gets its safe name, in
// the directory that the others are in.
type locator struct {
	fs      vfs.FS
	info    *metainfo.Info
	names   []string           // by index
	dirs    map[string]located // by safe path
	own     map[string]struct{}
	claimed map[string]struct{}
	trouble string // first path that could not be looked at
}

// located is a directory of the torrent on disk.
type located struct {
	path  string
	there bool
}

func newLocator(fsys vfs.FS, info *metainfo.Info) *locator {
	return &locator{
		fs: fsys, info: info, names: resume.OwnNames(info.Files),
		dirs: map[string]located{".": {".", true}},
	}
}

// valid reports whether recorded names are of use still: of those that are not
// the files' own, a top-level one is there.
func (l *locator) valid(names []string) bool {
	looked := make(map[string]bool)
	for i, name := range names {
		if top := topOf(name); name != l.info.Files[i].Path && !looked[top] {
			looked[top] = true
			if l.there(top) {
				return true
			}
		}
	}
	return false
}

func (l *locator) locate() {
	for i := range l.info.Files {
		if f := &l.info.Files[i]; !f.Pad {
			l.names[i] = l.file(f)
		}
	}
}

func (l *locator) file(f *metainfo.File) string {
	elems := l.raw(f)
	dir := l.dir(path.Dir(f.Path), elems[:len(elems)-1])
	base, raw := path.Base(f.Path), elems[len(elems)-1]
	if dir.there && stored(f) {
		for _, v := range variants(base, raw) {
			if p := path.Join(dir.path, v); l.there(p) && l.claim(p, f.Path) {
				return p
			}
		}
	}
	if spelt := path.Join(elems...); stored(f) && dir.path != path.Dir(spelt) && usable(elems) && l.there(spelt) && l.claim(spelt, f.Path) {
		return spelt
	}
	if p := path.Join(dir.path, base); l.claim(p, f.Path) {
		return p
	}
	return f.Path
}

// raw is a file's path as the torrent spells it.
func (l *locator) raw(f *metainfo.File) []string {
	return append([]string{l.info.RawName}, f.Raw...)
}

func (l *locator) dir(safe string, raw []string) located {
	d, known := l.dirs[safe]
	if known || len(raw) == 0 {
		return d
	}
	parent := l.dir(path.Dir(safe), raw[:len(raw)-1])
	base := path.Base(safe)
	d = located{path: path.Join(parent.path, base)}
	if parent.there {
		for _, v := range variants(base, raw[len(raw)-1]) {
			if p := path.Join(parent.path, v); l.there(p) {
				d = located{p, true}
				break
			}
		}
	}
	l.dirs[safe] = d
	return d
}

// there reports whether the name exists.
func (l *locator) there(name string) bool {
	_, err := l.fs.Lstat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && l.trouble == "" {
		l.trouble = name
	}
	return err == nil
}

// claim takes a name for the file whose own is given. It fails if the name is
// that of another file.
func (l *locator) claim(name, own string) bool {
	if name == own {
		return true
	}
	if resume.CheckPath(name) != nil {
		return false
	}
	if l.own == nil {
		l.own, l.claimed = make(map[string]struct{}), make(map[string]struct{})
		for i := range l.info.Files {
			l.own[l.info.Files[i].Path] = struct{}{}
		}
	}
	_, others := l.own[name]
	_, twice := l.claimed[name]
	if others || twice {
		return false
	}
	l.claimed[name] = struct{}{}
	return true
}

// variants lists the names that one element may have on disk, the likeliest first.
func variants(safe, raw string) []string {
	v := []string{safe}
	add := func(name string) {
		for _, have := range v {
			if have == name {
				return
			}
		}
		if usable([]string{name}) {
			v = append(v, name)
		}
	}
	if raw != safe {
		add(raw)
	}
	if !norm.NFC.IsNormalString(raw) || !norm.NFD.IsNormalString(raw) {
		add(norm.NFC.String(raw))
		add(norm.NFD.String(raw))
	}
	return v
}

// usable reports whether elements of a path can be names on disk.
func usable(elems []string) bool {
	for _, e := range elems {
		if e == "" || e == "." || e == ".." || len(e) > 255 || strings.ContainsAny(e, "/\x00") {
			return false
		}
	}
	return true
}

// linkOut returns an error if a link on the way to the name leads out of the
// data folder; nothing could be read or written behind it.
func linkOut(fsys vfs.FS, name string) error {
	for at := 0; at < len(name); {
		end := len(name)
		if n := strings.IndexByte(name[at:], '/'); n >= 0 {
			end = at + n
		}
		prefix := name[:end]
		at = end + 1
		st, err := fsys.Lstat(prefix)
		if err != nil {
			return nil //nolint:nilerr // it is no link
		}
		if st.Mode&fs.ModeSymlink == 0 {
			continue
		}
		// Whatever it leads to inside, a name below that is there, is not there, or is below no directory.
		_, err = fsys.Lstat(prefix + "/.torrentfs")
		inside := err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrPermission)
		if !inside {
			return fmt.Errorf("%w: %s; put the data in its place, or make the folder that it leads to the data folder", ErrLink, prefix)
		}
	}
	return nil
}
