//go:build linux || darwin

package wire

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// NewVectoredConn returns c with a ReadVectored method (see [VectoredReader]) if the system offers
// one, that is for a *net.TCPConn; any other connection is returned as it is. ReadVectored obeys
// the connection's deadlines and Close as Read does, but only one goroutine may be in it at a time.
// The rest of *net.TCPConn stays usable through the result.
func NewVectoredConn(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	v := &vectoredConn{TCPConn: tcp, raw: raw}
	v.readv = v.readvOnce
	return v
}

type vectoredConn struct {
	*net.TCPConn
	raw   syscall.RawConn
	readv func(fd uintptr) bool // readvOnce, bound once so that a read does not allocate

	// Arguments and results of one ReadVectored, owned by its caller.
	bufs [][]byte
	n    int
	err  error
}

var _ VectoredReader = (*vectoredConn)(nil)

// ReadVectored reads into bufs with one readv(2), waiting for data as Read does.
func (c *vectoredConn) ReadVectored(bufs [][]byte) (int, error) {
	c.bufs = bufs
	err := c.raw.Read(c.readv) // nil, or the connection is closed or past its deadline
	c.bufs = nil
	if err != nil {
		return 0, err
	}
	if c.err != nil {
		return 0, &net.OpError{
			Op: "readv", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(),
			Err: os.NewSyscallError("readv", c.err),
		}
	}
	if c.n == 0 {
		return 0, io.EOF
	}
	return c.n, nil
}

// readvOnce reports false when the socket has nothing yet.
func (c *vectoredConn) readvOnce(fd uintptr) bool {
	for {
		c.n, c.err = unix.Readv(int(fd), c.bufs)
		switch c.err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		return true
	}
}
