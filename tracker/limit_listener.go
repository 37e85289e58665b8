package tracker

import (
	"net"
	"net/netip"
	"sync"
)

// How many connections the HTTP server holds, and how many of one host. Each is closed
// after ten seconds without a request.
const (
	maxConns     = 8192
	maxHostConns = 512
)

// limitListener closes at once what exceeds the bounds on connections.
type limitListener struct {
	net.Listener
	most, mostOfHost int

	mu    sync.Mutex // a leaf
	total int
	hosts map[netip.Prefix]int
}

func newLimitListener(l net.Listener) *limitListener {
	return &limitListener{Listener: l, most: maxConns, mostOfHost: maxHostConns, hosts: map[netip.Prefix]int{}}
}

// Accept implements [net.Listener].
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, err := netip.ParseAddrPort(c.RemoteAddr().String())
		if err != nil {
			return c, nil // not of the IP: it has no host to count
		}
		host := hostOf(from.Addr().Unmap())
		if l.enter(host) {
			return &limitedConn{Conn: c, l: l, host: host}, nil
		}
		c.Close()
	}
}

func (l *limitListener) enter(host netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.most || l.hosts[host] >= l.mostOfHost {
		return false
	}
	l.total++
	l.hosts[host]++
	return true
}

func (l *limitListener) leave(host netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	uncount(l.hosts, host)
}

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	net.Conn
	l    *limitListener
	host netip.Prefix
	once sync.Once
}

// Close implements [net.Conn].
func (c *limitedConn) Close() error {
	c.once.Do(func() { c.l.leave(c.host) })
	return c.Conn.Close()
}
