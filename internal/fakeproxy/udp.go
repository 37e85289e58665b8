package fakeproxy

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
)

// Datagrams are the hosts that datagrams were sent to, as the client wrote them,
// each once.
func (p *Proxy) Datagrams() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.datagrams)
}

// Disassociate ends all associations, and leaves connections alone.
func (p *Proxy) Disassociate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.controls {
		c.Close()
	}
}

// associate relays datagrams (RFC 1928, section 7) until the client hangs up.
func (p *Proxy) associate(r *bufio.Reader, c net.Conn) error {
	inner, outer, err := p.cfg.UDP()
	if err != nil {
		p.answer(c, 1, 0)
		return err
	}
	bound := inner.LocalAddr().(*net.UDPAddr).AddrPort()
	if p.cfg.Bound.IsValid() {
		bound = netip.AddrPortFrom(p.cfg.Bound, bound.Port())
	}
	p.mu.Lock()
	p.controls[c] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.controls, c)
	}()
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		client net.Addr // that the last datagram came from
	)
	wg.Go(func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := inner.ReadFrom(b)
			if err != nil {
				return
			}
			mu.Lock()
			client = from
			mu.Unlock()
			if to, payload := p.unwrap(b[:n]); to.IsValid() {
				_, _ = outer.WriteTo(payload, net.UDPAddrFromAddrPort(to))
			}
		}
	})
	wg.Go(func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := outer.ReadFrom(b)
			if err != nil {
				return
			}
			mu.Lock()
			to := client
			mu.Unlock()
			if to != nil {
				_, _ = inner.WriteTo(append(appendAddr([]byte{0, 0, 0}, from.(*net.UDPAddr).AddrPort()), b[:n]...), to)
			}
		}
	})
	_, err = c.Write(appendAddr([]byte{5, 0, 0}, bound))
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	inner.Close()
	outer.Close()
	wg.Wait()
	return err
}

// unwrap reads a datagram of the client's; to is invalid if it goes nowhere.
func (p *Proxy) unwrap(b []byte) (to netip.AddrPort, payload []byte) {
	if len(b) < 5 || b[2] != 0 {
		return to, nil
	}
	var host string
	rest := b[4:]
	switch n := map[byte]int{1: 4, 4: 16, 3: 1 + int(b[4])}[b[3]]; {
	case n == 0 || len(rest) < n+2:
		return to, nil
	case b[3] == 3:
		host, rest = string(rest[1:n]), rest[n:]
	default:
		a, _ := netip.AddrFromSlice(rest[:n])
		host, rest = a.String(), rest[n:]
	}
	port := binary.BigEndian.Uint16(rest)
	target := net.JoinHostPort(host, strconv.Itoa(int(port)))
	p.mu.Lock()
	if !slices.Contains(p.datagrams, target) {
		p.datagrams = append(p.datagrams, target)
	}
	p.mu.Unlock()
	a, err := netip.ParseAddr(host)
	if err != nil && p.cfg.Resolve != nil {
		a = p.cfg.Resolve(host)
	}
	return netip.AddrPortFrom(a, port), rest[2:]
}

func appendAddr(b []byte, a netip.AddrPort) []byte {
	kind := byte(1)
	addr := a.Addr().Unmap()
	if addr.Is6() {
		kind = 4
	}
	return binary.BigEndian.AppendUint16(append(append(b, kind), addr.AsSlice()...), a.Port())
}
