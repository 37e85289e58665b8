package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"torrentfs/metainfo"
)

// sources is what a torrent is made of.
type sources struct {
	files    []metainfo.SourceFile
	excluded int             // files and directories that --exclude names
	unused   []string        // patterns that nothing matched
	special  []string        // what a torrent cannot hold
	hollow   []string        // directories without a file
	own      bool            // the torrent file itself was met
	occupied map[string]bool // directories that hold something
}

// errNoFile is about what is neither a file nor a directory.
var errNoFile = errors.New("neither a file nor a directory")

// findSources lists what a torrent of root holds. Out of it stay what a
// pattern of exclude matches, and the file own, which may not exist.
func findSources(root string, exclude []string, own string) (*sources, error) {
	st, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	s := &sources{occupied: make(map[string]bool)}
	if st.Mode().IsRegular() {
		s.files = []metainfo.SourceFile{sourceFile(root, nil, st)}
		return s, nil
	}
	if !st.IsDir() {
		return nil, errNoFile
	}
	torrent, _ := os.Stat(own)
	matched := make(map[string]bool)
	var dirs []string
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil || rel == "." {
			return err
		}
		rel = filepath.ToSlash(rel)
		if pattern := excludedBy(rel, exclude); pattern != "" {
			matched[pattern] = true
			s.excluded++
			s.occupy(rel)
			return skip(d)
		}
		switch {
		case !d.IsDir():
			return s.add(name, rel, d, torrent)
		case rel == stateDir:
			return fs.SkipDir
		}
		dirs = append(dirs, rel)
		return nil
	})
	for _, dir := range dirs {
		if !s.occupied[dir] && (path.Dir(dir) == "." || s.occupied[path.Dir(dir)]) {
			s.hollow = append(s.hollow, dir)
		}
	}
	s.unused = slices.DeleteFunc(slices.Clone(exclude), func(p string) bool { return matched[p] })
	return s, err
}

func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

// add adds a file, link or special file.
func (s *sources) add(name, rel string, d fs.DirEntry, torrent fs.FileInfo) error {
	if torrent != nil && d.Type().IsRegular() {
		if st, err := d.Info(); err == nil && os.SameFile(st, torrent) {
			s.own = true
			return nil
		}
	}
	s.occupy(rel)
	f, ok, err := listed(name, strings.Split(rel, "/"), d)
	switch {
	case ok:
		s.files = append(s.files, f)
	case err == nil:
		s.special = append(s.special, rel)
	}
	return err
}

// occupy notes that the directories above rel are not empty.
func (s *sources) occupy(rel string) {
	for dir := path.Dir(rel); dir != "." && !s.occupied[dir]; dir = path.Dir(dir) {
		s.occupied[dir] = true
	}
}

// excludedBy is the pattern that matches a path; a pattern without a slash
// matches names in every directory.
func excludedBy(rel string, patterns []string) string {
	for _, p := range patterns {
		subject := rel
		if !strings.Contains(strings.TrimSuffix(p, "/"), "/") {
			subject = path.Base(rel)
		}
		if ok, _ := path.Match(strings.Trim(p, "/"), subject); ok {
			return p
		}
	}
	return ""
}

// stateDir is what a download leaves beside the data to find its way on; it is
// no part of the content.
const stateDir = ".torrentfs"

// listed makes the entry of a directory part of a torrent; ok is false for
// what a torrent cannot hold.
func listed(name string, path []string, d fs.DirEntry) (f metainfo.SourceFile, ok bool, err error) {
	switch {
	case d.Type() == fs.ModeSymlink:
		target, err := os.Readlink(name)
		return metainfo.SourceFile{Path: path, Symlink: filepath.ToSlash(target)}, err == nil, err
	case d.Type().IsRegular():
		st, err := d.Info()
		if err != nil {
			return f, false, err
		}
		return sourceFile(name, path, st), true, nil
	}
	return f, false, nil
}

func sourceFile(name string, path []string, st fs.FileInfo) metainfo.SourceFile {
	return metainfo.SourceFile{
		Path:       path,
		Length:     st.Size(),
		Executable: st.Mode()&0o111 != 0,
		Open: func() (metainfo.Content, error) {
			f, err := os.Open(name)
			if err != nil {
				return nil, err // not a nil *os.File in an interface
			}
			return f, nil
		},
	}
}

// maxNamed is how many names a warning has.
const maxNamed = 3

// someOf joins the first names, and says how many more there are.
func someOf(names []string) string {
	if more := len(names) - maxNamed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), more)
	}
	return strings.Join(names, ", ")
}

// warn tells what the torrent will not hold.
func (s *sources) warn(a *app, output string) {
	if s.own {
		a.log.Warn("the torrent file lies in the directory that it is made of, and is left out", "file", output)
	}
	if len(s.special) > 0 {
		a.log.Warn("leaving out special files", "paths", someOf(s.special))
	}
	if len(s.hollow) > 0 {
		a.log.Warn("leaving out empty directories: a torrent holds files alone", "paths", someOf(s.hollow))
	}
	for _, p := range s.unused {
		a.log.Warn("--exclude matches nothing", "pattern", p)
	}
	if s.excluded > 0 {
		a.log.Info("leaving out what --exclude matches", "entries", s.excluded)
	}
}
