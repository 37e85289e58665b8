package fs_test

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFiguresHotReads times single reads of 4 KiB of what our memory holds and the kernel's does
// not.
func TestFiguresHotReads(t *testing.T) {
	requireBench(t)
	const size, count = 128 << 20, 10_000
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "memory", Size: size, Memory: true}}})
	prepare(t, s.path("memory"), true)
	took := make([]time.Duration, 0, count)
	err := withFile(s.path("memory"), 0, func(f *os.File) error {
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM)
		b := make([]byte, 4096)
		for _, page := range rand.New(rand.NewPCG(3, 4)).Perm(size / 4096)[:count] { // each once
			begin := time.Now()
			if _, err := unix.Pread(int(f.Fd()), b, int64(page)*4096); err != nil {
				return err
			}
			took = append(took, time.Since(begin))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var sum time.Duration
	for _, d := range took {
		sum += d
	}
	slices.Sort(took)
	t.Logf("4 KiB from memory: p50 %v, p99 %v, %.0f IOPS with one job", took[count/2], took[count*99/100], count/sum.Seconds())
}

// TestFiguresBlockedReaders times another file's reads beside a thousand that wait.
func TestFiguresBlockedReaders(t *testing.T) {
	requireBench(t)
	const readers = 1000
	s := startServer(t, serverConfig{NoPassthrough: true, Files: []fileConfig{
		{Path: "free", Size: 64 * 128 << 10}, {Path: "blocked", Size: readers << 18, Missing: true},
	}})
	before, _ := strconv.Atoi(s.ask("memory"))
	blocked, err := os.Open(s.path("blocked"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, readers)
	for i := range int64(readers) {
		go func() {
			_, err := blocked.ReadAt(make([]byte, 4096), i<<18)
			done <- err
		}()
	}
	eventually(t, "all readers wait", func() bool { return s.stats().Waiting >= readers })
	begin := time.Now()
	if err := withFile(s.path("free"), 0, func(f *os.File) error { _, err := sequential(f); return err }); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	after, _ := strconv.Atoi(s.ask("memory"))
	t.Logf("%d blocked readers: 64 reads of 128 KiB of another file in %v, heap + %d KiB", readers, took.Round(time.Millisecond/10), (after-before)>>10)
	s.ask("release 1 %d", readers<<18)
	for range readers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	blocked.Close()
}
