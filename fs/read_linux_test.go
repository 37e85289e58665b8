package fs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"torrentfs/fs"
)

// Every way to read, of every kind of file, gives the right bytes.
func TestEveryWayToRead(t *testing.T) {
	const size = 512<<10 + 4097
	kinds := []fileConfig{
		{Path: "stored", Size: size},
		{Path: "memory", Size: size, Memory: true},
		{Path: "complete", Size: size, Complete: true},
		{Path: "arriving", Size: size, Missing: true, Delay: time.Millisecond},
		{Path: "unhinted", Size: size, Missing: true, Delay: time.Millisecond, NoHint: true},
	}
	for name, bounce := range map[string]fs.Bounce{"auto": fs.BounceAuto, "on": fs.BounceOn, "off": fs.BounceOff} {
		t.Run(name, func(t *testing.T) {
			ways := waysToRead(t, size)
			c := serverConfig{Bounce: bounce}
			for way := range ways { // files of its own for each: the kernel's cache must not answer for us
				for _, kind := range kinds {
					kind.Path = way + "/" + kind.Path
					c.Files = append(c.Files, kind)
				}
			}
			s := startServer(t, c)
			for i, file := range c.Files {
				read := ways[filepath.Dir(file.Path)]
				before := s.stats()
				must(t, file.Path, func() error { return read(s.path(file.Path), uint64(i+1)) })
				after := s.stats()
				bounces := bounce != fs.BounceOff && file.Missing && filepath.Dir(file.Path) != "direct"
				if (after.Bounced > before.Bounced) != bounces {
					t.Errorf("%s: %d reads were bounced", file.Path, after.Bounced-before.Bounced)
				}
				if (after.MemoryReads > before.MemoryReads) != file.Memory {
					t.Errorf("%s: %d reads were answered from memory", file.Path, after.MemoryReads-before.MemoryReads)
				}
				passed := file.Complete && os.Geteuid() == 0
				if (after.PassthroughOpens > before.PassthroughOpens) != passed || (after.Reads == before.Reads) != passed {
					t.Errorf("%s: %d opens were passed through, %d reads arrived", file.Path,
						after.PassthroughOpens-before.PassthroughOpens, after.Reads-before.Reads)
				}
			}
		})
	}
}

func waysToRead(t *testing.T, size int64) map[string]func(path string, seed uint64) error {
	whole := func(b []byte, seed uint64) error {
		if int64(len(b)) != size {
			return fmt.Errorf("%d bytes, want %d", len(b), size)
		}
		return checkBytes(b, seed, 0)
	}
	return map[string]func(path string, seed uint64) error{
		"read": func(path string, seed uint64) error {
			b, err := os.ReadFile(path)
			return errors.Join(err, whole(b, seed))
		},
		"mmap": func(path string, seed uint64) error {
			return withFile(path, 0, func(f *os.File) error {
				b, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
				if err != nil {
					return err
				}
				defer unix.Munmap(b)
				for range 50 { // here and there first, then in order
					i := rand.Int64N(size - 8)
					if err := checkBytes(b[i:i+8], seed, i); err != nil {
						return err
					}
				}
				return whole(b, seed)
			})
		},
		"sendfile": func(path string, seed uint64) error {
			return withFile(path, 0, func(f *os.File) error {
				out, err := os.Create(filepath.Join(t.TempDir(), "out"))
				if err != nil {
					return err
				}
				defer out.Close()
				for {
					n, err := unix.Sendfile(int(out.Fd()), int(f.Fd()), nil, 1<<20)
					if err != nil || n == 0 {
						b, _ := os.ReadFile(out.Name())
						return errors.Join(err, whole(b, seed))
					}
				}
			})
		},
		"random readers": func(path string, seed uint64) error {
			var wg sync.WaitGroup
			errs := make([]error, 4)
			for r := range errs {
				wg.Go(func() {
					errs[r] = withFile(path, 0, func(f *os.File) error {
						rng := rand.New(rand.NewPCG(seed, uint64(r)))
						for range 60 {
							b := make([]byte, 1+rng.IntN(200_000))
							off := rng.Int64N(size)
							n, err := f.ReadAt(b, off)
							if err != nil && (err != io.EOF || off+int64(n) != size) {
								return err
							}
							if err := checkBytes(b[:n], seed, off); err != nil {
								return err
							}
						}
						return nil
					})
				})
			}
			wg.Wait()
			return errors.Join(errs...)
		},
		"direct": func(path string, seed uint64) error {
			return withFile(path, unix.O_DIRECT, func(f *os.File) error {
				b := alignedBuffer(256 << 10)
				for off := int64(0); off < size; {
					n, err := unix.Pread(int(f.Fd()), b, off)
					if err != nil {
						return fmt.Errorf("at %d: %w", off, err)
					}
					if n == 0 {
						return fmt.Errorf("end at %d", off)
					}
					if err := checkBytes(b[:n], seed, off); err != nil {
						return err
					}
					off += int64(n)
				}
				return nil
			})
		},
		"sparse copy": func(path string, seed uint64) error {
			out := filepath.Join(t.TempDir(), "out")
			if msg, err := exec.Command("cp", "--sparse=auto", "--reflink=never", path, out).CombinedOutput(); err != nil {
				return fmt.Errorf("cp: %w: %s", err, msg)
			}
			b, err := os.ReadFile(out)
			return errors.Join(err, whole(b, seed))
		},
	}
}

func withFile(path string, flags int, f func(*os.File) error) error {
	file, err := os.OpenFile(path, os.O_RDONLY|flags, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	return f(file)
}

func alignedBuffer(n int) []byte {
	b := make([]byte, n+4096)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & 4095
	return b[skip : skip+n]
}

// Whatever is missing, a file is one piece of data up to its end.
func TestNoHoles(t *testing.T) {
	const size = 1 << 20
	s := startServer(t, serverConfig{Files: []fileConfig{
		{Path: "missing", Size: size, Missing: true},
		{Path: "complete", Size: size, Complete: true},
	}})
	for _, name := range []string{"missing", "complete"} {
		must(t, name, func() error {
			return withFile(s.path(name), 0, func(f *os.File) error {
				for _, off := range []int64{0, 4096, size - 1} {
					hole, err := unix.Seek(int(f.Fd()), off, unix.SEEK_HOLE)
					if hole != size || err != nil {
						t.Errorf("%s: hole after %d at %d, %v", name, off, hole, err)
					}
					data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
					if data != off || err != nil {
						t.Errorf("%s: data after %d at %d, %v", name, off, data, err)
					}
				}
				if _, err := unix.Seek(int(f.Fd()), size, unix.SEEK_DATA); !errors.Is(err, unix.ENXIO) {
					t.Errorf("%s: data at the end: %v", name, err)
				}
				return nil
			})
		})
	}
}

// A kernel that asks for a whole window of read-ahead still gives a reader its page as soon as that page is there.
func TestReadWaitsForItsPageOnly(t *testing.T) {
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: 1 << 20, Missing: true}}})
	s.ask("release 0 4096")
	must(t, "read the first page", func() error {
		return withFile(s.path("a"), 0, func(f *os.File) error {
			b := make([]byte, 4096)
			if _, err := f.ReadAt(b, 0); err != nil {
				return err
			}
			return checkBytes(b, 1, 0)
		})
	})
}

// A thousand readers that wait leave the rest of the mount alone.
func TestBlockedReadersStarveNobody(t *testing.T) {
	const readers = 1000
	for name, bounce := range map[string]fs.Bounce{"auto": fs.BounceAuto, "off": fs.BounceOff} {
		t.Run(name, func(t *testing.T) {
			files := []fileConfig{{Path: "free", Size: 8 << 20}, {Path: "blocked", Size: readers << 18, Missing: true}}
			s := startServer(t, serverConfig{Files: files, Bounce: bounce, NoPassthrough: true})
			before, _ := strconv.Atoi(s.ask("memory"))
			blocked, err := os.Open(s.path("blocked"))
			if err != nil {
				t.Fatal(err)
			}
			results := make(chan error, readers)
			for i := range int64(readers) {
				go func() {
					b := make([]byte, 4096)
					_, err := blocked.ReadAt(b, i<<18)
					results <- errors.Join(err, checkBytes(b, 2, i<<18))
				}()
			}
			eventually(t, "all readers wait", func() bool { return s.stats().Waiting >= readers })
			must(t, "read the other file", func() error {
				b, err := os.ReadFile(s.path("free"))
				return errors.Join(err, checkBytes(b, 1, 0))
			})
			after, _ := strconv.Atoi(s.ask("memory"))
			t.Logf("heap grew by %d KiB for %d blocked readers", (after-before)>>10, readers)
			s.ask("release 1 %d", readers<<18)
			must(t, "the blocked readers", func() error {
				defer blocked.Close()
				for range readers {
					if err := <-results; err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

// Signals that kill free a reader, and its file with it.
func TestSignalsFreeReader(t *testing.T) {
	for name, bounce := range map[string]fs.Bounce{"auto": fs.BounceAuto, "off": fs.BounceOff} {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGKILL} {
			if bounce == fs.BounceOff && sig == syscall.SIGQUIT {
				continue // the kernel waits for a page with all signals but SIGKILL held back, and this one dumps core
			}
			t.Run(name+"/"+sig.String(), func(t *testing.T) {
				s := startServer(t, serverConfig{Bounce: bounce, Files: []fileConfig{{Path: "a", Size: 8 << 20, Missing: true}}})
				cat := exec.Command("cat", s.path("a"))
				if err := cat.Start(); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- cat.Wait() }()
				eventually(t, "cat waits", func() bool { return s.stats().Waiting > 0 })
				if err := cat.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				must(t, "cat", func() error { <-ended; return nil })
				if got := cat.ProcessState.Sys().(syscall.WaitStatus).Signal(); got != sig {
					t.Errorf("cat ended by %v: %v", got, cat.ProcessState)
				}
				eventually(t, "no read waits", func() bool { return s.stats().Waiting == 0 })
				eventually(t, "the file is closed", func() bool { return s.ask("open") == "0" })
			})
		}
	}
}

// signalledReaderMain reads one page with a handler for SIGUSR1, and prints what the system call answered.
func signalledReaderMain() {
	fd, err := unix.Open(os.Getenv("TORRENTFS_TEST_FILE"), unix.O_RDONLY, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	b := make([]byte, 4096)
	n, err := unix.Pread(fd, b, 0)
	fmt.Println(n, err, checkBytes(b, 1, 0))
}

// A signal that the reader handles is none of our business: Go programs send themselves SIGURG all the time.
func TestHandledSignalsDoNotEndRead(t *testing.T) {
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: 8 << 20, Missing: true}}})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	reader := exec.Command(self)
	reader.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "TORRENTFS_TEST_ROLE=signalled", "TORRENTFS_TEST_FILE="+s.path("a"))
	var out bytes.Buffer
	reader.Stdout, reader.Stderr = &out, &out
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reader waits", func() bool { return s.stats().Waiting > 0 })
	// Every thread, as the blocked one is not known.
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", reader.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		for _, task := range tasks {
			tid, _ := strconv.Atoi(task.Name())
			_ = unix.Tgkill(reader.Process.Pid, tid, unix.SIGURG)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if got := s.stats().Waiting; got == 0 {
		t.Error("the read ended")
	}
	s.ask("release 0 %d", 8<<20)
	must(t, "reader", reader.Wait)
	if out.String() != "4096 <nil> <nil>\n" {
		t.Errorf("reader got %q", &out)
	}
}

// A killing signal after a handled one is not announced by the kernel; it must free the reader all the same.
func TestKillAfterHandledSignal(t *testing.T) {
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: 8 << 20, Missing: true}}})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	reader := exec.Command(self)
	reader.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "TORRENTFS_TEST_ROLE=signalled", "TORRENTFS_TEST_FILE="+s.path("a"))
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reader waits", func() bool { return s.stats().Waiting > 0 })
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", reader.Process.Pid))
	for _, task := range tasks {
		tid, _ := strconv.Atoi(task.Name())
		_ = unix.Tgkill(reader.Process.Pid, tid, unix.SIGURG)
	}
	time.Sleep(20 * time.Millisecond)
	if err := reader.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	must(t, "reader", func() error { _ = reader.Wait(); return nil })
	eventually(t, "no read waits", func() bool { return s.stats().Waiting == 0 })
}

// Whoever shares a descriptor with one who closes it goes on reading, and sees no EINTR: Go's own reads would hide it.
func TestFlushOfSharedHandle(t *testing.T) {
	for name, c := range map[string]struct {
		bounce fs.Bounce
		flags  int
		read   int
	}{
		"auto":         {fs.BounceAuto, 0, 32 << 10},
		"off":          {fs.BounceOff, 0, 32 << 10},
		"direct":       {fs.BounceAuto, unix.O_DIRECT, 32 << 10},
		"direct off":   {fs.BounceOff, unix.O_DIRECT, 32 << 10},
		"single pages": {fs.BounceOff, 0, 4 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			const size = 512 << 10
			s := startServer(t, serverConfig{Bounce: c.bounce, Files: []fileConfig{{Path: "a", Size: size, Missing: true}}})
			f, err := os.OpenFile(s.path("a"), os.O_RDONLY|c.flags, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			fd := int(f.Fd())
			if c.read == 4<<10 {
				_ = unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM)
			}
			done := make(chan error, 1)
			go func() {
				b := alignedBuffer(c.read)
				for off := int64(0); off < size; {
					n, err := unix.Pread(fd, b, off)
					if err == nil && n == 0 {
						err = io.ErrUnexpectedEOF
					}
					if err != nil {
						done <- fmt.Errorf("at %d: %w", off, err)
						return
					}
					if err := checkBytes(b[:n], 1, off); err != nil {
						done <- err
						return
					}
					off += int64(n)
				}
				done <- nil
			}()
			for i := range int64(8) {
				eventually(t, "the reader waits", func() bool { return s.stats().Waiting > 0 || len(done) > 0 })
				dup, err := unix.Dup(fd)
				if err != nil {
					t.Fatal(err)
				}
				must(t, "close", func() error { return unix.Close(dup) })
				s.ask("release 0 %d", (i+1)*size/8-1)
			}
			s.ask("release 0 %d", size)
			must(t, "reader", func() error { return <-done })
		})
	}
}

// What a File cannot deliver is an error, never the end of the file.
func TestFailedReads(t *testing.T) {
	s := startServer(t, serverConfig{Files: []fileConfig{
		{Path: "unavailable", Size: 1 << 20, Fail: "unavailable"},
		{Path: "short", Size: 1 << 20, Fail: "short"},
		{Path: "panic", Size: 1 << 20, Fail: "panic"},
	}})
	for _, name := range []string{"unavailable", "short", "panic"} {
		for _, flags := range []int{0, unix.O_DIRECT} {
			err := within(t, name, func() error {
				return withFile(s.path(name), flags, func(f *os.File) error {
					n, err := f.Read(alignedBuffer(64 << 10))
					if n > 0 {
						t.Errorf("%s: %d bytes", name, n)
					}
					return err
				})
			})
			if !errors.Is(err, syscall.EIO) {
				t.Errorf("%s: %v, want EIO", name, err)
			}
		}
	}
}
