package cache

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
)

// advice tells a user what to do.
func advice(err error) string {
	switch {
	case hangs(err):
		return "look at the disk, its cable or the network that it is on, and into the system's log; what is in memory and in the swarm is served meanwhile"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "free some space there; what was downloaded waits in memory and is written then"
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return "make the data folder writable or choose another"
	case errors.Is(err, ErrForeign):
		return "what was downloaded waits in memory and is written then"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "raise the limit of open files"
	case errors.Is(err, syscall.EFBIG):
		return "the file system cannot hold so large a file; choose another"
	case errors.Is(err, syscall.EIO):
		return "look into the system's log; the disk may be failing"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, ErrChanged):
		return "what the file holds is checked again, and fetched again where it is wrong"
	default:
		return "it is tried again"
	}
}

func isReadOnlyFS(err error) bool { return errors.Is(err, syscall.EROFS) }
