package conn

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/simnet"
	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// Blocks are sent behind the messages; one that cannot be read is refused, and the owner hears of
// it.
func TestUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const piece = 128 << 10
		c, other := link(t, simnet.Link{Delay: ms})
		src := &memory{geometry: geometry(t, 2*piece+blockSize+100, piece), lost: map[metainfo.Piece]bool{1: true}}
		events, ended := make(chan Event, 16), make(chan error, 1)
		var unreadable []metainfo.Piece
		go func() {
			ended <- c.Run(t.Context(), Config{
				Events: events, Geometry: src.geometry, Source: src,
				Unreadable: func(p metainfo.Piece, _ error) { unreadable = append(unreadable, p) },
			})
		}()
		for i := range 8 {
			c.Upload(Request{0, i * blockSize, blockSize})
		}
		c.Upload(Request{1, 0, blockSize})
		c.Upload(Request{2, blockSize, 100})
		c.Upload(Request{2, 5, 7})
		if !c.Withdraw(Request{2, 5, 7}) || c.Withdraw(Request{2, 5, 7}) || c.Uploads() != 10 {
			t.Errorf("%d blocks are queued, want 10", c.Uploads())
		}
		c.Send(wire.AppendUnchoke)
		c.Flush()
		got := read(other, wire.Limits{Features: wire.FeatureFast, PieceLength: piece}, time.Minute)
		want := []string{"unchoke"}
		for i := range 8 {
			want = append(want, fmt.Sprintf("piece 0+%d 16384 true", i*blockSize))
		}
		want = append(want, "piece 2+16384 100 true", "reject request 1+0 16384")
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("sent %v, want %v", got, want)
		}
		if !slices.Equal(unreadable, []metainfo.Piece{1}) {
			t.Errorf("unreadable: %v", unreadable)
		}
		if c.Sent() != 8*blockSize+100 {
			t.Errorf("%d bytes sent", c.Sent())
		}
		c.Close(ErrClosed)
		<-ended
		other.Close()
	})
}

// Over a real socket: runs are read at once, single blocks go from the file to the socket, and a
// file that is too short ends the connection.
func TestBlocksOverTCP(t *testing.T) {
	const piece = 128 << 10
	g := geometry(t, 2*piece, piece)
	content := make([]byte, 2*piece)
	fill(content, 0)
	for name, tc := range map[string]struct {
		length int // of the file; 0: none
		want   bool
	}{"file": {2 * piece, true}, "memory": {0, true}, "short file": {100, false}} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			other, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			nc, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			src := &memory{geometry: g}
			if tc.length > 0 {
				if src.file, err = os.CreateTemp(t.TempDir(), ""); err != nil {
					t.Fatal(err)
				}
				defer src.file.Close()
				if _, err := src.file.Write(content[:tc.length]); err != nil {
					t.Fatal(err)
				}
			}
			c := New(nc, hello(2))
			events, ended := make(chan Event, 4), make(chan error, 1)
			unreadable := make(chan metainfo.Piece, 1)
			go func() {
				ended <- c.Run(t.Context(), Config{
					Events: events, Geometry: g, Source: src, Unreadable: func(p metainfo.Piece, _ error) { unreadable <- p },
				})
			}()
			c.Upload(Request{1, blockSize, blockSize})
			c.Flush()
			if !tc.want && runtime.GOOS == "linux" {
				if p := <-unreadable; p != 1 {
					t.Errorf("piece %d is unreadable", p)
				}
				<-ended
				return
			}
			buf := make([]byte, wire.PieceHeaderLen+blockSize)
			if _, err := io.ReadFull(other, buf); err != nil || !bytes.Equal(buf[wire.PieceHeaderLen:], content[piece+blockSize:][:blockSize]) {
				t.Errorf("the block is wrong: %v", err)
			}
			src.mu.Lock()
			if copied := src.reads > 0; runtime.GOOS == "linux" && copied != (tc.length == 0) {
				t.Errorf("%d reads", src.reads)
			}
			src.mu.Unlock()
			c.Close(ErrClosed)
			<-ended
		})
	}
}
