package pktinfo

import (
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Size is the room that the control messages of this package take, of one
// datagram that came, or of one that is sent.
const Size = 64

// Note has the system report to which of our addresses each datagram came, which [Arrival] reads.
// It does nothing if the socket has one address. That the system does not report it is no error.
func Note(c *net.UDPConn) {
	local, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok || !local.IP.IsUnspecified() {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		// A socket of both families reports IPv4 in the form of IPv6.
		if unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
	})
}

// Control is what kind of control message one is.
type Control struct{ Level, Kind int32 }

// Next takes the first control message off oob: ok is false if there is
// no whole one.
func Next(oob []byte) (c Control, data, rest []byte, ok bool) {
	if len(oob) < unix.SizeofCmsghdr {
		return Control{}, nil, nil, false
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	n := int(h.Len)
	if n < unix.CmsgLen(0) || n > len(oob) {
		return Control{}, nil, nil, false
	}
	return Control{h.Level, h.Type}, oob[unix.CmsgLen(0):n], oob[min(len(oob), unix.CmsgSpace(n-unix.CmsgLen(0))):], true
}

// Arrival is the address of ours that a datagram with these control messages came
// to, if answers can be sent from it; else it is invalid.
func Arrival(oob []byte) (ours netip.Addr) {
	for c, data, rest, ok := Next(oob); ok; c, data, rest, ok = Next(rest) {
		switch {
		case c == (Control{unix.IPPROTO_IP, unix.IP_PKTINFO}) && len(data) >= unix.SizeofInet4Pktinfo:
			ours = netip.AddrFrom4((*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0])).Spec_dst)
		case c == (Control{unix.IPPROTO_IPV6, unix.IPV6_PKTINFO}) && len(data) >= unix.SizeofInet6Pktinfo:
			ours = netip.AddrFrom16((*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0])).Addr).Unmap()
		}
	}
	// One of a link alone would need the link's name, and has no other beside it.
	if !ours.IsGlobalUnicast() && !ours.IsLoopback() {
		return netip.Addr{}
	}
	return ours
}

// AppendSource appends the control message that has a datagram leave from an
// address of ours; nothing if it is invalid.
func AppendSource(oob []byte, ours netip.Addr) []byte {
	if !ours.IsValid() {
		return oob
	}
	if ours.Is4() {
		info := unix.Inet4Pktinfo{Spec_dst: ours.As4()}
		return Append(oob, Control{unix.IPPROTO_IP, unix.IP_PKTINFO}, (*[unix.SizeofInet4Pktinfo]byte)(unsafe.Pointer(&info))[:])
	}
	info := unix.Inet6Pktinfo{Addr: ours.As16()}
	return Append(oob, Control{unix.IPPROTO_IPV6, unix.IPV6_PKTINFO}, (*[unix.SizeofInet6Pktinfo]byte)(unsafe.Pointer(&info))[:])
}

// Append appends any control message.
func Append(oob []byte, c Control, data []byte) []byte {
	h := unix.Cmsghdr{Level: c.Level, Type: c.Kind}
	h.SetLen(unix.CmsgLen(len(data)))
	end := len(oob) + unix.CmsgSpace(len(data))
	oob = append(oob, (*[unix.SizeofCmsghdr]byte)(unsafe.Pointer(&h))[:]...)
	oob = append(oob, data...)
	for len(oob) < end {
		oob = append(oob, 0)
	}
	return oob
}
