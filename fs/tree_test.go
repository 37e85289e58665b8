package fs

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"pgregory.net/rapid"
)

func TestTreeRefusesBadEntries(t *testing.T) {
	for name, entries := range map[string][]Entry{
		"empty path":        {{Path: ""}},
		"absolute":          {{Path: "/a"}},
		"trailing slash":    {{Path: "a/"}},
		"parent":            {{Path: "a/../b"}},
		"dot":               {{Path: "./a"}},
		"NUL":               {{Path: "a\x00b"}},
		"NUL in link":       {{Path: "a", Symlink: "b\x00"}},
		"long name":         {{Path: strings.Repeat("x", 256)}},
		"long link":         {{Path: "a", Symlink: strings.Repeat("x", 4096)}},
		"negative size":     {{Path: "a", Size: -1}},
		"twice":             {{Path: "a/b"}, {Path: "c"}, {Path: "a/b"}},
		"file is directory": {{Path: "a/b"}, {Path: "a"}},
		"file in file":      {{Path: "a"}, {Path: "a/b/c"}},
		"sizes overflow":    {{Path: "a", Size: 1 << 62}, {Path: "b", Size: 1 << 62}},
	} {
		if _, err := newTree([20]byte{}, entries); !errors.Is(err, ErrBadEntry) {
			t.Errorf("%s: %v, want ErrBadEntry", name, err)
		}
	}
}

func TestEmptyTree(t *testing.T) {
	tr, err := newTree([20]byte{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, count := tr.children(tr.node(0)); count != 0 {
		t.Errorf("%d children", count)
	}
	if _, ok := tr.lookup(tr.node(0), "a"); ok {
		t.Error("found a")
	}
}

// drawEntries makes a set of paths in which no file is also a directory. Names are such that '/'
// sorts among them.
func drawEntries(rt *rapid.T) []Entry {
	name := rapid.StringMatching(`[ab!.0~é-]{1,3}`).Filter(func(s string) bool { return s != "." && s != ".." })
	paths := rapid.SliceOfN(rapid.SliceOfN(name, 1, 4), 0, 60).Draw(rt, "paths")
	dirs, files := make(map[string]bool), make(map[string]bool)
	var entries []Entry
	for i, elems := range paths {
		path := strings.Join(elems, "/")
		bad := files[path] || dirs[path]
		for k := 1; k < len(elems); k++ {
			bad = bad || files[strings.Join(elems[:k], "/")]
		}
		if bad {
			continue
		}
		files[path] = true
		for k := 1; k < len(elems); k++ {
			dirs[strings.Join(elems[:k], "/")] = true
		}
		entries = append(entries, Entry{Path: path, Size: int64(i), ModTime: time.Unix(int64(i), 0)})
	}
	return entries
}

// Every path leads to its entry, every listing holds exactly what was put there, and times and
// counts add up.
func TestTreeHoldsItsEntries(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		entries := drawEntries(rt)
		tr, err := newTree([20]byte{7}, entries)
		if err != nil {
			rt.Fatal(err)
		}
		listing := make(map[string][]string)
		for i, e := range entries {
			at := nodeIndex(0)
			dir := ""
			for elem := range strings.SplitSeq(e.Path, "/") {
				listing[dir] = append(listing[dir], elem)
				next, ok := tr.lookup(tr.node(at), elem)
				if !ok {
					rt.Fatalf("%q: no %q", e.Path, elem)
				}
				at = next
				dir += elem + "/"
			}
			n := tr.node(at)
			if n.kind != kindFile || int(n.first) != i || n.size != e.Size {
				rt.Fatalf("%q: got %+v", e.Path, n)
			}
			if got := tr.path(at); got != e.Path {
				rt.Fatalf("path %q, want %q", got, e.Path)
			}
		}
		inos := make(map[uint64]bool)
		for i := range tr.nodes {
			n := tr.node(nodeIndex(i))
			if inos[n.ino] {
				rt.Fatalf("inode number %d repeats", n.ino)
			}
			inos[n.ino] = true
			if n.kind != kindDir {
				continue
			}
			prefix := tr.path(nodeIndex(i))
			if prefix != "" {
				prefix += "/"
			}
			first, count := tr.children(n)
			var got []string
			var newest, dirs int64
			for c := first; c < first+nodeIndex(count); c++ {
				child := tr.node(c)
				got = append(got, tr.name(child))
				newest = max(newest, child.mtime)
				if child.kind == kindDir {
					dirs++
				}
			}
			want := slices.Compact(slices.Sorted(slices.Values(listing[prefix])))
			if !slices.Equal(got, want) {
				rt.Fatalf("%q holds %q, want %q", prefix, got, want)
			}
			if n.mtime != newest || n.size != dirs {
				rt.Fatalf("%q: time %d of %d, %d directories of %d", prefix, n.mtime, newest, n.size, dirs)
			}
		}
	})
}

func TestInodeNumbersDependOnSourceAndPath(t *testing.T) {
	seen := make(map[uint64]string)
	for _, id := range [][20]byte{{}, {1}} {
		for _, path := range []string{"a", "b", "a/b"} {
			ino := newInodeNumbers(id).of(path)
			what := fmt.Sprint(id[0], path)
			if other, ok := seen[ino]; ok {
				t.Errorf("%s and %s share %d", what, other, ino)
			}
			if ino <= fuse.FUSE_ROOT_ID || ino>>63 != 0 {
				t.Errorf("%s: inode number %d", what, ino)
			}
			seen[ino] = what
		}
	}
	// A golden: changing the derivation would change what backup programs know of every file.
	if got := newInodeNumbers([20]byte{1, 2, 3}).of("t/a"); got != 5980008826139421451 {
		t.Errorf("inode number %d", got)
	}
}

func TestNodeIDs(t *testing.T) {
	if makeNodeID(0, false) != fuse.FUSE_ROOT_ID || makeNodeID(0, true) != fuse.FUSE_ROOT_ID {
		t.Error("the root must keep its id")
	}
	seen := make(map[nodeID]bool)
	for i := range nodeIndex(100) {
		for _, second := range []bool{false, true} {
			id := makeNodeID(i, second)
			if id.index() != i || id == 0 || id == probeNodeID {
				t.Errorf("node %d: id %d", i, id)
			}
			if i > 0 && (seen[id] || id.twin() != makeNodeID(i, !second)) {
				t.Errorf("node %d: id %d, twin %d", i, id, id.twin())
			}
			seen[id] = true
		}
	}
}

// A million files may take 100 MB.
func TestManyFilesAreSmall(t *testing.T) {
	const count = 200_000
	entries := make([]Entry, count)
	for i := range entries {
		entries[i] = Entry{Path: fmt.Sprintf("torrent/directory %03d/some file name %06d.bin", i/1000, i), Size: int64(i)}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	tr, err := newTree([20]byte{}, entries)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d bytes per file", grown/count)
	if grown > count*100 {
		t.Errorf("%d bytes per file", grown/count)
	}
	runtime.KeepAlive(entries)
	runtime.KeepAlive(tr)
}

func FuzzTree(f *testing.F) {
	f.Add("a\nb/c\nb/d/e\na!b/c")
	f.Add("a\na/b")
	f.Add("/\n\n..")
	f.Fuzz(func(t *testing.T, list string) {
		paths := strings.Split(list, "\n")
		var entries []Entry
		for _, p := range paths {
			entries = append(entries, Entry{Path: p})
		}
		tr, err := newTree([20]byte{}, entries)
		if err != nil {
			return
		}
		want := make(map[string]int)
		for i, p := range paths {
			want[p] = i
		}
		for i := range tr.nodes {
			if n := tr.node(nodeIndex(i)); n.kind != kindDir {
				p := tr.path(nodeIndex(i))
				if want[p] != int(n.first) {
					t.Errorf("%q is entry %d", p, n.first)
				}
				delete(want, p)
			}
		}
		if len(want) != 0 {
			t.Errorf("not in the tree: %q", slices.Collect(maps.Keys(want)))
		}
	})
}
