package utp

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loopback is a socket on a real port.
func loopback(tb testing.TB, cfg Config) *Socket {
	tb.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := New(pc, cfg)
	tb.Cleanup(func() { s.Close() })
	return s
}

func addrOf(s *Socket) netip.AddrPort { return s.Addr().(*net.UDPAddr).AddrPort() }

// dialPair connects two sockets.
func dialPair(tb testing.TB, a, b *Socket) (x, y net.Conn) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	x, err := a.DialContext(ctx, "udp", addrOf(b).String())
	if err != nil {
		tb.Fatal(err)
	}
	if y, err = b.Accept(); err != nil {
		tb.Fatal(err)
	}
	return x, y
}

func TestLoopback(t *testing.T) {
	a, b := loopback(t, Config{}), loopback(t, Config{})
	x, y := dialPair(t, a, b)
	data := stream(3, 8<<20)
	go func() {
		if _, err := x.Write(data); err != nil {
			t.Error(err)
		}
		x.Close()
	}()
	got, err := io.ReadAll(y)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read %d bytes of %d, %v", len(got), len(data), err)
	}
	y.Close()
}

func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkLoopback sends one stream through the system; the figure of CPU time
// is of both ends together.
func BenchmarkLoopback(b *testing.B) {
	x, y := dialPair(b, loopback(b, Config{}), loopback(b, Config{}))
	defer x.Close()
	defer y.Close()
	block := make([]byte, 16<<10)
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	before := cpu()
	go func() {
		for range b.N {
			if _, err := x.Write(block); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	buf := make([]byte, len(block))
	for range b.N {
		if _, err := io.ReadFull(y, buf); err != nil {
			b.Fatal(err)
		}
	}
	runtime.KeepAlive(buf)
	b.ReportMetric((cpu()-before).Seconds()/(float64(b.N)*float64(len(block))/1e9), "cpu-s/GB")
}
