package utp

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// segmentedConn is a UDP socket that takes several packets of one size as one
// piece (UDP_SEGMENT, Linux 4.18), and gets them so (UDP_GRO, 5.0): the way
// through the system is most of what a packet costs.
type segmentedConn struct {
	udpConn
	oob []byte // owned by the receiver

	noSegment atomic.Bool // the device or the system cannot
	cmsg      []byte      // owned by the one goroutine that sends several
}

func newUDP(c *net.UDPConn) datagrams {
	d := &segmentedConn{
		udpConn: udpConn{UDPConn: c, buf: make([]byte, maxUDP)},
		oob:     make([]byte, 128), cmsg: make([]byte, unix.CmsgSpace(2)),
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&d.cmsg[0]))
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	raw, err := c.SyscallConn()
	if err != nil {
		return &d.udpConn
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
		if _, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT); err != nil {
			d.noSegment.Store(true)
		}
	})
	return d
}

func (d *segmentedConn) receive(f func(b []byte, from netip.AddrPort)) error {
	n, oobn, _, from, err := d.ReadMsgUDPAddrPort(d.buf, d.oob)
	if err != nil {
		return err
	}
	from = unmap(from)
	size := segmentSize(d.oob[:oobn])
	if size <= 0 {
		size = n
	}
	for b := d.buf[:n]; ; {
		k := min(size, len(b))
		f(b[:k], from)
		if b = b[k:]; len(b) == 0 {
			return nil
		}
	}
}

// segmentSize is the size of the packets in a piece that was received, 0 where
// it is one packet.
func segmentSize(oob []byte) int {
	for len(oob) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		l := int(h.Len)
		if l < unix.SizeofCmsghdr || l > len(oob) {
			return 0
		}
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && l >= unix.CmsgLen(4) {
			return int(int32(binary.NativeEndian.Uint32(oob[unix.CmsgLen(0):])))
		}
		oob = oob[min(len(oob), unix.CmsgSpace(l-unix.CmsgLen(0))):]
	}
	return 0
}

func (d *segmentedConn) send(b []byte, sizes []int, to netip.AddrPort) error {
	for len(sizes) > 0 {
		n, total := 1, sizes[0]
		if !d.noSegment.Load() {
			n, total = sameSize(sizes)
		}
		if err := d.sendPiece(b[:total], sizes[:n], to); err != nil {
			return err
		}
		b, sizes = b[total:], sizes[n:]
	}
	return nil
}

// sameSize is how many packets can go as one piece: all of one size but for the
// last, which may be smaller.
func sameSize(sizes []int) (n, total int) {
	for n < len(sizes) && sizes[n] <= sizes[0] && total+sizes[n] < maxUDP-100 {
		total += sizes[n]
		n++
		if sizes[n-1] < sizes[0] {
			break
		}
	}
	return n, total
}

func (d *segmentedConn) sendPiece(b []byte, sizes []int, to netip.AddrPort) error {
	if len(sizes) == 1 {
		_, err := d.WriteToUDPAddrPort(b, to)
		return err
	}
	binary.NativeEndian.PutUint16(d.cmsg[unix.CmsgLen(0):], uint16(sizes[0]))
	_, _, err := d.WriteMsgUDPAddrPort(b, d.cmsg, to)
	if err == nil {
		return nil
	}
	if !isErrno(err, syscall.EIO, syscall.EINVAL, syscall.EOPNOTSUPP, syscall.EMSGSIZE) {
		return err
	}
	if sizes[0] <= baseDatagram {
		d.noSegment.Store(true) // a device without checksums of its own
	} // otherwise it is about this path, whose packets are smaller
	return d.udpConn.send(b, sizes, to)
}

func isErrno(err error, errnos ...syscall.Errno) bool {
	for _, e := range errnos {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
