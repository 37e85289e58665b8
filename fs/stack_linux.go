package fs

import "golang.org/x/sys/unix"

// maxStackDepth is how many file systems the kernel stacks at most. An overlayfs above ours adds
// one.
const maxStackDepth = 2

// stackDepth is the stacking depth for passthrough: the kernel refuses backing files of that depth
// or more. On an ordinary disk it is 1, and an overlayfs can be mounted above. Backing files on an
// overlayfs, as in containers, need the whole depth.
func stackDepth(opt Options) int {
	var st unix.Statfs_t
	if opt.NoPassthrough {
		return 1
	}
	if opt.Backing == "" || unix.Statfs(opt.Backing, &st) != nil {
		return maxStackDepth
	}
	switch st.Type {
	case unix.OVERLAYFS_SUPER_MAGIC, unix.ECRYPTFS_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC:
		return maxStackDepth
	}
	return 1
}
