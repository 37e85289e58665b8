package swarm

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"torrentfs/swarm/conn"
)

// How many connections one network (neighbours) may open to us at once, and per second.
// Behind one address there may be a house full of clients; on this machine there may
// be a proxy of everybody.
var (
	arrivalBound = dialBound{burst: 64, rate: 2}
	localBound   = dialBound{burst: 512, rate: 20}
)

// arrivals bounds how often one network connects to us. Each connection costs a handshake, so
// that somebody who comes back without end would use up what others need.
type arrivals struct {
	start time.Time

	mu    sync.Mutex // a leaf
	known map[netip.Prefix]dialAccount
}

// admit reports whether a connection is taken.
func (a *arrivals) admit(addr netip.Addr) bool {
	now, home, b := time.Since(a.start), neighbours(addr), arrivalBound
	if addr.IsLoopback() {
		b = localBound
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known[home].wait(now, b) > 0 {
		return false
	}
	updateAccount(&a.known, home, b, func(c dialAccount, b dialBound) dialAccount {
		c = c.aged(now, b)
		c.charge++
		return c
	})
	return true
}

// newcomers are incoming connections that have not shaken hands. Of too many
// the oldest goes of the network that has most of them: the honest are done within a
// round trip, and those who wait to hold the door shut have waited longest.
type newcomers struct {
	mu    sync.Mutex
	conns []atTheDoor // the oldest first
}

// atTheDoor is one of them.
type atTheDoor struct {
	nc   net.Conn
	home netip.Prefix
}

func (n *newcomers) enter(nc net.Conn) {
	c := atTheDoor{nc, neighbours(conn.AddrPort(nc.RemoteAddr()).Addr())}
	n.mu.Lock()
	var gone net.Conn
	n.conns = append(n.conns, c)
	if len(n.conns) > maxHandshaking {
		i := n.mostCrowded()
		gone = n.conns[i].nc
		n.conns = slices.Delete(n.conns, i, i+1)
	}
	n.mu.Unlock()
	if gone != nil {
		gone.Close()
	}
}

// mostCrowded is the oldest connection of the network that has most.
func (n *newcomers) mostCrowded() (oldest int) {
	count := make(map[netip.Prefix]int, len(n.conns))
	most := 0
	for _, c := range n.conns {
		count[c.home]++
		most = max(most, count[c.home])
	}
	return slices.IndexFunc(n.conns, func(c atTheDoor) bool { return count[c.home] == most })
}

func (n *newcomers) leave(nc net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = slices.DeleteFunc(n.conns, func(c atTheDoor) bool { return c.nc == nc })
}
