package conn

import (
	"cmp"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// sendSection sends header and then n bytes of f at offset at, without copying
// them through this process. It reports sent = false, with nothing written,
// where that is not possible on this connection or file.
func sendSection(nc net.Conn, header []byte, f *os.File, at int64, n int) (sent bool, err error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return false, nil
	}
	sock, err := sc.SyscallConn()
	if err != nil {
		return false, nil
	}
	file, err := f.SyscallConn()
	if err != nil {
		return false, nil // closed meanwhile
	}
	opErr := file.Control(func(src uintptr) { // holds the file open
		sent, err = sendfile(sock, int(src), header, at, n)
	})
	if opErr != nil {
		return false, nil
	}
	return sent, err
}

// sendfile writes the header with MSG_MORE, so that it leaves in the segment of
// the payload, and lets the kernel copy the payload from the page cache.
func sendfile(sock syscall.RawConn, src int, header []byte, at int64, n int) (bool, error) {
	var sysErr error
	err := sock.Write(func(dst uintptr) bool {
		for len(header) > 0 {
			k, err := unix.SendmsgN(int(dst), header, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
			if err == unix.EINTR {
				continue
			}
			if err == unix.EAGAIN {
				return false
			}
			if sysErr = err; err != nil {
				return true
			}
			header = header[k:]
		}
		for n > 0 {
			k, err := unix.Sendfile(int(dst), src, &at, n)
			if err == unix.EINTR {
				continue
			}
			if err == unix.EAGAIN {
				return false
			}
			if err == unix.EIO || err == nil && k == 0 { // sockets do not fail so; or the file is shorter than it was
				sysErr = &fileError{cmp.Or(err, io.ErrUnexpectedEOF)}
				return true
			}
			if sysErr = err; err != nil {
				return true
			}
			n -= k
		}
		return true
	})
	if err == nil {
		err = sysErr
	}
	return err == nil, err
}
