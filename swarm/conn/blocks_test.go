package conn

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/simnet"
	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// Blocks are sent behind the messages; one that cannot be read is refused, and the owner hears of it.
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
