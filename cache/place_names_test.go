package cache

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"torrentfs/cache/vfs"
	"torrentfs/internal/crashfs"
	"torrentfs/metainfo"
)

// Two files of the torrent that are one on disk are two afterwards.
func TestFilesDoNotShare(t *testing.T) {
	tor := newTorrent(t, 32<<10, entry{path: "ReadMe.txt", size: 70_000}, entry{path: "readme.txt", size: 70_000})
	for _, c := range []struct {
		content []byte
		want    []string
	}{
		{nil, []string{"top/ReadMe.txt", "top/readme.1.txt"}},
		{tor.data[:70_000], []string{"top/ReadMe.txt", "top/readme.1.txt"}},
		{tor.data[70_000:], []string{"top/ReadMe.1.txt", "top/readme.txt"}},
	} {
		for _, hashes := range []Hashes{tor, nil} {
			dir := t.TempDir()
			makeFile(t, filepath.Join(dir, "top/ReadMe.txt"), c.content)
			must(t, os.Link(filepath.Join(dir, "top/ReadMe.txt"), filepath.Join(dir, "top/readme.txt")))
			opt := Options{DataDir: dir}
			if hashes != nil {
				opt.Hashes = hashes
			} else if c.content != nil {
				continue // nothing says whose it is
			}
			if names := tor.finish(t, opt); !slices.Equal(names, c.want) {
				t.Errorf("lie at %q, want %q", names, c.want)
			}
			got := tree(t, dir)
			if got[c.want[0]] != string(tor.data[:70_000]) || got[c.want[1]] != string(tor.data[70_000:]) {
				t.Error("wrong content")
			}
		}
	}
	// A link that is made in between is found when it is written to.
	dir := t.TempDir()
	s := openStore(t, newCache(t, 0), tor, Options{DataDir: dir})
	tor.fetch(s, 0)
	syncStore(t, s)
	must(t, os.Link(filepath.Join(dir, "top/ReadMe.txt"), filepath.Join(dir, "top/readme.txt")))
	tor.fetch(s, 4)
	if s.Sync(t.Context()) == nil {
		t.Error("sync is content")
	}
	if got := tree(t, dir)["top/ReadMe.txt"]; got != string(tor.data[:32<<10]) {
		t.Error("the other file was written to")
	}
	_ = s.Close()
}

// windowsFS takes names that differ by case or normalisation for one, and
// refuses those that FAT refuses.
type windowsFS struct{ vfs.FS }

func (w windowsFS) name(name string) (string, error) {
	if strings.ContainsAny(name, badChars) {
		return "", &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	elems := strings.Split(metainfo.FoldName(name), "/")
	for i, e := range elems {
		if e != "." {
			elems[i] = strings.TrimRight(e, ". ")
		}
	}
	return strings.Join(elems, "/"), nil
}

func (w windowsFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	name, err := w.name(name)
	if err != nil {
		return nil, err
	}
	return w.FS.OpenFile(name, flag, perm)
}

func (w windowsFS) Lstat(name string) (vfs.Info, error) {
	name, err := w.name(name)
	if err != nil {
		return vfs.Info{}, fs.ErrNotExist
	}
	return w.FS.Lstat(name)
}

func (w windowsFS) Space() (vfs.Space, error) {
	return vfs.Space{Total: 1 << 40, Free: 1 << 40, NameMax: 143}, nil
}

func (w windowsFS) Mkdir(name string, perm fs.FileMode) error {
	name, err := w.name(name)
	if err != nil {
		return err
	}
	return w.FS.Mkdir(name, perm)
}

func (w windowsFS) IsEmpty(name string) (bool, error) { n, _ := w.name(name); return w.FS.IsEmpty(n) }

func (w windowsFS) SyncDir(name string) error { n, _ := w.name(name); return w.FS.SyncDir(n) }

func (w windowsFS) Remove(name string) error { n, _ := w.name(name); return w.FS.Remove(n) }

func (w windowsFS) Rename(from, to string) error {
	a, _ := w.name(from)
	b, _ := w.name(to)
	return w.FS.Rename(a, b)
}

var oddNames = []string{
	"ReadMe.txt", "readme.txt", "README.TXT", "a:b?.mkv", "a*b|.mkv", "end.", "end", "dir. /x", "dir/y", "\u00e9t\u00e9", "e\u0301te\u0301", "\u00c9T\u00c9", "Dir/Y",
	"clash/file", "Clash", "plain", "con", "Aux.txt", "console", strings.Repeat("long", 50) + ".txt", strings.Repeat("long", 50) + "s.txt",
}

func TestFoldedAndRefusedNames(t *testing.T) {
	var files []entry
	for i, n := range oddNames {
		files = append(files, entry{path: n, size: 5000 + int64(i)})
	}
	tor := newTorrent(t, 16<<10, files...)
	disk := crashfs.New()
	names := tor.finish(t, Options{FS: windowsFS{disk}, Hashes: tor})
	want := map[string]string{
		"ReadMe.txt": "ReadMe.txt", "readme.txt": "readme.1.txt", "README.TXT": "README.2.TXT", "a:b?.mkv": "a_b_.mkv", "a*b|.mkv": "a_b_.1.mkv",
		"end.": "end_", "end": "end", "dir. /x": "dir__/x", "dir/y": "dir/y", "Dir/Y": "Dir/Y.1", "plain": "plain", "Clash": "Clash.1", "con": "con_", "Aux.txt": "Aux_.txt", "console": "console",
	}
	seen := map[string]bool{}
	for i, n := range oddNames {
		f := &tor.Files[i]
		if w, ok := want[n]; ok && names[i] != "top/"+w {
			t.Errorf("%s lies at %q, want %q", n, names[i], w)
		}
		for elem := range strings.SplitSeq(names[i], "/") {
			if len(elem) > 143 || len(elem) < 100 && len(n) > 150 && elem != "top" {
				t.Errorf("%s: a name of %d bytes", n, len(elem))
			}
		}
		key, err := windowsFS{}.name(names[i])
		if err != nil || seen[key] {
			t.Errorf("%s lies at %q, as another does (%v)", n, names[i], err)
		}
		seen[key] = true
		h, err := windowsFS{disk}.OpenFile(names[i], os.O_RDONLY, 0)
		must(t, err)
		b := make([]byte, f.Length)
		if _, err := h.ReadAt(b, 0); err != nil && err != io.EOF || !bytes.Equal(b, tor.data[f.Offset:f.Offset+f.Length]) {
			t.Errorf("%s: wrong content (%v)", names[i], err)
		}
	}
	// Where names are names, all of them stay.
	for i, n := range tor.finish(t, Options{FS: crashfs.New(), Hashes: tor}) {
		if n != tor.Files[i].Path {
			t.Errorf("on a disk that tells case apart %q lies at %q", tor.Files[i].Path, n)
		}
	}
}

// Data under the names that the torrent spells is found, and so is what lies
// beside it in a directory that is spelt so.
func TestDataUnderRawNames(t *testing.T) {
	for _, raw := range []string{
		"\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "Donau\u00addampf", "caf\xe9", "a\tb", "\u202eevil", "\u200f\u05e9", "x\u2028y", "\U0001f468\u200d\U0001f469", "\x01",
	} {
		tor := newTorrent(t, 16<<10, entry{path: raw + "/" + raw + ".txt", size: 40_000}, entry{path: raw + "/missing", size: 100})
		dir := t.TempDir()
		makeFile(t, filepath.Join(dir, "top", raw, raw+".txt"), tor.data[:40_000])
		want := []string{"top/" + raw + "/" + raw + ".txt", "top/" + raw + "/missing"}
		if got, err := Locate(dir, tor.Info); err != nil || !slices.Equal(got, want) {
			t.Errorf("located %q: %v", got, err)
		}
		if names := tor.finish(t, Options{DataDir: dir, Hashes: tor}); !slices.Equal(names, want) {
			t.Errorf("lies at %q, want %q", names, want)
		}
		s := single(t, raw, 40_000, 16<<10)
		makeFile(t, filepath.Join(dir, raw), s.data)
		if names := s.finish(t, Options{DataDir: dir, Hashes: s, SeedOnly: true}); names[0] != raw {
			t.Errorf("lies at %q, want %q", names, raw)
		}
	}
	for torrent, disk := range map[string]string{"\u00e9t\u00e9": "e\u0301te\u0301", "e\u0301te\u0301": "\u00e9t\u00e9"} {
		tor := single(t, torrent, 40_000, 16<<10)
		dir := t.TempDir()
		makeFile(t, filepath.Join(dir, disk), tor.data)
		if got, err := Locate(dir, tor.Info); err != nil || got[0] != disk {
			t.Errorf("located %q: %v", got, err)
		}
	}
}
