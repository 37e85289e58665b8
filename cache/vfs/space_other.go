//go:build !linux

package vfs

import "golang.org/x/sys/unix"

func units(st *unix.Statfs_t) (bytes int64, nameMax int) { return int64(st.Bsize), 0 }
