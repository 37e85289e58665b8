package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// fsType is how our mounts appear in the mount table.
const fsType = "fuse.torrentfs"

// isOurMount reports whether the topmost mount on dir is one of ours.
func isOurMount(dir string) (bool, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	ours := false
	lines := bufio.NewScanner(bytes.NewReader(table))
	for lines.Scan() {
		point, kind, ok := parseMountinfo(lines.Text())
		if ok && point == dir {
			ours = kind == fsType
		}
	}
	return ours, lines.Err()
}

// parseMountinfo takes mount point and type out of a line of
// /proc/self/mountinfo, see proc_pid_mountinfo(5).
func parseMountinfo(line string) (point, kind string, ok bool) {
	before, after, ok := strings.Cut(line, " - ")
	fields, rest := strings.Fields(before), strings.Fields(after)
	if !ok || len(fields) < 5 || len(rest) < 1 {
		return "", "", false
	}
	return unescapeOctal(fields[4]), rest[0], true
}

// unescapeOctal undoes the kernel's \040 for space, and its like.
func unescapeOctal(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// unmount takes a mount away: by the system call as root, through fusermount3
// otherwise.
func unmount(ctx context.Context, dir string, lazy bool) error {
	if os.Geteuid() == 0 {
		flags := unix.UMOUNT_NOFOLLOW
		if lazy {
			flags |= unix.MNT_DETACH
		}
		return unix.Unmount(dir, flags)
	}
	args := []string{"-u"}
	if lazy {
		args = append(args, "-z")
	}
	out, err := exec.CommandContext(ctx, "fusermount3", append(args, "--", dir)...).CombinedOutput()
	if text := strings.TrimSpace(string(out)); err != nil && text != "" {
		return errors.New(strings.TrimPrefix(text, "fusermount3: "))
	}
	return err
}
