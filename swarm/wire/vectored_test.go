//go:build linux || darwin

package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// tcpPair returns two ends of a loopback connection.
func tcpPair(tb testing.TB) (a, b net.Conn) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		tb.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a, b
}

func TestVectoredConn(t *testing.T) {
	a, b := tcpPair(t)
	v := NewVectoredConn(a)
	vec, ok := v.(VectoredReader)
	if !ok {
		t.Fatalf("%T has no ReadVectored", v)
	}
	if _, err := b.Write([]byte("hello world")); err != nil {
		t.Fatal(err)
	}
	one, two := make([]byte, 5), make([]byte, 100)
	got := ""
	for len(got) < 11 { // TCP may cut the stream anywhere
		n, err := vec.ReadVectored([][]byte{one, two})
		if err != nil {
			t.Fatal(err)
		}
		got += string(append(one[:min(n, 5):5], two[:max(0, n-5)]...))
	}
	if got != "hello world" {
		t.Fatalf("got %q", got)
	}

	// Deadlines hold, and do not end the connection.
	if err := v.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := vec.ReadVectored([][]byte{one, two}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("past the deadline: %v", err)
	}
	var ne net.Error
	if _, err := vec.ReadVectored([][]byte{one}); !errors.As(err, &ne) || !ne.Timeout() {
		t.Fatalf("past the deadline: %v is no timeout", err)
	}
	_ = v.SetReadDeadline(time.Time{})

	// It waits for data, and sees the end.
	done := make(chan error, 1)
	go func() {
		_, err := vec.ReadVectored([][]byte{one, two})
		done <- err
	}()
	_ = b.Close()
	if err := <-done; err != io.EOF {
		t.Fatalf("at the end: %v, want io.EOF", err)
	}
	_ = v.Close()
	if _, err := vec.ReadVectored([][]byte{one}); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}
}

func TestVectoredClose(t *testing.T) {
	a, _ := tcpPair(t)
	v := NewVectoredConn(a)
	done := make(chan error, 1)
	go func() {
		_, err := v.(VectoredReader).ReadVectored([][]byte{make([]byte, 1)})
		done <- err
	}()
	_ = v.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Fatalf("closed under a read: %v", err)
	}
}

func TestVectoredConnOfOthers(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _ = a.Close(); _ = b.Close() }()
	if NewVectoredConn(a) != a {
		t.Error("a pipe was wrapped")
	}
}

// TestVectoredReader reads blocks over TCP, and counts allocations.
func TestVectoredReader(t *testing.T) {
	a, b := tcpPair(t)
	const blocks = 400
	done := make(chan error, 1)
	go func() {
		defer func() { _ = b.Close() }()
		for i := range uint32(blocks) {
			if _, err := b.Write(appendPiece(nil, i, 0, pattern(MaxBlock))); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	r := NewReader(NewVectoredConn(a), Limits{})
	var m Message
	p, want := make([]byte, MaxBlock), pattern(MaxBlock)
	for i := range uint32(blocks) {
		if err := r.Next(&m); err != nil || m.Piece != i {
			t.Fatalf("block %d: %+v, %v", i, m, err)
		}
		clear(p)
		if err := r.ReadBlock(p[:m.Length]); err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "payload", p, want)
	}
	if err := r.Next(&m); err != io.EOF {
		t.Fatalf("at the end: %v", err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestVectoredAllocations(t *testing.T) {
	a, b := tcpPair(t)
	v := NewVectoredConn(a).(VectoredReader)
	bufs := [][]byte{make([]byte, 10), make([]byte, 90)}
	out := pattern(100)
	if n := testing.AllocsPerRun(200, func() {
		if _, err := b.Write(out); err != nil {
			t.Fatal(err)
		}
		if _, err := v.ReadVectored(bufs); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a read", n)
	}
}

func BenchmarkTCP(b *testing.B) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"plain":    func(c net.Conn) net.Conn { return c },
		"vectored": NewVectoredConn,
	} {
		b.Run(name, func(b *testing.B) {
			src, dst := tcpPair(b)
			done := make(chan struct{})
			go func() {
				defer close(done)
				var data []byte
				for i := range uint32(16) {
					data = appendPiece(data, i, 0, pattern(MaxBlock))
				}
				for {
					if _, err := dst.Write(data); err != nil {
						return
					}
				}
			}()
			r := NewReader(wrap(src), Limits{})
			var m Message
			p := make([]byte, MaxBlock)
			b.SetBytes(MaxBlock)
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Next(&m); err != nil {
					b.Fatal(err)
				}
				if err := r.ReadBlock(p[:m.Length]); err != nil {
					b.Fatal(err)
				}
			}
			_ = src.Close()
			<-done
		})
	}
}

func BenchmarkReader(b *testing.B) {
	src := &endless{data: mixed(8)}
	r := NewReader(src, Limits{Features: allFeatures})
	var m Message
	p := make([]byte, MaxBlock)
	b.SetBytes(MaxBlock)
	b.ReportAllocs()
	for b.Loop() {
		for {
			if err := r.Next(&m); err != nil {
				b.Fatal(err)
			}
			if m.ID == Piece {
				break
			}
		}
		if err := r.ReadBlock(p[:m.Length]); err != nil {
			b.Fatal(err)
		}
	}
}
