package metainfo

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"torrentfs/metainfo/bencode"
)

// entry is one file's dictionary, of a v1 list or a v2 tree.
type entry struct {
	hasLength bool
	length    int64
	hasPath   bool
	path      [][]byte
	attr      []byte
	target    [][]byte
	root      []byte
	mtime     int64
}

// fileReader reads entries, with buffers that it uses again for each.
type fileReader struct {
	c                  *bencode.Cursor
	path, twin, target [][]byte
}

// read consumes one file's dictionary. The slices in e are valid until the
// next call.
func (r *fileReader) read(e *entry) error {
	*e = entry{}
	if err := r.c.OpenDict(); err != nil {
		return err
	}
	r.twin = r.twin[:0]
	for r.c.More() {
		key, err := r.c.Bytes()
		if err != nil {
			return err
		}
		if err := r.field(e, string(key)); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if len(r.twin) > 0 && (len(e.path) == len(r.twin) || !e.hasPath) && allUTF8(r.twin) {
		e.path, e.hasPath = r.twin, true
	}
	return nil
}

func (r *fileReader) field(e *entry, key string) (err error) {
	switch key {
	case "length":
		if e.length, err = r.c.Int(); err == nil && e.length < 0 {
			err = fmt.Errorf("%d is negative", e.length)
		}
		e.hasLength = true
	case "path":
		r.path, err = r.strings(r.path)
		e.path, e.hasPath = r.path, true
	case "path.utf-8":
		if r.c.Kind() != bencode.List {
			_, err = r.c.Skip()
			return err
		}
		r.twin, err = r.strings(r.twin)
	case "symlink path":
		r.target, err = r.strings(r.target)
		e.target = r.target
	case "attr":
		e.attr, err = r.c.Bytes()
	case "pieces root":
		if e.root, err = r.c.Bytes(); err == nil && len(e.root) != len(SHA256{}) {
			err = fmt.Errorf("%d bytes, not 32", len(e.root))
		}
	case "mtime":
		if r.c.Kind() == bencode.Integer {
			e.mtime, err = r.c.Int()
			return err
		}
		_, err = r.c.Skip()
	default:
		_, err = r.c.Skip()
	}
	return err
}

// strings consumes a list of strings into buf.
func (r *fileReader) strings(buf [][]byte) ([][]byte, error) {
	buf = buf[:0]
	if err := r.c.OpenList(); err != nil {
		return buf, err
	}
	for r.c.More() {
		s, err := r.c.Bytes()
		if err != nil {
			return buf, fmt.Errorf("[%d]: %w", len(buf), err)
		}
		buf = append(buf, s)
	}
	return buf, nil
}

func allUTF8(elems [][]byte) bool {
	for _, e := range elems {
		if !utf8.Valid(e) {
			return false
		}
	}
	return true
}

// file makes a File of an entry, without its path.
func (e *entry) file() File {
	f := File{Length: e.length, ModTime: unixTime(e.mtime)}
	for _, a := range e.attr {
		switch a {
		case 'p':
			f.Pad = true
		case 'x':
			f.Executable = true
		case 'h':
			f.Hidden = true
		case 'l':
			f.link = &link{}
		}
	}
	if f.link != nil {
		f.Length = 0 // BEP 47; torrents that say otherwise hold no bytes for it
		f.Executable = false
		for _, t := range e.target {
			f.link.target = append(f.link.target, string(t))
		}
	}
	return f
}

// v1Files reads the v1 file list: "files", or else the one file of "length".
func (p *infoParser) v1Files() error {
	if p.raw["files"] == nil {
		return p.v1Single()
	}
	n, err := countElements(p.raw["files"])
	if err != nil {
		return fmt.Errorf("files: %w", err)
	}
	const shortest = len("d6:lengthi0e4:pathl1:aee")
	p.info.Files = make([]File, 0, min(n, len(p.raw["files"])/shortest+1))
	r := fileReader{c: bencode.NewCursor(p.raw["files"])}
	if err := r.c.OpenList(); err != nil {
		return fmt.Errorf("files: %w", err)
	}
	var e entry
	for r.c.More() {
		err := r.read(&e)
		if err == nil {
			err = p.v1File(&e)
		}
		if err != nil {
			return fmt.Errorf("files[%d]: %w", len(p.info.Files), err)
		}
	}
	return nil
}

// countElements counts the elements of a list.
func countElements(raw []byte) (n int, err error) {
	c := bencode.NewCursor(raw)
	if err := c.OpenList(); err != nil {
		return 0, err
	}
	for ; c.More(); n++ {
		if _, err := c.Skip(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func (p *infoParser) v1File(e *entry) error {
	f := e.file()
	switch {
	case !e.hasLength && !f.Link():
		return fmt.Errorf("length: %w", bencode.ErrMissing)
	case f.Pad && f.Link():
		return fmt.Errorf("attr: %q is both a pad and a link", e.attr)
	case bitCometPad(e.path):
		f.Pad = true
	}
	if !f.Pad {
		if !e.hasPath || len(e.path) == 0 {
			return fmt.Errorf("path: %w", bencode.ErrMissing)
		}
		if err := p.names.add(&f, e.path); err != nil {
			return err
		}
	}
	p.info.Files = append(p.info.Files, f)
	return nil
}

// bitCometPad recognises the pads of a client that wrote them before there was an attribute for
// them: _____padding_file_0_….
func bitCometPad(path [][]byte) bool {
	if len(path) == 0 {
		return false
	}
	rest, ok := bytes.CutPrefix(path[len(path)-1], []byte("_____padding_file_"))
	return ok && len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9'
}

func (p *infoParser) v1Single() error {
	e := entry{hasLength: true}
	length, err := p.fields.Int("length")
	if err != nil {
		return err
	}
	if length < 0 {
		return fmt.Errorf("length: %d is negative", length)
	}
	e.length = length
	attr, _ := bencode.Get[string](p.fields, "attr")
	e.attr = []byte(attr)
	e.mtime, _ = bencode.Get[int64](p.fields, "mtime")
	f := e.file()
	f.Pad = false
	p.info.Single = true
	p.single(&f)
	p.info.Files = []File{f}
	return nil
}

// fileTree reads the v2 file tree (BEP 52) in its order, which is the order of
// the files in the piece space.
func (p *infoParser) fileTree() ([]File, error) {
	t := treeReader{p: p, r: fileReader{c: bencode.NewCursor(p.raw["file tree"])}}
	if err := t.directory(); err != nil {
		where := string(bytes.Join(t.path, []byte("/")))
		return nil, fmt.Errorf("%.200q: %w", where, err)
	}
	return t.files, nil
}

// treeReader walks a v2 file tree. It recurses; the scan has bounded the depth.
type treeReader struct {
	p     *infoParser
	r     fileReader
	path  [][]byte
	files []File
}

func (t *treeReader) directory() error {
	if err := t.r.c.OpenDict(); err != nil {
		return err
	}
	for first := true; t.r.c.More(); first = false {
		key, err := t.r.c.Bytes()
		if err != nil {
			return err
		}
		if len(key) == 0 { // the properties of this path: it is a file
			if !first || len(t.path) == 0 {
				return fmt.Errorf("a file where a directory is")
			}
			if err := t.file(); err != nil {
				return err
			}
			if t.r.c.More() {
				return fmt.Errorf("a file with entries below it")
			}
			return nil
		}
		t.path = append(t.path, key)
		if err := t.directory(); err != nil {
			return err // and t.path stays, for the error
		}
		t.path = t.path[:len(t.path)-1]
	}
	return nil
}

func (t *treeReader) file() error {
	var e entry
	if err := t.r.read(&e); err != nil {
		return err
	}
	f := e.file()
	switch {
	case f.Pad:
		return fmt.Errorf("attr: pads have no place in a v2 file tree")
	case !e.hasLength && !f.Link():
		return fmt.Errorf("length: %w", bencode.ErrMissing)
	case f.Length > 0 && e.root == nil:
		return fmt.Errorf("pieces root: %w", bencode.ErrMissing)
	case f.Length > 0 && SHA256(e.root) == SHA256{}:
		return fmt.Errorf("pieces root: all zeros")
	case f.Length > 0:
		f.PiecesRoot = SHA256(e.root)
	}
	if err := t.p.names.add(&f, t.path); err != nil {
		return err
	}
	t.files = append(t.files, f)
	return nil
}
