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

// Even with bytes missing, a file is one piece of data up to its end.
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

// A kernel that asks for a whole window of read-ahead still gives a reader its page as soon as that
// page is there.
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

// Reads in order wait for their read-ahead as a whole, but for the first: page by page they would
// be slow.
func TestReadsInOrderAreHardlyBounced(t *testing.T) {
	const size = 8 << 20
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: size, Missing: true, Delay: time.Millisecond}}})
	must(t, "read", func() error {
		b, err := os.ReadFile(s.path("a"))
		return errors.Join(err, checkBytes(b, 1, 0))
	})
	// The first windows of read-ahead may be bounced, which makes some dozens of single pages.
	if st := s.stats(); st.Bounced == 0 || st.Bounced > 4 || st.Reads > 300 {
		t.Errorf("%+v", st)
	}
}

// Nothing is asked of a source that no reader wants: a page fault asks for its page alone, however
// much the kernel would have read around it, and a read(2) for its own range.
func TestNobodyAsksForMoreThanIsRead(t *testing.T) {
	const size, block = 8 << 20, 16 << 10
	s := startServer(t, serverConfig{Files: []fileConfig{
		{Path: "mapped", Size: size, Missing: true, Delay: time.Millisecond},
		{Path: "read", Size: size, Missing: true, Delay: time.Millisecond},
	}})
	blocks := func(i int) (n int) {
		if _, err := fmt.Sscan(s.ask("blocks %d", i), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	offsets := []int64{3 << 20, 7<<20 + 5000, 1<<20 + 12345}
	must(t, "touch pages", func() error {
		f, err := os.Open(s.path("mapped"))
		if err != nil {
			return err
		}
		defer f.Close()
		m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		want := make([]byte, 1)
		for _, off := range offsets {
			if pattern(want, 1, off); m[off] != want[0] {
				t.Errorf("wrong byte at %d", off)
			}
		}
		return unix.Munmap(m)
	})
	if n := blocks(0); n != len(offsets) {
		t.Errorf("%d page faults asked for %d blocks", len(offsets), n)
	}
	must(t, "read", func() error {
		f, err := os.Open(s.path("read"))
		if err != nil {
			return err
		}
		defer f.Close()
		got, want := make([]byte, 64<<10), make([]byte, 64<<10)
		for _, off := range offsets {
			off &^= block - 1
			if _, err := f.ReadAt(got, off); err != nil {
				return err
			}
			if pattern(want, 2, off); !bytes.Equal(got, want) {
				t.Errorf("wrong bytes at %d", off)
			}
		}
		return nil
	})
	if n, want := blocks(1), len(offsets)*64<<10/block; n != want {
		t.Errorf("reads of %d blocks asked for %d", want, n)
	}
}
