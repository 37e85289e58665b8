package mse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/simnet"
	"torrentfs/swarm/wire"
)

// pair is the two ends of a connection in memory, in the bubble of the test.
func pair(t *testing.T, link simnet.Link) (a, b net.Conn) {
	t.Helper()
	n := simnet.New(1)
	t.Cleanup(n.Close)
	l, err := n.Host("10.0.0.2", link).Listen("tcp", ":6881")
	if err != nil {
		t.Fatal(err)
	}
	if a, err = n.Host("10.0.0.1", link).DialContext(t.Context(), "tcp", "10.0.0.2:6881"); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// shake runs both sides of a handshake.
func shake(t *testing.T, a, b net.Conn, io InitiateOptions, ao AcceptOptions) (ra, rb Result, ea, eb error) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		if ra, ea = Initiate(t.Context(), a, testKey, io); ea != nil {
			a.Close()
		}
	})
	if rb, eb = Accept(t.Context(), b, findTestKey, ao); eb != nil {
		b.Close()
	}
	wg.Wait()
	return ra, rb, ea, eb
}

func TestAgree(t *testing.T) {
	const both = RC4 | Plaintext
	tests := []struct {
		provide, allow Method
		preferRC4      bool
		want           Method // None: they cannot agree
	}{
		{0, 0, false, Plaintext},
		{0, 0, true, RC4},
		{both, RC4, false, RC4},
		{both, Plaintext, true, Plaintext},
		{RC4, 0, false, RC4},
		{Plaintext, 0, true, Plaintext},
		{Plaintext, RC4, false, None},
		{RC4, Plaintext, false, None},
	}
	for _, tt := range tests {
		for _, payload := range []string{"", "a handshake that saves a round trip"} {
			t.Run(fmt.Sprintf("%v %v %v %v", tt.provide, tt.allow, tt.preferRC4, payload != ""), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b := pair(t, simnet.Link{Delay: 10 * time.Millisecond})
					ra, rb, ea, eb := shake(t, a, b,
						InitiateOptions{Provide: tt.provide, Payload: []byte(payload)},
						AcceptOptions{Allow: tt.allow, preferRC4: tt.preferRC4})
					if tt.want == None {
						if ea == nil || !errors.Is(eb, ErrMethod) {
							t.Fatalf("errors %v, %v", ea, eb)
						}
						return
					}
					if ea != nil || eb != nil {
						t.Fatal(ea, eb)
					}
					if ra.Method != tt.want || rb.Method != tt.want || rb.Key != testKey {
						t.Fatalf("agreed on %v and %v, want %v", ra.Method, rb.Method, tt.want)
					}
					converse(t, ra.Conn, rb.Conn, []byte(payload))
					if plain := tt.want == Plaintext; plain && (ra.Conn != a || Unwrap(rb.Conn) != b) {
						t.Error("plaintext does not get back to the connection itself")
					}
				})
			})
		}
	}
}

// converse sends random bytes both ways at once, in random portions, and
// expects before to come first in one of them.
func converse(t *testing.T, a, b net.Conn, before []byte) {
	t.Helper()
	var wg sync.WaitGroup
	for i, c := range [][2]net.Conn{{a, b}, {b, a}} {
		r := rand.New(rand.NewPCG(uint64(i), 1))
		sent := make([]byte, 300<<10)
		for j := range sent {
			sent[j] = byte(r.Uint32())
		}
		want := sent
		if i == 0 {
			want = append(bytes.Clone(before), sent...)
		}
		wg.Go(func() { send(t, c[0], bytes.Clone(sent), r) })
		wg.Go(func() { receive(t, c[1], want) })
	}
	wg.Wait()
}

func send(t *testing.T, c net.Conn, data []byte, r *rand.Rand) {
	kept := bytes.Clone(data)
	vec, _ := c.(interface {
		WriteVectored(bufs [][]byte) (int64, error)
	})
	for rest := data; len(rest) > 0; {
		p := rest[:min(len(rest), 1+int(r.Uint32()%40000))]
		rest = rest[len(p):]
		if vec != nil && len(p)%2 == 0 {
			if n, err := vec.WriteVectored([][]byte{p[:len(p)/3], nil, p[len(p)/3:]}); err != nil || n != int64(len(p)) {
				t.Errorf("WriteVectored of %d bytes: %d, %v", len(p), n, err)
				return
			}
		} else if n, err := c.Write(p); err != nil || n != len(p) {
			t.Errorf("Write of %d bytes: %d, %v", len(p), n, err)
			return
		}
	}
	if !bytes.Equal(data, kept) {
		t.Error("writing changed the caller's bytes")
	}
}

func receive(t *testing.T, c net.Conn, want []byte) {
	got := make([]byte, len(want))
	vec, _ := c.(wire.VectoredReader)
	for n, turn := 0, 0; n < len(got); turn++ {
		var k int
		var err error
		if rest := got[n:]; vec != nil && turn%2 == 0 {
			k, err = vec.ReadVectored([][]byte{rest[:len(rest)/2], rest[len(rest)/2:]})
		} else {
			k, err = c.Read(rest[:min(len(rest), 5000)])
		}
		if err != nil {
			t.Errorf("after %d bytes: %v", n, err)
			return
		}
		n += k
	}
	if !bytes.Equal(got, want) {
		t.Error("the bytes that came are not those that were sent")
	}
}

// The payload is there with the second message: one and a half round trips from
// nothing, and the answer to it after two.
func TestRoundTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const oneWay = 50 * time.Millisecond
		a, b := pair(t, simnet.Link{Delay: oneWay / 2})
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			res, err := Initiate(t.Context(), a, testKey, InitiateOptions{Payload: []byte("hi")})
			if err != nil {
				t.Error(err)
				return
			}
			if took := time.Since(start); took != 4*oneWay {
				t.Errorf("the initiator has to wait for %v", took)
			}
			res.Conn.Close()
		})
		if _, err := Accept(t.Context(), b, findTestKey, AcceptOptions{}); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 3*oneWay {
			t.Errorf("the payload is there after %v", took)
		}
		wg.Wait()
	})
}

func TestPlainHandshake(t *testing.T) {
	hs := wire.NewHandshake(testKey, [20]byte{1}, 0).Append(nil)
	nc := script(hs)
	res, err := Accept(t.Context(), nc, findTestKey, AcceptOptions{})
	if err != nil || res.Method != None {
		t.Fatal(res.Method, err)
	}
	h, err := wire.ReadHandshake(res.Conn)
	if err != nil || h.InfoHash != testKey {
		t.Fatal(h, err)
	}
	if Unwrap(res.Conn) != nc {
		t.Error("what was read ahead is consumed, and the connection is still wrapped")
	}
	if _, err := Accept(t.Context(), script(hs), findTestKey, AcceptOptions{NoPlain: true}); !errors.Is(err, ErrPlain) {
		t.Errorf("NoPlain: %v", err)
	}
}

// A peer that sends nothing, or nothing more, holds no caller longer than ctx.
func TestContext(t *testing.T) {
	initiate := func(ctx context.Context, nc net.Conn) error {
		_, err := Initiate(ctx, nc, testKey, InitiateOptions{})
		return err
	}
	accept := func(ctx context.Context, nc net.Conn) error {
		_, err := Accept(ctx, nc, findTestKey, AcceptOptions{})
		return err
	}
	for name, f := range map[string]func(context.Context, net.Conn) error{"initiate": initiate, "accept": accept} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pair(t, simnet.Link{})
				if _, err := b.Write(make([]byte, 50)); err != nil { // half a key
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				start := time.Now()
				if err := f(ctx, a); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v", err)
				}
				if took := time.Since(start); took != 5*time.Second {
					t.Errorf("took %v", took)
				}
				ctx, cancel = context.WithCancel(t.Context())
				cancel()
				if err := f(ctx, b); !errors.Is(err, context.Canceled) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

// brokenConn takes some bytes and then fails.
type brokenConn struct {
	net.Conn
	room int
}

func (c *brokenConn) Write(p []byte) (int, error) {
	n := min(len(p), c.room)
	c.room -= n
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// After a write that failed half-way the other side could decrypt nothing.
func TestWriteError(t *testing.T) {
	s := peerSays(t, true)
	broken := &brokenConn{room: 10}
	c := newCipherConn(broken, s.in, s.out, nil)
	if n, err := c.Write(make([]byte, 20)); n != 10 || err == nil {
		t.Fatalf("wrote %d, %v", n, err)
	}
	broken.room = 1000
	if n, err := c.Write(make([]byte, 20)); n != 0 || err == nil {
		t.Errorf("wrote %d, %v after an error", n, err)
	}
	if n, err := c.WriteVectored([][]byte{make([]byte, 20)}); n != 0 || err == nil {
		t.Errorf("wrote %d, %v after an error", n, err)
	}
}

// endless reads and takes any number of bytes.
type endless struct{ net.Conn }

func (endless) Read(p []byte) (int, error)  { return len(p), nil }
func (endless) Write(p []byte) (int, error) { return len(p), nil }

func TestNoAllocations(t *testing.T) {
	s := peerSays(t, true)
	c := newCipherConn(endless{}, s.in, s.out, nil)
	block := make([]byte, 16<<10)
	bufs := [][]byte{make([]byte, 13), block}
	ops := map[string]func() error{
		"Read":          func() error { _, err := c.Read(block); return err },
		"Write":         func() error { _, err := c.Write(block); return err },
		"WriteVectored": func() error { _, err := c.WriteVectored(bufs); return err },
	}
	for name, op := range ops {
		if n := testing.AllocsPerRun(100, func() {
			if err := op(); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkCipher(b *testing.B) {
	for name, op := range map[string]func(c *cipherConn, p []byte) (int, error){
		"Read":  (*cipherConn).Read,
		"Write": (*cipherConn).Write,
	} {
		b.Run(name, func(b *testing.B) {
			s := peerSays(b, true)
			c := newCipherConn(endless{}, s.in, s.out, nil)
			p := make([]byte, 16<<10)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := op(c, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAccept(b *testing.B) {
	in := peerSays(b, true).bytes()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Accept(b.Context(), script(in), findTestKey, AcceptOptions{rand: testRand(usSeed)}); err != nil {
			b.Fatal(err)
		}
	}
}
