package metainfo

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

const (
	maxName = 255 // bytes of one path element (NAME_MAX)
	maxExt  = 16  // bytes of an extension worth keeping when a name is cut
)

// SafeName turns one path element from a stranger into a name that is safe to
// show and to create. "", "." and ".." become underscores; "/" and control
// characters each become one; bytes that are not UTF-8, and characters that
// are invisible or turn the direction of text, become %XX; a name over 255
// bytes is cut before its extension, with a hash of the whole to tell it from
// others. Any other name comes back as it is.
func SafeName(elem string) string {
	b, changed := appendSafe(nil, []byte(elem))
	if !changed {
		return elem
	}
	return string(b)
}

// appendSafe appends the safe form of elem to b and reports whether it differs
// from elem.
func appendSafe(b, elem []byte) (out []byte, changed bool) {
	switch string(elem) {
	case "", ".":
		return append(b, '_'), true
	case "..":
		return append(b, '_', '_'), true
	}
	start := len(b)
	for i := 0; i < len(elem); {
		if c := elem[i]; c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f || c == '/' {
				c, changed = '_', true
			}
			b = append(b, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(elem[i:])
		switch {
		case unicode.IsControl(r):
			b, changed = append(b, '_'), true
		case r == utf8.RuneError && n == 1, invisible(r):
			for _, c := range elem[i : i+n] {
				b = fmt.Appendf(b, "%%%02X", c)
			}
			changed = true
		default:
			b = append(b, elem[i:i+n]...)
		}
		i += n
	}
	if len(b)-start > maxName {
		stem, ext := splitExt(string(b[start:]))
		return append(b[:start], cutName(stem, ext, elem, maxName)...), true
	}
	return b, changed
}

// invisible reports whether r has no width, breaks the line or turns the
// direction of text, so that two names that look alike could differ, or one
// could look like another.
func invisible(r rune) bool {
	switch r {
	case 0x034f, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x3164, 0xffa0: // joiners and fillers outside Cf
		return true
	}
	return unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// splitExt splits a name before the dot of its extension, if it has one.
func splitExt(name string) (stem, ext string) {
	ext = path.Ext(name)
	if len(ext) > maxExt || len(ext) < 2 || len(ext) == len(name) {
		ext = ""
	}
	return name[:len(name)-len(ext)], ext
}

// CutName is a name within most bytes, which are at least 64: a longer one is
// cut before its extension, with a hash of the whole to tell it from others.
func CutName(name string, most int) string {
	if len(name) <= most {
		return name
	}
	stem, ext := splitExt(name)
	return cutName(stem, ext, []byte(name), most)
}

// cutName joins stem and tail within most bytes: stem is cut between two
// runes, and a hash of whole, the name that it all comes from, takes the place
// of what is lost.
func cutName(stem, tail string, whole []byte, most int) string {
	sum := sha1.Sum(whole)
	tail = "~" + hex.EncodeToString(sum[:4]) + tail
	n := min(most-len(tail), len(stem))
	for n > 0 && n < len(stem) && !utf8.RuneStart(stem[n]) {
		n--
	}
	return stem[:n] + tail
}

// NumberedPath returns p with a number before its extension, dir/name.3.ext,
// within the bounds of [SafeName].
func NumberedPath(p string, n int) string {
	dir, base := path.Split(p)
	stem, ext := splitExt(base)
	tail := "." + strconv.Itoa(n) + ext
	if len(stem)+len(tail) > maxName {
		return dir + cutName(stem, tail, []byte(base), maxName)
	}
	return dir + stem + tail
}

// namer gives the files of one torrent their paths: first each on its own
// (add), then together (settle).
type namer struct {
	root   string // safe name of the top-level directory
	budget int64  // bytes that paths may still take
	fold   func(string) string

	buf  []byte
	ends []int    // of the elements in buf
	slab []string // backing of File.Raw

	dirs  map[string]string // key of a directory, to its path
	canon map[string]string // directory as a file names it, to its path
	taken map[string]int32  // key of a path, to the file that has it
}

func newNamer(root string, lim Limits) *namer {
	n := &namer{root: root, budget: lim.nameBytes, fold: func(s string) string { return s }}
	if lim.FoldNames {
		n.fold = FoldName
	}
	return n
}

// FoldName is equal for names that differ by case or Unicode normalisation alone, which some file
// systems treat as equal.
func FoldName(name string) string {
	ascii := true
	for i := range len(name) {
		ascii = ascii && name[i] < utf8.RuneSelf
	}
	if ascii {
		return strings.ToLower(name)
	}
	return norm.NFC.String(cases.Fold().String(norm.NFD.String(name)))
}

// add sets f.Path and f.Raw from the path elements of a torrent.
func (n *namer) add(f *File, elems [][]byte) error {
	if len(elems) > maxPathDepth {
		return fmt.Errorf("path: %d elements: %w of %d", len(elems), ErrLimit, maxPathDepth)
	}
	n.buf = append(n.buf[:0], n.root...)
	n.ends = n.ends[:0]
	raw := n.raw(len(elems))
	for i, e := range elems {
		var changed bool
		n.buf = append(n.buf, '/')
		n.buf, changed = appendSafe(n.buf, e)
		n.ends = append(n.ends, len(n.buf))
		if changed {
			raw[i] = string(e)
			n.ends[i] = -len(n.buf) // keep raw[i]
		}
	}
	f.Path, f.Raw = string(n.buf), raw
	// An element that is safe as it is shares the memory of the path.
	start := len(n.root)
	for i, end := range n.ends {
		if end > 0 {
			raw[i] = f.Path[start+1 : end]
		}
		start = max(end, -end)
	}
	const perElement = 16
	if n.budget -= int64(len(n.buf) + perElement*len(elems)); n.budget < 0 {
		return fmt.Errorf("path: memory for the paths of all files %w", ErrLimit)
	}
	return nil
}

// raw takes a slice of k strings from the slab.
func (n *namer) raw(k int) []string {
	if k > len(n.slab) {
		n.slab = make([]string, max(k, 1024))
	}
	out := n.slab[:k:k]
	n.slab = n.slab[k:]
	return out
}

// settle makes the paths unique. A path belongs to the first file that has it,
// unless a directory has it; the others get numbers, in torrent order. Names
// that were unique from the start never change.
func (n *namer) settle(files []File) {
	n.dirs = make(map[string]string)
	n.canon = make(map[string]string)
	n.taken = make(map[string]int32, len(files))
	for i := range files {
		f := &files[i]
		if f.Pad {
			continue
		}
		dir, base := path.Split(f.Path)
		dir = dir[:len(dir)-1]
		if d := n.directory(dir); d != dir {
			f.Path = d + "/" + base
		}
	}
	var clashes []int
	for i := range files {
		f := &files[i]
		if f.Pad {
			continue
		}
		if key := n.fold(f.Path); n.free(key) {
			n.taken[key] = int32(i)
		} else {
			clashes = append(clashes, i)
		}
	}
	next := make(map[string]int)
	for _, i := range clashes {
		f := &files[i]
		base := n.fold(f.Path)
		for {
			next[base]++
			p := NumberedPath(f.Path, next[base])
			if key := n.fold(p); n.free(key) {
				n.taken[key] = int32(i)
				f.Path = p
				break
			}
		}
	}
}

func (n *namer) free(key string) bool {
	if _, dir := n.dirs[key]; dir {
		return false
	}
	_, file := n.taken[key]
	return !file
}

// directory registers a directory with its parents and returns its path: the spelling of the first
// file in it, if spellings are folded.
func (n *namer) directory(dir string) string {
	if d, ok := n.canon[dir]; ok {
		return d
	}
	d := dir
	if parent, base := path.Split(dir); parent != "" {
		d = n.directory(parent[:len(parent)-1]) + "/" + base
	}
	key := n.fold(d)
	if first, ok := n.dirs[key]; ok {
		d = first
	} else {
		n.dirs[key] = d
	}
	n.canon[dir] = d
	return d
}

// preferUTF8 picks between a string and its ".utf-8" form, which old clients wrote beside one in
// another encoding.
func preferUTF8(plain, twin string, hasTwin bool) string {
	if hasTwin && twin != "" && utf8.ValidString(twin) {
		return twin
	}
	return plain
}

// clean resolves "." and ".." in the elements of a link's target. It fails on
// a target above the top-level directory.
func clean(elems []string) (out []string, ok bool) {
	for _, e := range elems {
		switch e {
		case "", ".":
		case "..":
			if len(out) == 0 {
				return nil, false
			}
			out = out[:len(out)-1]
		default:
			out = append(out, e)
		}
	}
	return out, true
}

// relative returns the path that leads from directory dir to target; both are
// clean and begin with the same element.
func relative(dir, target string) string {
	d, t := strings.Split(dir, "/"), strings.Split(target, "/")
	same := 0
	for same < len(d) && same < len(t) && d[same] == t[same] {
		same++
	}
	up := strings.Repeat("../", len(d)-same)
	if rel := up + strings.Join(t[same:], "/"); rel != "" {
		return strings.TrimSuffix(rel, "/")
	}
	return "."
}
