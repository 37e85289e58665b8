package announce

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// corpus returns the files of a folder of the shared test data.
func corpus(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	root := os.Getenv("TORRENTFS_TESTDATA")
	if root == "" {
		root = "../../../shared/testdata"
	}
	names, _ := filepath.Glob(filepath.Join(root, "torrents", folder, "*"))
	if len(names) == 0 {
		t.Skipf("no test data: %s not found (TORRENTFS_TESTDATA names its folder)", folder)
	}
	files := make(map[string][]byte)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = b
	}
	return files
}

func addrs(s ...string) (out []netip.AddrPort) {
	for _, a := range s {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

// hosts is a resolver with fixed answers.
type hosts map[string][]string

func (h hosts) lookup(_ context.Context, name string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, a := range h[name] {
		out = append(out, netip.MustParseAddr(a))
	}
	if out == nil {
		return nil, errNoHost
	}
	return out, nil
}

// fakePacketConn is a UDP socket whose other end is a function: what it returns
// for a packet comes back as datagrams.
type fakePacketConn struct {
	answer func(p []byte, to netip.AddrPort) []datagram
	in     chan datagram
	closed chan struct{}
	once   sync.Once
}

type datagram struct {
	b     []byte
	from  netip.AddrPort
	by    net.Addr // set: in place of from
	after time.Duration
}

func newFakePacketConn(answer func(p []byte, to netip.AddrPort) []datagram) *fakePacketConn {
	return &fakePacketConn{answer: answer, in: make(chan datagram, 64), closed: make(chan struct{})}
}

func (c *fakePacketConn) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case d := <-c.in:
		if d.by != nil {
			return copy(p, d.b), d.by, nil
		}
		return copy(p, d.b), net.UDPAddrFromAddrPort(d.from), nil
	case <-c.closed:
		return 0, nil, net.ErrClosed
	}
}

func (c *fakePacketConn) WriteTo(p []byte, to net.Addr) (int, error) {
	var at netip.AddrPort // of a name: invalid
	if u, ok := to.(*net.UDPAddr); ok {
		at = u.AddrPort()
	}
	for _, d := range c.answer(append([]byte(nil), p...), at) {
		if d.after > 0 {
			time.AfterFunc(d.after, func() { c.in <- d })
			continue
		}
		c.in <- d
	}
	return len(p), nil
}

func (c *fakePacketConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *fakePacketConn) LocalAddr() net.Addr              { return &net.UDPAddr{} }
func (c *fakePacketConn) SetDeadline(time.Time) error      { return nil }
func (c *fakePacketConn) SetReadDeadline(time.Time) error  { return nil }
func (c *fakePacketConn) SetWriteDeadline(time.Time) error { return nil }
