package cache

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
)

// advice tells somebody who is not a programmer what to do.
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

// chore is what the disk is asked to do behind the scenes; each has its own
// episodes of trouble.
type chore int

const (
	writing chore = iota
	syncing
	reading
	numChores
)

// fail notes that the disk refuses, and reports it if that is news: of one
// cause, which hinders several chores at once, one word is enough.
func (s *Store) fail(c chore, err error) {
	s.mu.Lock()
	news := s.trouble[c] == nil
	for other, known := range s.trouble {
		if chore(other) != c && known != nil && errnoOf(known) == errnoOf(err) {
			news = false
		}
	}
	s.trouble[c] = err
	s.mu.Unlock()
	if !news {
		return
	}
	s.log.Error("disk fails", "err", err)
	if s.opt.OnError != nil {
		s.opt.OnError(err)
	}
}

// errnoOf is what the system calls the cause, 0 where it does not.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	errors.As(err, &errno)
	return errno
}

// recovered ends the episode.
func (s *Store) recovered(c chore) {
	s.mu.Lock()
	was := s.trouble[c]
	s.trouble[c] = nil
	well := true
	for _, err := range s.trouble {
		well = well && err == nil
	}
	s.mu.Unlock()
	if was != nil && well {
		s.log.Info("disk works again", "after", was)
	}
}

func isReadOnlyFS(err error) bool { return errors.Is(err, syscall.EROFS) }
