package fs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unsafe"
)

// ErrBadEntry is wrapped by errors about an [Entry] that cannot be shown.
var ErrBadEntry = errors.New("bad entry")

const maxNameLen = 255

type kind uint8

const (
	kindDir kind = iota
	kindFile
	kindExec
	kindLink
)

// nodeIndex indexes tree.nodes. The root is 0.
type nodeIndex uint32

// node is one file, link or directory. A torrent may have a million of them, so a node is 48 bytes
// without pointers, and all names lie in one arena.
type node struct {
	ino     uint64
	size    int64 // of a directory: the number of its subdirectories
	mtime   int64 // Unix seconds
	nsec    uint32
	name    uint32 // offset in the arena
	parent  nodeIndex
	first   uint32 // of a directory: its first child; else the entry's index
	more    uint32 // of a directory: the number of children; of a link: the target's offset in the arena
	nameLen uint8
	kind    kind
}

// tree is the immutable shape of a mount. The children of a directory are neighbours, sorted by
// name.
type tree struct {
	nodes []node
	arena []byte
	total int64 // bytes of all regular files
	files int   // number of entries
}

func (t *tree) node(i nodeIndex) *node { return &t.nodes[i] }

// name returns the name of a node without copying it; the arena never changes.
func (t *tree) name(n *node) string {
	if n.nameLen == 0 {
		return ""
	}
	return unsafe.String(&t.arena[n.name], int(n.nameLen))
}

func (t *tree) target(n *node) []byte { return t.arena[n.more : int64(n.more)+n.size] }

// children returns the index of the first child of a directory and how many there are.
func (t *tree) children(n *node) (first nodeIndex, count int) {
	return nodeIndex(n.first), int(n.more)
}

// lookup finds a child by its name.
func (t *tree) lookup(dir *node, name string) (nodeIndex, bool) {
	if dir.kind != kindDir {
		return 0, false
	}
	first, count := t.children(dir)
	i, ok := slices.BinarySearchFunc(t.nodes[first:int(first)+count], name, func(n node, want string) int {
		return strings.Compare(t.name(&n), want)
	})
	return first + nodeIndex(i), ok
}

// newTree builds the tree of all entries. It refuses paths that a mount could not show.
func newTree(id [20]byte, entries []Entry) (*tree, error) {
	if len(entries) > math.MaxInt32 {
		return nil, fmt.Errorf("%w: %d entries are too many", ErrBadEntry, len(entries))
	}
	order := make([]uint32, len(entries))
	for i := range entries {
		if err := checkEntry(&entries[i]); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int {
		return cmp.Or(comparePaths(entries[a].Path, entries[b].Path), cmp.Compare(a, b))
	})
	b := treeBuilder{entries: entries, order: order, inodes: newInodeNumbers(id)}
	return b.build()
}

func checkEntry(e *Entry) error {
	if e.Size < 0 {
		return fmt.Errorf("%w: %q: negative size %d", ErrBadEntry, e.Path, e.Size)
	}
	if strings.IndexByte(e.Path, 0) >= 0 || strings.IndexByte(e.Symlink, 0) >= 0 {
		return fmt.Errorf("%w: %q: contains NUL", ErrBadEntry, e.Path)
	}
	if len(e.Symlink) > 4095 {
		return fmt.Errorf("%w: %q: link target of %d bytes", ErrBadEntry, e.Path, len(e.Symlink))
	}
	for name := range strings.SplitSeq(e.Path, "/") {
		if name == "" || name == "." || name == ".." || len(name) > maxNameLen {
			return fmt.Errorf("%w: %q: unusable name %q", ErrBadEntry, e.Path, name)
		}
	}
	return nil
}

// comparePaths orders by path element: a directory's files are neighbours for any bytes in their
// names.
func comparePaths(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		}
		return cmp.Compare(a[i], b[i])
	}
	return cmp.Compare(len(a), len(b))
}

type treeBuilder struct {
	entries []Entry
	order   []uint32 // of entries, by path
	inodes  *inodeNumbers
	nodes   []node
	arena   bytes.Buffer
}

// dirRange is a directory whose children are still to be made: its paths are order[lo:hi], behind a
// prefix.
type dirRange struct {
	dir    nodeIndex
	lo, hi int
	prefix int
}

func (b *treeBuilder) build() (*tree, error) {
	b.nodes = make([]node, 1, len(b.entries)+len(b.entries)/16+1)
	b.nodes[0] = node{ino: 1, kind: kindDir}
	var links []nodeIndex
	t := &tree{files: len(b.entries)}
	// Breadth first: all children of one directory are appended together.
	queue := []dirRange{{dir: 0, lo: 0, hi: len(b.order)}}
	for len(queue) > 0 {
		d := queue[0]
		queue = queue[1:]
		first := len(b.nodes)
		for lo := d.lo; lo < d.hi; {
			name, hi, isDir := b.group(d, lo)
			i := nodeIndex(len(b.nodes))
			if hi-lo > 1 && b.entries[b.order[lo]].Path[d.prefix:] == name {
				return nil, fmt.Errorf("%w: %q: named twice", ErrBadEntry, b.entries[b.order[lo]].Path)
			}
			e := b.order[lo]
			n := node{parent: d.dir, ino: b.inodes.of(b.entries[e].Path[:d.prefix+len(name)])}
			n.name, n.nameLen = b.put(name), uint8(len(name))
			if isDir {
				queue = append(queue, dirRange{dir: i, lo: lo, hi: hi, prefix: d.prefix + len(name) + 1})
				b.nodes[d.dir].size++
			} else {
				b.describe(&n, e)
				if n.kind == kindLink {
					links = append(links, i)
				} else {
					t.total += n.size
				}
			}
			b.nodes = append(b.nodes, n)
			lo = hi
		}
		b.nodes[d.dir].first, b.nodes[d.dir].more = uint32(first), uint32(len(b.nodes)-first)
	}
	for _, i := range links {
		n := &b.nodes[i]
		n.more = b.put(b.entries[n.first].Symlink)
	}
	if int64(b.arena.Len()) > math.MaxUint32 || t.total < 0 {
		return nil, fmt.Errorf("%w: names or sizes are too large together", ErrBadEntry)
	}
	b.dateDirs()
	t.nodes, t.arena = slices.Clip(b.nodes), slices.Clip(b.arena.Bytes())
	return t, nil
}

// group finds the paths from lo on that share the next path element, and whether that is a
// directory.
func (b *treeBuilder) group(d dirRange, lo int) (name string, hi int, isDir bool) {
	rest := b.entries[b.order[lo]].Path[d.prefix:]
	name, _, isDir = strings.Cut(rest, "/")
	for hi = lo + 1; hi < d.hi; hi++ {
		other := b.entries[b.order[hi]].Path[d.prefix:]
		if !strings.HasPrefix(other, name) || len(other) > len(name) && other[len(name)] != '/' {
			break
		}
	}
	return name, hi, isDir
}

func (b *treeBuilder) put(s string) uint32 {
	off := uint32(b.arena.Len())
	b.arena.WriteString(s)
	return off
}

// describe fills in what a node has from its entry.
func (b *treeBuilder) describe(n *node, e uint32) {
	entry := &b.entries[e]
	n.first, n.size = e, entry.Size
	if !entry.ModTime.IsZero() {
		n.mtime, n.nsec = entry.ModTime.Unix(), uint32(entry.ModTime.Nanosecond())
	}
	switch {
	case entry.Symlink != "":
		n.kind, n.size = kindLink, int64(len(entry.Symlink))
	case entry.Executable:
		n.kind = kindExec
	default:
		n.kind = kindFile
	}
}

// dateDirs gives each directory the time of the newest thing in it. Children come after their
// parents.
func (b *treeBuilder) dateDirs() {
	for i := len(b.nodes) - 1; i > 0; i-- {
		n, p := &b.nodes[i], &b.nodes[b.nodes[i].parent]
		if n.mtime > p.mtime || n.mtime == p.mtime && n.nsec > p.nsec {
			p.mtime, p.nsec = n.mtime, n.nsec
		}
	}
}

// path spells a node's path, for logs.
func (t *tree) path(i nodeIndex) string {
	var names []string
	for ; i != 0; i = t.nodes[i].parent {
		names = append(names, t.name(t.node(i)))
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}
