package cache

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// processStart tells a process from all others that had or will have its id:
// the boot, and the ticks since then at which it began (proc_pid_stat(5)).
// Empty if there is no such process here.
func processStart(pid int) string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	const starttime = 22 - 3 // fields count from 1, and the name, the second, may hold spaces
	_, rest, ok := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) <= starttime {
		return ""
	}
	return strings.TrimSpace(string(boot)) + "/" + fields[starttime]
}
