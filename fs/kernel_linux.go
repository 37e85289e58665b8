package fs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const openDirect = unix.O_DIRECT

func noOpendir(k *fuse.InitIn) bool { return k.Flags64()&fuse.CAP_NO_OPENDIR_SUPPORT != 0 }
