package egress

import (
	"net"
	"strings"

	"golang.org/x/sys/unix"
)

const canBind = true

func bindTo(fd int, network, name string) error {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	if strings.HasSuffix(network, "4") {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BOUND_IF, i.Index)
	}
	err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_BOUND_IF, i.Index)
	if network == "udp" || network == "tcp" { // the family is not told, and may be both
		if err4 := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BOUND_IF, i.Index); err4 == nil && err != nil {
			err = nil
		}
	}
	return err
}
