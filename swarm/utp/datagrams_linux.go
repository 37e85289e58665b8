package utp

import (
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"torrentfs/net/pktinfo"
)

// segmentedConn is a UDP socket that takes several packets of one size as one
// piece (UDP_SEGMENT, Linux 4.18), and gets them so (UDP_GRO, 5.0): the way
// through the system is most of what a packet costs.
type segmentedConn struct {
	udpConn
	noSegment atomic.Bool // the device or the system cannot
}

func newUDP(c *net.UDPConn) datagrams {
	d := &segmentedConn{udpConn: newUDPConn(c)}
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

func (d *segmentedConn) receive(f func(b []byte, on route)) error {
	n, oobn, _, from, err := d.ReadMsgUDPAddrPort(d.buf, d.oob)
	if err != nil {
		return err
	}
	on := route{unmap(from), pktinfo.Arrival(d.oob[:oobn])}
	size := segmentSize(d.oob[:oobn])
	if size <= 0 {
		size = n
	}
	for b := d.buf[:n]; ; {
		k := min(size, len(b))
		f(b[:k], on)
		if b = b[k:]; len(b) == 0 {
			return nil
		}
	}
}

// segmentSize is the size of the packets in a piece that was received, 0 if it is one packet.
func segmentSize(oob []byte) int {
	for c, data, rest, ok := pktinfo.Next(oob); ok; c, data, rest, ok = pktinfo.Next(rest) {
		if c == (pktinfo.Control{Level: unix.IPPROTO_UDP, Kind: unix.UDP_GRO}) && len(data) >= 4 {
			return int(int32(binary.NativeEndian.Uint32(data)))
		}
	}
	return 0
}

func (d *segmentedConn) send(b []byte, sizes []int, on route) error {
	for len(sizes) > 0 {
		n, total := 1, sizes[0]
		if !d.noSegment.Load() {
			n, total = sameSize(sizes)
		}
		if err := d.sendPiece(b[:total], sizes[:n], on); err != nil {
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

func (d *segmentedConn) sendPiece(b []byte, sizes []int, on route) error {
	if len(sizes) == 1 {
		return d.udpConn.send(b, sizes, on)
	}
	var size [2]byte
	binary.NativeEndian.PutUint16(size[:], uint16(sizes[0]))
	d.sent = pktinfo.Append(pktinfo.AppendSource(d.sent[:0], on.ours), pktinfo.Control{Level: unix.IPPROTO_UDP, Kind: unix.UDP_SEGMENT}, size[:])
	err := d.write(b, d.sent, on)
	if err == nil || !isErrno(err, syscall.EIO, syscall.EINVAL, syscall.EOPNOTSUPP, syscall.EMSGSIZE) {
		return err
	}
	if err := d.udpConn.send(b, sizes, on); err != nil {
		return err // it was not about the piece: our address may be gone
	}
	if sizes[0] <= baseDatagram {
		d.noSegment.Store(true) // a device without checksums of its own
	} // otherwise it is about this path, whose packets are smaller
	return nil
}

func isErrno(err error, errnos ...syscall.Errno) bool {
	for _, e := range errnos {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
