package fs_test

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"torrentfs/fs"
)

// SIGTERM, which a server answers by Unmount, ends a mount that is in use: readers fail, the
// directory is free.
func TestUnmountWithBlockedReaders(t *testing.T) {
	for name, bounce := range map[string]fs.Bounce{"auto": fs.BounceAuto, "off": fs.BounceOff} {
		t.Run(name, func(t *testing.T) {
			const readers = 50
			s := startServer(t, serverConfig{Bounce: bounce, Files: []fileConfig{{Path: "a", Size: readers << 20, Missing: true}}})
			f, err := os.Open(s.path("a"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			results := make(chan error, readers)
			for i := range int64(readers) {
				go func() {
					_, err := f.ReadAt(make([]byte, 4096), i<<20)
					results <- err
				}()
			}
			eventually(t, "all readers wait", func() bool { return s.stats().Waiting >= readers })
			if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			must(t, "readers", func() error {
				for range readers {
					if err := <-results; !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ENOTCONN) {
						t.Errorf("read: %v, want EIO or ENOTCONN", err)
					}
				}
				return nil
			})
			if !s.wait() {
				t.Fatal("the server did not end")
			}
			if mounted(s.dir) {
				t.Error("still mounted")
			}
		})
	}
}

// Nothing stays behind in the process: no goroutine, no descriptor, no open File.
func TestUnmountLeavesNothing(t *testing.T) {
	s := startServer(t, serverConfig{Files: []fileConfig{
		{Path: "a", Size: 1 << 20},
		{Path: "b", Size: 1 << 20, Complete: true},
		{Path: "c", Size: 1 << 20, Missing: true},
	}})
	for range 20 {
		for _, name := range []string{"a", "b"} {
			must(t, name, func() error { _, err := os.ReadFile(s.path(name)); return err })
		}
	}
	eventually(t, "all files are closed", func() bool { return s.ask("open") == "0" })
	s.ask("fds")
	fds := s.ask("fds")
	for range 20 {
		must(t, "read", func() error { _, err := os.ReadFile(s.path("a")); return err })
	}
	eventually(t, "all files are closed", func() bool { return s.ask("open") == "0" })
	if got := s.ask("fds"); got != fds {
		t.Errorf("%s descriptors are open, were %s", got, fds)
	}
	held, err := os.Open(s.path("c")) // in use: the mount must be detached
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	s.ask("unmount")
	if mounted(s.dir) {
		t.Error("still mounted")
	}
	if got := s.ask("open"); got != "0" {
		t.Errorf("%s files are open after unmount", got)
	}
	held.Close()
	s.ask("unmount") // again: no error
	s.ask("leaks")
}

// The mount is unmounted by another program: the server notices and Wait returns.
func TestUnmountedByOthersAsRoot(t *testing.T) {
	needRoot(t)
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: 1 << 20}}})
	must(t, "umount", func() error { return unix.Unmount(s.dir, 0) })
	s.ask("unmount")
	s.ask("leaks")
}

// A file that completes while it is open: old handles go on, new ones are passed through, no open
// ever fails.
func TestCompletionWhileOpenAsRoot(t *testing.T) {
	needRoot(t)
	const size = 300_000
	files, pace := 8, int64(200)
	if os.Getenv("TORRENTFS_BENCH") == "1" {
		files, pace = 500, 400
	}
	var c serverConfig
	for i := range files {
		c.Files = append(c.Files, fileConfig{Path: fmt.Sprint("f", i), Size: size})
	}
	s := startServer(t, c)
	var held []*os.File
	inos := make(map[string]uint64)
	for _, f := range c.Files {
		file, err := os.Open(s.path(f.Path))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		held = append(held, file)
		var st unix.Stat_t
		must(t, "stat", func() error { return unix.Fstat(int(file.Fd()), &st) })
		inos[f.Path] = st.Ino
	}
	var stop atomic.Bool
	var opens atomic.Int64
	errs := make(chan error, 8)
	var wg sync.WaitGroup
	for r := range 4 {
		wg.Go(func() {
			b := make([]byte, 5000)
			for n := r; !stop.Load(); n++ {
				i := n % files
				off := int64(n*4999) % (size - 5000)
				err := withFile(s.path(c.Files[i].Path), 0, func(f *os.File) error {
					_, err := f.ReadAt(b, off)
					return errors.Join(err, checkBytes(b, uint64(i+1), off))
				})
				if err != nil {
					errs <- err
					return
				}
				opens.Add(1)
			}
		})
	}
	for i := range files {
		from := opens.Load()
		eventually(t, "opens go on", func() bool { return opens.Load() > from+pace || len(errs) > 0 })
		s.ask("complete %d", i)
	}
	from := opens.Load()
	eventually(t, "opens go on", func() bool { return opens.Load() > from+500 || len(errs) > 0 })
	stop.Store(true)
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Errorf("after %d opens: %v", opens.Load(), err)
	}
	// All names lead to passed-through inodes by now, although the first handles are still open.
	before := s.stats()
	for i, f := range c.Files {
		must(t, "read "+f.Path, func() error {
			b, err := os.ReadFile(s.path(f.Path))
			return errors.Join(err, checkBytes(b, uint64(i+1), 0))
		})
		must(t, "read through the old handle", func() error {
			b := make([]byte, size)
			_, err := held[i].ReadAt(b, 0)
			return errors.Join(err, checkBytes(b, uint64(i+1), 0))
		})
		var st unix.Stat_t
		must(t, "stat", func() error { return unix.Stat(s.path(f.Path), &st) })
		if st.Ino != inos[f.Path] {
			t.Errorf("%s: inode number %d became %d", f.Path, inos[f.Path], st.Ino)
		}
	}
	after := s.stats()
	if got := after.PassthroughOpens - before.PassthroughOpens; got != uint64(files) {
		t.Errorf("%d of %d opens were passed through", got, files)
	}
	t.Logf("%d opens, %d passed through", after.Opens, after.PassthroughOpens)
}

// Reads of a complete file do not reach the server at all.
func TestPassthroughServesNoReadsAsRoot(t *testing.T) {
	needRoot(t)
	const size = 4 << 20
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: size, Complete: true}}})
	for way, read := range waysToRead(t, size) {
		must(t, way, func() error { return read(s.path("a"), 1) })
	}
	if st := s.stats(); st.Reads != 0 || st.PassthroughOpens != st.Opens {
		t.Errorf("%+v", st)
	}
}

// A file that the kernel serves by itself is not lent to further opens once another program has
// changed it: the open that finds this out, and those after it, read what the source vouches for,
// from the same inode number, while the first handle is open.
func TestChangedBackingFileIsNotLentAsRoot(t *testing.T) {
	needRoot(t)
	const size = 1 << 20
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: size, Complete: true}}})
	read := func() error {
		b, err := os.ReadFile(s.path("a"))
		return errors.Join(err, checkBytes(b, 1, 0))
	}
	inode := func() (ino uint64) {
		must(t, "stat", func() error {
			var st unix.Stat_t
			err := unix.Stat(s.path("a"), &st)
			ino = st.Ino
			return err
		})
		return ino
	}
	before := inode()
	var held *os.File
	must(t, "open", func() (err error) { held, err = os.Open(s.path("a")); return err })
	defer held.Close()
	must(t, "read", read)
	if st := s.stats(); st.Reads != 0 || st.PassthroughOpens != 2 {
		t.Fatalf("before the change: %+v", st)
	}
	if got := s.ask("spoil 0"); got != "ok" {
		t.Fatal(got)
	}
	for range 3 {
		must(t, "read after the change", read)
	}
	if st := s.stats(); st.Reads == 0 || st.PassthroughOpens != 2 {
		t.Errorf("after the change: %+v", st)
	}
	if after := inode(); after != before {
		t.Errorf("inode number %d became %d", before, after)
	}
}

// Without the privilege, or with NoPassthrough, the same file is served by reads.
func TestNoPassthrough(t *testing.T) {
	const size = 1 << 20
	s := startServer(t, serverConfig{NoPassthrough: true, Files: []fileConfig{{Path: "a", Size: size, Complete: true}}})
	must(t, "read", func() error {
		b, err := os.ReadFile(s.path("a"))
		return errors.Join(err, checkBytes(b, 1, 0))
	})
	if st := s.stats(); st.Reads == 0 || st.PassthroughOpens != 0 {
		t.Errorf("%+v", st)
	}
}

// A backing file that the kernel will not have is served by reads, every time.
func TestRefusedBackingFile(t *testing.T) {
	const size = 1 << 20
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: size, Fail: "refused"}}})
	for range 10 {
		must(t, "read", func() error {
			b, err := os.ReadFile(s.path("a"))
			return errors.Join(err, checkBytes(b, 1, 0))
		})
	}
	if st := s.stats(); st.Reads == 0 || st.PassthroughOpens != 0 {
		t.Errorf("%+v", st)
	}
}

// A server that was detached and replaced leaves its successor alone.
func TestUnmountSparesSuccessorAsRoot(t *testing.T) {
	needRoot(t)
	c := serverConfig{Dir: t.TempDir(), Files: []fileConfig{{Path: "a", Size: 1 << 20}}}
	first := startServer(t, c)
	held, err := os.Open(first.path("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	must(t, "umount", func() error { return unix.Unmount(c.Dir, unix.MNT_DETACH) })
	second := startServer(t, c)
	first.ask("unmount")
	if !mounted(c.Dir) {
		t.Error("the second mount is gone")
	}
	must(t, "read", func() error { _, err := os.ReadFile(second.path("a")); return err })
	second.stop()
}

var _ fs.Source = (*fakeSource)(nil)
