package crashfs

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"time"
)

// ErrCut is what every operation returns after the cut.
var ErrCut = errors.New("crashfs: power is off")

// sector is the unit that is written whole or not at all.
const sector = 512

// Op is one operation that could change or sync the disk, or read from it.
type Op struct {
	Kind string // "open", "create", "write", "read", "sync", "truncate", "punch", "mkdir", "symlink", "rename", "remove", "syncdir", "syncall"
	Name string
}

// FS is the disk. Use New.
type FS struct {
	mu     sync.Mutex
	root   *node
	ino    uint64
	ops    int
	cut    int // no operation from this one on; < 0: none
	died   time.Time
	rng    *rand.Rand
	inject func(Op) error
	locks  map[string]bool
	loss   Loss
	tells  bool // files have witnesses
	others bool // changes are another program's now
}

// Loss is what becomes of the data that a sync was to make durable and did not.
// Names are not lost.
type Loss int

const (
	// KeepsDirty has the next sync try again.
	KeepsDirty Loss = iota
	// CallsClean keeps it in memory as if it were on the disk: it reads well,
	// the next sync works, and a crash takes it.
	CallsClean
	// Reverts drops it: what was there before is read again.
	Reverts
)

// node is a directory, a file or a link.
type node struct {
	ino  uint64
	born int64
	mode fs.FileMode

	names, syncedNames map[string]*node // of a directory

	data, synced content // of a file
	dirty        map[int64]bool

	target string // of a link
	gone   bool   // no name leads to it

	byOthers uint64 // changes by other programs
}

type content struct {
	sectors map[int64]*[sector]byte // holes are absent; never changed in place
	size    int64
	mtime   int64
	ctime   int64 // each change makes it another, as a fine-grained clock does
}

func (c content) clone() content {
	c.sectors = maps.Clone(c.sectors)
	return c
}

// New makes an empty disk that is never cut.
func New() *FS {
	f := &FS{cut: -1, locks: make(map[string]bool)}
	f.root = f.newNode(fs.ModeDir | 0o755)
	return f
}

func (f *FS) newNode(mode fs.FileMode) *node {
	f.ino++
	n := &node{ino: f.ino, mode: mode}
	if mode.IsDir() {
		n.names, n.syncedNames = make(map[string]*node), make(map[string]*node)
	}
	if mode.IsRegular() {
		n.born = time.Now().UnixNano()
		n.data = content{sectors: make(map[int64]*[sector]byte), mtime: n.born, ctime: n.born}
		n.synced = content{sectors: make(map[int64]*[sector]byte), mtime: n.born, ctime: n.born}
		n.dirty = make(map[int64]bool)
	}
	return n
}

// TellsOfOthers has files tell of changes by other programs ([vfs.Witness]).
func (f *FS) TellsOfOthers() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tells = true
}

// Others runs fn, whose changes are another program's.
func (f *FS) Others(fn func()) {
	set := func(others bool) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.others = others
	}
	set(true)
	defer set(false)
	fn()
}

// CutAt lets n more operations work and then turns the power off. A write that
// it falls on is done in part, as rng decides.
func (f *FS) CutAt(n int, rng *rand.Rand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut, f.rng = f.ops+n, rng
}

// Inject calls fn before each operation; its error is the operation's. nil
// ends it. fn must not use the disk.
func (f *FS) Inject(fn func(Op) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inject = fn
}

// OnFailedSync says what becomes of the data of a sync that an injected error
// makes fail from now on.
func (f *FS) OnFailedSync(l Loss) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loss = l
}

// Ops is the number of operations so far.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// Died returns when the cut came; zero if it has not.
func (f *FS) Died() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.died
}

// step counts an operation and reports whether it may go on. mu is held.
func (f *FS) step(kind, name string) error {
	if f.cut >= 0 && f.ops >= f.cut {
		return ErrCut
	}
	f.ops++
	if f.cut >= 0 && f.ops >= f.cut {
		f.died = time.Now()
		if kind != "write" {
			return ErrCut
		}
	}
	if f.inject != nil {
		return f.inject(Op{kind, name})
	}
	return nil
}

// Kill is the disk after the process died and the system did not: all that was
// written is there.
func (f *FS) Kill() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.survive(func() bool { return true })
}

// Crash is the disk after a power cut: what was synced is there, and of the
// rest what rng picks; nothing with a nil rng.
func (f *FS) Crash(rng *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.survive(func() bool { return rng != nil && rng.IntN(2) == 0 })
}

func (f *FS) survive(keep func() bool) *FS {
	g := &FS{cut: -1, locks: make(map[string]bool), ino: f.ino}
	g.root = f.root.survive(keep, make(map[*node]*node))
	return g
}

// survive copies the tree; seen keeps a node with two names one node.
func (n *node) survive(keep func() bool, seen map[*node]*node) *node {
	if m := seen[n]; m != nil {
		return m
	}
	m := &node{ino: n.ino, mode: n.mode, target: n.target, born: n.born}
	seen[n] = m
	switch {
	case n.mode.IsDir():
		m.names = make(map[string]*node)
		all := maps.Clone(n.syncedNames)
		maps.Copy(all, n.names)
		for _, name := range sortedKeys(all) {
			entry := n.syncedNames[name]
			if n.names[name] != entry && keep() {
				entry = n.names[name]
			}
			if entry != nil {
				m.names[name] = entry.survive(keep, seen)
			}
		}
		m.syncedNames = maps.Clone(m.names)
	case n.mode.IsRegular():
		m.data = n.surviving(keep)
		m.synced = m.data.clone()
		m.dirty = make(map[int64]bool)
	}
	return m
}

func (n *node) surviving(keep func() bool) content {
	c := n.synced.clone()
	if n.data.ctime != c.ctime && keep() {
		c.mtime, c.ctime = n.data.mtime, n.data.ctime
	}
	if n.data.size != c.size && keep() {
		c.size = n.data.size
	}
	for _, i := range sortedKeys(n.dirty) {
		if !keep() {
			continue
		}
		if s := n.data.sectors[i]; s != nil {
			c.sectors[i] = s
			c.size = max(c.size, min(n.data.size, (i+1)*sector))
		} else {
			delete(c.sectors, i)
		}
	}
	for i := range c.sectors {
		if i*sector >= c.size {
			delete(c.sectors, i)
		}
	}
	return c
}

// walk finds a name; links are not followed. mu is held.
func (f *FS) walk(op, name string) (*node, error) {
	n := f.root
	if name == "." {
		return n, nil
	}
	for _, elem := range strings.Split(name, "/") {
		if !n.mode.IsDir() {
			return nil, pathError(op, name, errNotDir)
		}
		if n = n.names[elem]; n == nil {
			return nil, pathError(op, name, fs.ErrNotExist)
		}
	}
	return n, nil
}

// parent finds the directory of a name. mu is held.
func (f *FS) parent(op, name string) (*node, string, error) {
	d, err := f.walk(op, path.Dir(name))
	if err == nil && !d.mode.IsDir() {
		err = pathError(op, name, errNotDir)
	}
	return d, path.Base(name), err
}

var errNotDir = errors.New("not a directory")

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}
