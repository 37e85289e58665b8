package fs

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// programOf looks at the process that the thread pid belongs to. What cannot be seen is left empty
// and matches no name: the process is gone, another user's, or in a foreign pid namespace (pid is 0
// then).
func programOf(pid uint32) program {
	if pid == 0 {
		return program{}
	}
	dir := "/proc/" + strconv.FormatUint(uint64(pid), 10)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return program{}
	}
	var p program
	// Threads have names of their own; the one that counts is their process's.
	if leader := threadGroup(status); leader != "" {
		dir = "/proc/" + leader
	}
	if comm, err := os.ReadFile(dir + "/comm"); err == nil {
		p.comm = strings.TrimSuffix(string(comm), "\n")
	}
	if exe, err := os.Readlink(dir + "/exe"); err == nil {
		p.exe = filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
	}
	if line, err := os.ReadFile(dir + "/cmdline"); err == nil {
		if args := bytes.SplitN(line, []byte{0}, 3); len(args) > 1 {
			p.arg = filepath.Base(string(args[1]))
		}
	}
	return p
}

// threadGroup takes the id of the process out of /proc/<pid>/status.
func threadGroup(status []byte) string {
	for line := range bytes.Lines(status) {
		if id, ok := bytes.CutPrefix(line, []byte("Tgid:")); ok {
			return string(bytes.TrimSpace(id))
		}
	}
	return ""
}
