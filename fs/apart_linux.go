package fs

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// apart runs touch, which uses our own mount from within this process, on a thread of its own, whose descriptor table
// lacks the file system's connection.
//
// A process that is killed while one of its threads waits for an answer of its own file system cannot end: the wait ends
// with the answer or with the connection, nobody is left to answer, and the connection is open as long as the waiting
// thread shares the table that has it. With a table apart, the end of the other threads closes it, and so the wait.
// The rest of the table stays: on any thread, the runtime may have to use its poller.
func apart(touch func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_FILES)
		if err == nil {
			err = closeConnections()
		}
		if err != nil {
			done <- fmt.Errorf("leave descriptors: %w", err)
			return
		}
		done <- touch()
	}()
	return <-done
}

// closeConnections closes all FUSE connections in this thread's table.
func closeConnections() error {
	const table = "/proc/thread-self/fd"
	entries, err := os.ReadDir(table)
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if target, err := os.Readlink(table + "/" + e.Name()); err == nil && target == "/dev/fuse" {
			if err := unix.Close(fd); err != nil {
				return fmt.Errorf("close %s: %w", target, err)
			}
		}
	}
	return nil
}
