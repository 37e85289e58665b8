package lsd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"torrentfs/net/egress"
)

// The groups of BEP 14: organisation-local and site-local.
var (
	group4 = netip.MustParseAddrPort("239.192.152.143:6771")
	group6 = netip.MustParseAddrPort("[ff15::efc0:988f]:6771")
)

// hops is how many routers an announce may pass: BEP 14 has groups wider than one network.
const hops = 4

// Group is one multicast group. Its methods may be called from two goroutines,
// one of which receives.
type Group interface {
	// Addr is the group's address, for the Host header.
	Addr() netip.AddrPort
	// Send sends b to the group, on each of the interfaces. It succeeds if one of them took it.
	Send(b []byte) error
	// Receive waits for a datagram. from is its source; n may be less than the datagram's length if
	// p is short.
	Receive(p []byte) (n int, from netip.AddrPort, err error)
	// Close ends Receive.
	Close() error
}

// Groups joins the groups of BEP 14, IPv4 and IPv6, on the interfaces given, or, if none are given,
// on all that are up and know multicast. Groups that cannot be joined are left out; the error says
// why, and matters only if nothing is left. network is what they send by; nil is the system's.
func Groups(network *egress.Network, interfaces []net.Interface) ([]Group, error) {
	if len(interfaces) == 0 {
		all, err := network.Interfaces()
		if err != nil {
			return nil, fmt.Errorf("list interfaces: %w", err)
		}
		for _, i := range all {
			if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagMulticast != 0 {
				interfaces = append(interfaces, i)
			}
		}
	}
	var groups []Group
	g4, err4 := join4(network, interfaces)
	if err4 == nil {
		groups = append(groups, g4)
	}
	g6, err6 := join6(network, interfaces)
	if err6 == nil {
		groups = append(groups, g6)
	}
	return groups, errors.Join(err4, err6)
}

// multicast is a Group on real interfaces.
type multicast struct {
	*net.UDPConn
	addr   netip.AddrPort
	joined []net.Interface
	send   func(b []byte, on *net.Interface) error // owned by the sender
}

func (m *multicast) Addr() netip.AddrPort { return m.addr }

func (m *multicast) Send(b []byte) error {
	var errs []error
	sent := false
	for i := range m.joined {
		if err := m.send(b, &m.joined[i]); err != nil {
			errs = append(errs, fmt.Errorf("on %s: %w", m.joined[i].Name, err))
		} else {
			sent = true
		}
	}
	if sent {
		return nil
	}
	return fmt.Errorf("send announce to %v: %w", m.addr, errors.Join(errs...))
}

func (m *multicast) Receive(p []byte) (int, netip.AddrPort, error) {
	n, from, err := m.ReadFromUDPAddrPort(p)
	return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
}

// listen opens the group's port together with other programs of this machine.
func listen(network *egress.Network, proto string, group netip.AddrPort) (*net.UDPConn, error) {
	c, err := network.ListenMulticast(proto, group)
	if err != nil {
		return nil, fmt.Errorf("listen to %v: %w", group, err)
	}
	return c, nil
}

func join4(network *egress.Network, interfaces []net.Interface) (Group, error) {
	c, err := listen(network, "udp4", group4)
	if err != nil {
		return nil, err
	}
	p := ipv4.NewPacketConn(c)
	m := &multicast{UDPConn: c, addr: group4}
	to := net.UDPAddrFromAddrPort(group4)
	m.send = func(b []byte, on *net.Interface) error {
		if err := p.SetMulticastInterface(on); err != nil {
			return err
		}
		_, err := c.WriteToUDP(b, to)
		return err
	}
	_ = p.SetMulticastTTL(hops)
	_ = p.SetMulticastLoopback(true) // other programs here; our own are known by the cookie
	return m.join(interfaces, func(i *net.Interface) error { return p.JoinGroup(i, to) })
}

func join6(network *egress.Network, interfaces []net.Interface) (Group, error) {
	c, err := listen(network, "udp6", group6)
	if err != nil {
		return nil, err
	}
	p := ipv6.NewPacketConn(c)
	m := &multicast{UDPConn: c, addr: group6}
	to := net.UDPAddrFromAddrPort(group6)
	m.send = func(b []byte, on *net.Interface) error {
		if err := p.SetMulticastInterface(on); err != nil {
			return err
		}
		_, err := c.WriteToUDP(b, to)
		return err
	}
	_ = p.SetMulticastHopLimit(hops)
	_ = p.SetMulticastLoopback(true)
	return m.join(interfaces, func(i *net.Interface) error { return p.JoinGroup(i, to) })
}

// join keeps the interfaces that f could join on.
func (m *multicast) join(interfaces []net.Interface, f func(*net.Interface) error) (Group, error) {
	var errs []error
	for _, i := range interfaces {
		// Listening has already joined on the system's own choice.
		if err := f(&i); err != nil && !isInUse(err) {
			errs = append(errs, fmt.Errorf("join %v on %s: %w", m.addr, i.Name, err))
			continue
		}
		m.joined = append(m.joined, i)
	}
	if len(m.joined) == 0 {
		_ = m.Close()
		return nil, errors.Join(append(errs, fmt.Errorf("join %v: no interface", m.addr))...)
	}
	return m, nil
}
func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
