//go:build linux

package harness

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// faultVariable makes this test binary a faulty disk: it names the directory
// that holds the disk's content, and the mount point.
const faultVariable = "TORRENTFS_INTEGRATION_DISK"

// faultAttribute is the extended attribute of the disk's root by which a test
// says what is wrong with the disk. Its value has a line for each operation:
// read, write, sync, or change (of a directory, and opening for writing);
// behind it an errno ("EIO"), an errno for one of so many by chance ("EIO/3")
// or for exactly each so many'th ("EIO%3"), a duration ("300ms") or "hold",
// which lasts until the fault is taken away. "lose" is the sync of a file that is
// not resume data; one that fails takes with it what was written since the last.
const faultAttribute = "user.fault"

// FaultyDisk is a mounted file system that fails on demand. What it took lies
// in the directory content.
type FaultyDisk struct {
	T       testing.TB
	Dir     string // the mount point
	Content string
}

// NewFaultyDisk mounts a disk that works, in a process of its own.
func NewFaultyDisk(t testing.TB) *FaultyDisk {
	t.Helper()
	NeedPrivateNetwork(t) // and with it, mounts of our own
	d := &FaultyDisk{T: t, Dir: Mkdir(t, Scratch(t), "disk"), Content: Scratch(t)}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := Command{Name: self, Args: []string{"disk"}, Env: []string{faultVariable + "=" + d.Content + "\n" + d.Dir}}.Start(t)
	t.Cleanup(func() {
		_ = unix.Setxattr(d.Dir, faultAttribute, nil, 0) // nobody can go while an operation is held; it may be gone itself
		if err := Detach(d.Dir); err != nil {
			t.Error(err)
		}
		p.Wait()
	})
	Eventually(t, "the disk is mounted", func() bool {
		if !p.Running() {
			t.Fatalf("the disk ended: %s", p.Stderr.Tail(5))
		}
		return Mounted(t, d.Dir)
	})
	return d
}

// Fail makes operations fail from now on, as faultAttribute says; without any
// all is well again.
func (d *FaultyDisk) Fail(faults ...string) {
	d.T.Helper()
	if err := unix.Setxattr(d.Dir, faultAttribute, []byte(strings.Join(faults, "\n")), 0); err != nil {
		d.T.Fatal(os.NewSyscallError("setxattr", err))
	}
}

// Hits is how often the present faults were felt.
func (d *FaultyDisk) Hits() int {
	d.T.Helper()
	b := make([]byte, 32)
	n, err := unix.Getxattr(d.Dir, faultAttribute, b)
	if err != nil {
		d.T.Fatal(os.NewSyscallError("getxattr", err))
	}
	hits, err := strconv.Atoi(string(b[:n]))
	if err != nil {
		d.T.Fatal(err)
	}
	return hits
}

// Felt waits until the present faults were felt at least so often.
func (d *FaultyDisk) Felt(times int) {
	d.T.Helper()
	Eventually(d.T, fmt.Sprintf("%d operations of the disk have failed", times), func() bool { return d.Hits() >= times })
}

// serveDisk is the disk's process.
func serveDisk(spec string) error {
	content, dir, _ := strings.Cut(spec, "\n")
	data := &gofs.LoopbackRoot{Path: content}
	root := &diskNode{&gofs.LoopbackNode{RootData: data}, &faults{changed: make(chan struct{}), written: map[uint64][]extent{}, ctimes: map[uint64]shownTime{}}}
	data.RootNode = root
	server, err := gofs.Mount(dir, root, &gofs.Options{MountOptions: fuse.MountOptions{
		DirectMountStrict: true, FsName: "faulty", MaxWrite: 1 << 20,
	}})
	if err != nil {
		return err
	}
	server.Wait()
	return nil
}

// fault is what is wrong with an operation.
type fault struct {
	errno syscall.Errno
	every int  // of so many, one fails
	exact bool // by count, in step with who tries again; else by chance
	n     int  // operations so far
	delay time.Duration
	hold  bool
}

// faults are what is wrong with the disk.
type faults struct {
	mu      sync.Mutex
	of      map[string]*fault
	hits    int
	chance  *rand.Rand
	changed chan struct{} // closed with the next change

	written map[uint64][]extent  // by inode: since the last sync
	ctimes  map[uint64]shownTime // by inode: of files that lost something
}

// stamp is a time as the system tells it.
type stamp struct {
	sec  uint64
	nsec uint32
}

// shownTime is what a file's ctime is shown as for as long as it is in truth another one: a disk that loses what it took
// changes no date.
type shownTime struct{ truth, shown stamp }

// showCtime is to be called with what the system says of a file; mu is held.
func (f *faults) showCtime(ino uint64, ctime stamp) stamp {
	if t := f.ctimes[ino]; t.truth == ctime {
		return t.shown
	}
	return ctime
}

// extent is a part of a file.
type extent struct{ off, n uint64 }

func (f *faults) set(text string) error {
	of := map[string]*fault{}
	for line := range strings.Lines(text) {
		op, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		errno, every, exact := strings.Cut(what, "%")
		if !exact {
			errno, every, _ = strings.Cut(what, "/")
		}
		ft := &fault{hold: what == "hold", every: 1, exact: exact}
		if every != "" {
			ft.every, _ = strconv.Atoi(every)
		}
		switch errno {
		case "EIO":
			ft.errno = syscall.EIO
		case "EROFS":
			ft.errno = syscall.EROFS
		default:
			var err error
			if ft.delay, err = time.ParseDuration(what); err != nil && !ft.hold {
				return err
			}
		}
		if !slices.Contains([]string{"read", "write", "sync", "change", "lose"}, op) || ft.every < 1 {
			return fmt.Errorf("parse fault %q", line)
		}
		of[op] = ft
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of, f.hits, f.chance = of, 0, rand.New(rand.NewPCG(9, 9))
	close(f.changed)
	f.changed = make(chan struct{})
	return nil
}

// feel is what happens to an operation: it waits as long as the operation is to take, like a real
// disk without a thought for signals, and returns how it is to end.
func (f *faults) feel(op string) syscall.Errno {
	f.mu.Lock()
	ft, changed := f.of[op], f.changed
	if ft == nil {
		f.mu.Unlock()
		return 0
	}
	ft.n++
	if ft.errno != 0 && (ft.exact && ft.n%ft.every != 0 || !ft.exact && f.chance.IntN(ft.every) != 0) {
		f.mu.Unlock()
		return 0
	}
	f.hits++
	f.mu.Unlock()
	switch {
	case ft.hold:
		<-changed
	case ft.delay > 0:
		select {
		case <-time.After(ft.delay):
		case <-changed:
		}
	}
	return ft.errno
}

// diskNode is a file or directory of a faulty disk.
type diskNode struct {
	*gofs.LoopbackNode
	faults *faults
}

// WrapChild makes the library's nodes ours.
func (n *diskNode) WrapChild(_ context.Context, ops gofs.InodeEmbedder) gofs.InodeEmbedder {
	return &diskNode{ops.(*gofs.LoopbackNode), n.faults}
}

func (n *diskNode) Getattr(ctx context.Context, h gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.faults.mu.Lock()
	defer n.faults.mu.Unlock()
	errno := n.LoopbackNode.Getattr(ctx, h, out)
	c := n.faults.showCtime(out.Ino, stamp{out.Ctime, out.Ctimensec})
	out.Ctime, out.Ctimensec = c.sec, c.nsec
	return errno
}

func (n *diskNode) Statx(ctx context.Context, h gofs.FileHandle, flags, mask uint32, out *fuse.StatxOut) syscall.Errno {
	n.faults.mu.Lock()
	defer n.faults.mu.Unlock()
	errno := n.LoopbackNode.Statx(ctx, h, flags, mask, out)
	c := n.faults.showCtime(out.Ino, stamp{out.Statx.Ctime.Sec, out.Statx.Ctime.Nsec})
	out.Statx.Ctime.Sec, out.Statx.Ctime.Nsec = c.sec, c.nsec
	return errno
}

func (n *diskNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	n.faults.mu.Lock()
	defer n.faults.mu.Unlock()
	in, errno := n.LoopbackNode.Lookup(ctx, name, out)
	c := n.faults.showCtime(out.Ino, stamp{out.Ctime, out.Ctimensec})
	out.Ctime, out.Ctimensec = c.sec, c.nsec
	return in, errno
}

func (n *diskNode) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		if errno := n.faults.feel("change"); errno != 0 {
			return nil, 0, errno
		}
	}
	h, _, errno := n.LoopbackNode.Open(ctx, flags)
	return n.wrap(h, n.Path(n.Root())), fuse.FOPEN_DIRECT_IO, errno
}

func (n *diskNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	if errno := n.faults.feel("change"); errno != 0 {
		return nil, nil, 0, errno
	}
	in, h, _, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	return in, n.wrap(h, filepath.Join(n.Path(n.Root()), name)), fuse.FOPEN_DIRECT_IO, errno
}

func (n *diskNode) wrap(h gofs.FileHandle, path string) gofs.FileHandle {
	if f, ok := h.(*gofs.LoopbackFile); ok {
		return &diskFile{LoopbackFile: f, faults: n.faults, content: filepath.Join(n.RootData.Path, path), payload: !strings.HasPrefix(path, ".torrentfs/")}
	}
	return h
}

func (n *diskNode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if errno := n.faults.feel("change"); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Mkdir(ctx, name, mode, out)
}

func (n *diskNode) Rename(ctx context.Context, name string, to gofs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if errno := n.faults.feel("change"); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rename(ctx, name, to, newName, flags)
}

func (n *diskNode) Unlink(ctx context.Context, name string) syscall.Errno {
	if errno := n.faults.feel("change"); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

func (n *diskNode) Setxattr(_ context.Context, attr string, data []byte, _ uint32) syscall.Errno {
	if attr != faultAttribute {
		return syscall.ENOTSUP
	}
	if err := n.faults.set(string(data)); err != nil {
		return syscall.EINVAL
	}
	return 0
}

func (n *diskNode) Getxattr(_ context.Context, attr string, dest []byte) (uint32, syscall.Errno) {
	if attr != faultAttribute {
		return 0, syscall.ENODATA
	}
	n.faults.mu.Lock()
	defer n.faults.mu.Unlock()
	hits := strconv.AppendInt(nil, int64(n.faults.hits), 10)
	copy(dest, hits)
	return uint32(len(hits)), 0 //nolint:gosec // a few digits
}

// diskFile is an open file of a faulty disk.
type diskFile struct {
	*gofs.LoopbackFile
	faults  *faults
	content string // where its bytes lie
	payload bool   // not resume data
}

// PassthroughFd keeps the kernel from going past the faults.
func (f *diskFile) PassthroughFd() (int, bool) { return 0, false }

func (f *diskFile) Read(ctx context.Context, buf []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if errno := f.faults.feel("read"); errno != 0 {
		return nil, errno
	}
	return f.LoopbackFile.Read(ctx, buf, off)
}

func (f *diskFile) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	if errno := f.faults.feel("write"); errno != 0 {
		return 0, errno
	}
	n, errno := f.LoopbackFile.Write(ctx, data, off)
	if f.payload {
		f.faults.mu.Lock()
		ino, _ := f.state(ctx)
		f.faults.written[ino] = append(f.faults.written[ino], extent{uint64(off), uint64(n)}) //nolint:gosec // not negative
		f.faults.mu.Unlock()
	}
	return n, errno
}

// state is the file's inode number, and its ctime in truth.
func (f *diskFile) state(ctx context.Context) (ino uint64, ctime stamp) {
	var out fuse.AttrOut
	f.Getattr(ctx, &out)
	return out.Ino, stamp{out.Ctime, out.Ctimensec}
}

// lose drops what was written since the last sync: it reads as zeros.
func (f *diskFile) lose(ctx context.Context) syscall.Errno {
	h, err := os.OpenFile(f.content, os.O_RDWR, 0)
	if err != nil {
		return gofs.ToErrno(err)
	}
	defer h.Close()
	f.faults.mu.Lock()
	defer f.faults.mu.Unlock()
	st, err := h.Stat()
	if err != nil {
		return gofs.ToErrno(err)
	}
	ino, before := f.state(ctx)
	shown := f.faults.showCtime(ino, before)
	for _, e := range f.faults.written[ino] {
		if _, err := h.WriteAt(make([]byte, e.n), int64(e.off)); err != nil { //nolint:gosec // as it was written
			return gofs.ToErrno(err)
		}
	}
	delete(f.faults.written, ino)
	if err := os.Chtimes(f.content, time.Time{}, st.ModTime()); err != nil { // which the system knows, and no loss changes
		return gofs.ToErrno(err)
	}
	_, after := f.state(ctx)
	f.faults.ctimes[ino] = shownTime{after, shown}
	return 0
}

// Writev is what the library prefers to Write.
func (f *diskFile) Writev(ctx context.Context, data [][]byte, off int64) (uint32, syscall.Errno) {
	return f.Write(ctx, bytes.Join(data, nil), off)
}

func (f *diskFile) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	if errno := f.faults.feel("sync"); errno != 0 {
		return errno
	}
	if f.payload {
		if errno := f.faults.feel("lose"); errno != 0 {
			if failed := f.lose(ctx); failed != 0 {
				panic(failed) // the test would show nothing
			}
			return errno
		}
		ino, _ := f.state(ctx)
		f.faults.mu.Lock()
		delete(f.faults.written, ino)
		f.faults.mu.Unlock()
	}
	return f.LoopbackFile.Fsync(ctx, flags)
}

func (f *diskFile) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	if errno := f.faults.feel("write"); errno != 0 {
		return errno
	}
	return f.LoopbackFile.Allocate(ctx, off, size, mode)
}

// Found checks that everything is on the disk, and that the next start finds
// it there without asking anybody.
func (d *FaultyDisk) Found(c Content) {
	d.T.Helper()
	SameFile(d.T, c.Root(), filepath.Join(d.Content, c.Name))
	m := MountOn(d.T, c, d.Dir, nil)
	m.Complete()
	SameFile(d.T, c.Root(), m.Path(c.Name))
	if last := m.Stop(); last.Number("downloaded") != 0 {
		d.T.Errorf("downloaded %d bytes from nobody", last.Number("downloaded"))
	}
}
