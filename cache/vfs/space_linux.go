package vfs

import "golang.org/x/sys/unix"

func units(st *unix.Statfs_t) (bytes int64, nameMax int) {
	if st.Frsize > 0 {
		return int64(st.Frsize), int(st.Namelen) //nolint:unconvert // their types differ by machine
	}
	return int64(st.Bsize), int(st.Namelen) //nolint:unconvert // their types differ by machine
}
