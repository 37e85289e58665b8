package fs

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// withOwnDescriptors runs touch, which uses our own mount from within this process, on a thread of
// its own. The thread's descriptor table lacks the file system's connection.
//
// A process that is killed while one of its threads waits for an answer of its own file system
// cannot end: no thread is left to answer, and the connection stays open as long as the waiting
// thread shares the table that has it. With a descriptor table of its own for that thread, the end
// of the other threads closes the connection and with it the wait. All other descriptors are closed
// as well: a peer would wait for the end of a connection of which this thread has a copy, and the
// main thread, if it is the one, never ends. Only the runtime's poller stays, which the runtime may
// use on any thread.
func withOwnDescriptors(touch func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_FILES)
		if err == nil {
			err = closeCopies()
		}
		if err != nil {
			done <- fmt.Errorf("leave descriptors: %w", err)
			return
		}
		done <- touch()
	}()
	return <-done
}

// closeCopies closes all in this thread's table but the standard descriptors and what has no name:
// the poller.
func closeCopies() error {
	const table = "/proc/thread-self/fd"
	entries, err := os.ReadDir(table)
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		target, err := os.Readlink(table + "/" + e.Name())
		if err == nil && !strings.HasPrefix(target, "anon_inode:") {
			if err := unix.Close(fd); err != nil {
				return fmt.Errorf("close %s: %w", target, err)
			}
		}
	}
	return nil
}
