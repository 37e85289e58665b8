package vfs

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Space is what a file system says of itself.
type Space struct {
	Total, Free int64 // bytes; Free is what this user may still take
	NameMax     int   // bytes of one name; 0: unknown
}

func (o *osFS) Space() (sp Space, err error) {
	err = withFD(o.self, func(fd int) error {
		var st unix.Statfs_t
		if err := unix.Fstatfs(fd, &st); err != nil {
			return err
		}
		unit, nameMax := units(&st)
		sp = Space{Total: int64(st.Blocks) * unit, Free: int64(st.Bavail) * unit, NameMax: nameMax} //nolint:unconvert // types differ by system
		return nil
	})
	return sp, err
}

func (o *osFS) Usage(name string) (int64, error) {
	st, err := o.root.Lstat(name)
	if err != nil {
		return 0, err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return int64(sys.Blocks) * 512, nil //nolint:unconvert // its type differs by system
	}
	return st.Size(), nil
}
