//go:build linux

package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// ports hands out port numbers to programs that cannot choose one and tell.
// They lie below the range that the kernel takes the ports of outgoing
// connections from, so that nothing else gets one between here and there.
var ports struct {
	mu   sync.Mutex
	used map[int]bool
}

// FreePort is a port that is free for TCP and UDP, and no other test's.
func FreePort(t testing.TB) int {
	t.Helper()
	ports.mu.Lock()
	defer ports.mu.Unlock()
	if ports.used == nil {
		ports.used = map[int]bool{}
	}
	for range 1000 {
		port := 10000 + rand.IntN(20000)
		if !ports.used[port] && isFree(port) {
			ports.used[port] = true
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// Listens waits until a program listens on a TCP port of ours. To connect
// would not do: a client counts its connections.
func Listens(t testing.TB, port int) {
	t.Helper()
	Eventually(t, fmt.Sprintf("somebody listens on port %d", port), func() bool {
		return listening(t, "self", port)
	})
}

// listening reports whether somebody listens on a TCP port in the network of a process.
func listening(t testing.TB, pid string, port int) bool {
	t.Helper()
	for _, family := range []string{"tcp", "tcp6"} {
		table, err := os.ReadFile("/proc/" + pid + "/net/" + family) // see proc_pid_net(5)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(table)) {
			fields := strings.Fields(line)
			if len(fields) > 3 && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) && fields[3] == "0A" {
				return true
			}
		}
	}
	return false
}

func isFree(port int) bool {
	addr := ":" + strconv.Itoa(port)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer l.Close() //nolint:errcheck // nothing was accepted
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return c.Close() == nil
}
