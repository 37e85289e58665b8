package mounttable

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// OwnTable is the table of this process's mount namespace.
const OwnTable = "/proc/self/mountinfo"

// Own reads the table of this process's mount namespace.
func Own() ([]Mount, error) {
	table, err := os.ReadFile(OwnTable)
	if err != nil {
		return nil, fmt.Errorf("read mount table: %w", err)
	}
	return Parse(string(table)), nil
}

// Device is how the table names a device number of stat(2).
func Device(dev uint64) string { return fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev)) }

// Process is one that holds a mount.
type Process struct {
	PID  int
	Name string // of its program; at most 15 bytes, which it chose itself
}

// OtherNamespaces returns one process of each other mount namespace whose table has what is looked
// for: copies of mounts are made with the namespace and stay when the original is unmounted.
// Namespaces without a process that can be seen are not found.
func OtherNamespaces(has func([]Mount) bool) []Process {
	own, _ := os.Readlink("/proc/self/ns/mnt")
	var found []Process
	seen := map[string]bool{own: true}
	for _, pid := range processes() {
		dir := "/proc/" + strconv.Itoa(pid)
		// Of other users' processes the table can be read, and the name of the namespace cannot.
		namespace, err := os.Readlink(dir + "/ns/mnt")
		if err == nil && seen[namespace] {
			continue
		}
		table, terr := os.ReadFile(dir + "/mountinfo")
		if terr != nil {
			continue
		}
		if err != nil {
			namespace = string(table)
		}
		if !seen[namespace] && has(Parse(string(table))) {
			found = append(found, Process{pid, nameOf(dir)})
		}
		seen[namespace] = true
	}
	return found
}

// Users returns the processes that have something open below a directory, or are in it. Those of
// others cannot be seen.
func Users(dir string) []Process {
	within := func(name string) bool {
		return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
	}
	var found []Process
	for _, pid := range processes() {
		proc := "/proc/" + strconv.Itoa(pid)
		links, _ := filepath.Glob(proc + "/fd/*")
		links = append(links, proc+"/cwd", proc+"/root", proc+"/exe")
		mapped, _ := filepath.Glob(proc + "/map_files/*")
		if slices.ContainsFunc(append(links, mapped...), func(link string) bool {
			target, err := os.Readlink(link)
			return err == nil && within(target)
		}) {
			found = append(found, Process{pid, nameOf(proc)})
		}
	}
	return found
}

func processes() []int {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close() //nolint:errcheck // only read from
	names, _ := proc.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

func nameOf(proc string) string {
	name, err := os.ReadFile(proc + "/comm")
	if err != nil {
		return "?"
	}
	return strings.TrimSuffix(string(name), "\n")
}

// calm is how long Watch rests after a change, in milliseconds: some machines mount all the time.
const calm = 50

// Watch calls changed at once and after each change of this process's mount table, until stop is
// closed.
func Watch(stop <-chan struct{}, changed func()) error {
	table, err := unix.Open(OwnTable, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(table) //nolint:errcheck // only read from
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	defer unix.Close(wake) //nolint:errcheck // holds nothing
	var waker sync.WaitGroup
	ended := make(chan struct{})
	waker.Go(func() {
		select {
		case <-stop:
			_, _ = unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		case <-ended:
		}
	})
	defer waker.Wait()
	defer close(ended)
	for {
		changed()
		for wait := calm; ; wait = -1 { // first a rest, in which only stop counts, then a change
			fds := []unix.PollFd{{Fd: int32(wake), Events: unix.POLLIN}, {Fd: int32(table), Events: unix.POLLPRI}}
			if wait > 0 {
				fds = fds[:1]
			}
			switch _, err := unix.Poll(fds, wait); {
			case err != nil && err != unix.EINTR:
				return os.NewSyscallError("poll", err)
			case fds[0].Revents != 0:
				return nil
			}
			if len(fds) > 1 && fds[1].Revents != 0 {
				break
			}
		}
	}
}
