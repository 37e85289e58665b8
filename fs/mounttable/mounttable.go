package mounttable

import (
	"strconv"
	"strings"
)

// Mount is one line of the table.
type Mount struct {
	ID     int
	Device string // major:minor, the same for all mounts of one file system
	Root   string // what of the file system is mounted: "/" unless it is a bind mount of a directory or file
	Point  string // mount point, as this process's root sees it
	Type   string // such as "fuse.torrentfs"
	Source string
}

// Parse reads a table in the form of /proc/PID/mountinfo, see proc_pid_mountinfo(5). Mounts on one
// point come in the order in which they were made: the last is the one in sight. Lines that it does
// not understand are left out.
func Parse(table string) []Mount {
	var mounts []Mount
	for line := range strings.Lines(table) {
		if m, ok := parseLine(strings.TrimSuffix(line, "\n")); ok {
			mounts = append(mounts, m)
		}
	}
	return mounts
}

// parseLine splits at single spaces: other white space is part of a name.
func parseLine(line string) (Mount, bool) {
	fields := strings.Split(line, " ")
	if len(fields) < 7 {
		return Mount{}, false
	}
	id, err := strconv.Atoi(fields[0])
	if err != nil {
		return Mount{}, false
	}
	// Optional fields are between the options and a dash.
	for i := 6; i+2 < len(fields); i++ {
		if fields[i] == "-" {
			return Mount{
				ID: id, Device: fields[2], Root: unescape(fields[3]), Point: unescape(fields[4]),
				Type: unescape(fields[i+1]), Source: unescape(fields[i+2]),
			}, true
		}
	}
	return Mount{}, false
}

// unescape undoes the kernel's \040 for a space, and its like.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
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

// At returns the mount in sight at a point.
func At(mounts []Mount, point string) (m Mount, ok bool) {
	for _, one := range mounts {
		if one.Point == point {
			m, ok = one, true
		}
	}
	return m, ok
}

// Points returns the visible mount points of a file system, the last made first.
func Points(mounts []Mount, device string) []string {
	var points []string
	for i := len(mounts) - 1; i >= 0; i-- {
		if top, _ := At(mounts, mounts[i].Point); top.ID == mounts[i].ID && top.Device == device {
			points = append(points, top.Point)
		}
	}
	return points
}

// Has reports whether a file system is mounted anywhere, in sight or below another mount.
func Has(mounts []Mount, device string) bool {
	for _, m := range mounts {
		if m.Device == device {
			return true
		}
	}
	return false
}
