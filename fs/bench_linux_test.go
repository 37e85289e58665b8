package fs_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"torrentfs/fs"
)

// These print figures instead of passing or failing:
//
//	TORRENTFS_BENCH=1 go test -run Figures -v ./fs

func requireBench(t *testing.T) {
	t.Helper()
	if os.Getenv("TORRENTFS_BENCH") != "1" {
		t.Skip("prints figures where TORRENTFS_BENCH=1")
	}
}

// cpu is what the server has used so far.
func (s *server) cpu() time.Duration {
	var user, system int64
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	_, _ = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// TestFiguresBounce compares the bounce with plain waiting, for data that arrives over a line of a
// certain speed.
func TestFiguresBounce(t *testing.T) {
	requireBench(t)
	const size = 64 << 20
	modes := []struct {
		name string
		mode fs.Bounce
	}{{"off", fs.BounceOff}, {"auto", fs.BounceAuto}, {"on", fs.BounceOn}}
	for _, rate := range []int64{20 << 20, 100 << 20, 0} {
		for _, m := range modes {
			s := startServer(t, serverConfig{Bounce: m.mode, Files: []fileConfig{
				{Path: "seq", Size: size, Missing: true, Delay: 5 * time.Millisecond, Rate: rate},
				{Path: "rand", Size: size, Missing: true, Delay: 5 * time.Millisecond, Rate: rate},
			}})
			before := s.cpu()
			begin := time.Now()
			dd := exec.Command("dd", "if="+s.path("seq"), "of=/dev/null", "bs=128k")
			if err := dd.Run(); err != nil {
				t.Fatal(err)
			}
			took := time.Since(begin)
			reader := dd.ProcessState.UserTime() + dd.ProcessState.SystemTime()
			p50, p99 := latencies(t, s.path("rand"), 64<<10, 300)
			t.Logf("line %3d MiB/s, bounce %-4s: in order %6.1f MiB/s, CPU %5v server %5v reader; 64 KiB here and there p50 %v p99 %v",
				rate>>20, m.name, size/took.Seconds()/(1<<20), s.cpu()-before, reader.Round(time.Millisecond), p50, p99)
			s.stop()
		}
	}
}

// latencies reads n bytes at random places.
func latencies(t *testing.T, path string, n, count int) (p50, p99 time.Duration) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	_ = unix.Fstat(int(f.Fd()), &st)
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	took := make([]time.Duration, count)
	for i := range took {
		off := rng.Int64N(st.Size/int64(n)) * int64(n)
		begin := time.Now()
		if _, err := unix.Pread(int(f.Fd()), b, off); err != nil {
			t.Fatal(err)
		}
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	return took[count/2].Round(time.Microsecond), took[count*99/100].Round(time.Microsecond)
}

// TestFiguresNative compares each way to serve a read with the same reads of an ordinary file: from
// the disk, from our memory while the kernel's cache of the mount is empty, and from the kernel's
// cache. The rows take turns, and each figure is the best of several: the machine may be shared.
func TestFiguresNative(t *testing.T) {
	requireBench(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const size, rounds = 128 << 20, 5
	data := t.TempDir()
	s := startServer(t, serverConfig{Data: data, Files: []fileConfig{
		{Path: "complete", Size: size, Complete: true},
		{Path: "memory", Size: size, Memory: true},
		{Path: "stored", Size: size},
	}})
	native := filepath.Join(data, "backing0")
	unix.Sync() // dirty pages would stay in the cache
	rows := []struct{ name, path, disk string }{
		{"native", native, native},
		{"passthrough", s.path("complete"), native},
		{"memory", s.path("memory"), ""},
		{"ReadAt", s.path("stored"), ""},
	}
	const disk, cold, warm = 0, 1, 2
	var figures [4][3][2]float64 // row, state of the caches, kind of read
	for range rounds {
		for r, row := range rows {
			for state := range 3 {
				if state == disk && row.disk == "" {
					continue
				}
				for kind, read := range []func(*os.File) (float64, error){sequential, randomReads} {
					if row.disk != "" { // always filled in the same way: the size of the kernel's folios matters
						prepare(t, row.disk, true)
						if state != disk {
							prepare(t, row.disk, false)
						}
					}
					if row.path != row.disk {
						prepare(t, row.path, state != warm)
					}
					err := withFile(row.path, 0, func(f *os.File) error {
						x, err := read(f)
						figures[r][state][kind] = max(figures[r][state][kind], x)
						return err
					})
					if err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	t.Logf("%-11s %-20s %-20s %-20s | %-19s %-19s %s", "", "128 KiB from disk", "from memory", "cached",
		"4 KiB from disk", "from memory", "cached")
	for r, row := range rows {
		line := fmt.Sprintf("%-11s", row.name)
		for kind, unit := range []string{"MB/s", "IOPS"} {
			for state := range 3 {
				x := figures[r][state][kind]
				ratio := x / figures[0][state][kind]
				if kind == 0 {
					x /= 1e6
				}
				line += fmt.Sprintf(" %7.0f %s (%.2f)", x, unit, ratio)
			}
		}
		t.Log(line)
	}
}

// prepare empties or fills the kernel's cache of one file.
func prepare(t *testing.T, path string, cold bool) {
	err := withFile(path, 0, func(f *os.File) error {
		if cold {
			return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		}
		_, err := sequential(f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func sequential(f *os.File) (float64, error) {
	b := make([]byte, 128<<10)
	fd := int(f.Fd())
	begin, total := time.Now(), 0
	for {
		n, err := unix.Pread(fd, b, int64(total))
		if err != nil || n == 0 {
			return float64(total) / time.Since(begin).Seconds(), err
		}
		total += n
	}
}

func randomReads(f *os.File) (float64, error) {
	const count = 20_000
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM)
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 4096)
	fd := int(f.Fd())
	begin := time.Now()
	for range count {
		if _, err := unix.Pread(fd, b, rng.Int64N(info.Size()/4096)*4096); err != nil {
			return 0, err
		}
	}
	return count / time.Since(begin).Seconds(), nil
}

// TestFiguresPassthrough compares by CPU time, which a busy machine disturbs less: the reads of a
// complete file are all the reader's own work.
func TestFiguresPassthrough(t *testing.T) {
	requireBench(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const size, rounds = 128 << 20, 5
	data := t.TempDir()
	s := startServer(t, serverConfig{Data: data, Files: []fileConfig{{Path: "complete", Size: size, Complete: true}}})
	paths := []string{filepath.Join(data, "backing0"), s.path("complete")}
	names := []string{"128 KiB in order", "4 KiB anywhere"}
	for kind, read := range []func(*os.File) (float64, error){sequential, randomReads} {
		least := [2]time.Duration{time.Hour, time.Hour}
		for range rounds {
			for i, path := range paths {
				err := withFile(path, 0, func(f *os.File) error {
					begin := threadCPU()
					_, err := read(f)
					least[i] = min(least[i], threadCPU()-begin)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		t.Logf("%-16s CPU native %v, passthrough %v: %.2f × native", names[kind], least[0], least[1],
			float64(least[0])/float64(least[1]))
	}
}

func threadCPU() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}

// TestFiguresMetadata lists a directory of 100,000 files, twice, beside one of the file system that
// holds temporary files.
func TestFiguresMetadata(t *testing.T) {
	requireBench(t)
	const count = 100_000
	native := t.TempDir()
	for i := range count {
		if err := os.WriteFile(fmt.Sprintf("%s/%06d", native, i), nil, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range []string{"ls -U", "ls -l", "find -size +1"} {
		s := startServer(t, serverConfig{Many: count})
		args := strings.Fields(command)
		line := fmt.Sprintf("%-13s", command)
		for _, c := range []struct{ name, dir string }{
			{"native", native},
			{"mount, cold", s.path("many")},
			{"mount, warm", s.path("many")},
		} {
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Dir = c.dir
			begin := time.Now()
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			line += fmt.Sprintf("  %s %.2fs", c.name, time.Since(begin).Seconds())
		}
		t.Log(line)
		s.stop()
	}
}

// TestFiguresEnds times what ends a blocked read.
func TestFiguresEnds(t *testing.T) {
	requireBench(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: 8 << 20, Missing: true}}})
		cat := exec.Command("cat", s.path("a"))
		if err := cat.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "cat waits", func() bool { return s.stats().Waiting > 0 })
		begin := time.Now()
		_ = cat.Process.Signal(sig)
		_ = cat.Wait()
		t.Logf("%v frees a reader in %v", sig, time.Since(begin).Round(time.Microsecond))
		s.stop()
	}
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: 8 << 20, Missing: true}}})
	f, err := os.Open(s.path("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	go func() { _, _ = f.ReadAt(make([]byte, 1<<20), 0) }()
	eventually(t, "the reader waits", func() bool { return s.stats().Waiting > 0 })
	begin := time.Now()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	s.wait()
	t.Logf("SIGTERM ends a mount with open files in %v", time.Since(begin).Round(time.Millisecond))
}
