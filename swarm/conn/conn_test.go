package conn

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"torrentfs/internal/simnet"
	"torrentfs/swarm/wire"
)

// What a peer says comes as events of its number, in order, and the last one tells why it ended.
func TestEventsOfOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := geometry(t, 40<<10, 32<<10)
		c, other := link(t, simnet.Link{Delay: ms})
		events := make(chan Event, 64)
		var closed int
		go c.Run(t.Context(), Config{Peer: 7, Events: events, Geometry: g, Closed: func() { closed++ }})
		b := wire.AppendBitfield(nil, []uint64{1}, 2)
		b = wire.AppendUnchoke(b)
		b = wire.AppendHave(b, 1)
		b = wire.AppendKeepAlive(b)
		b = wire.AppendRequest(b, 0, 3, 5)
		b = wire.AppendPort(b, 6969)
		b = wire.AppendPieceHeader(b, 1, 0, 8<<10)
		block := make([]byte, 8<<10)
		fill(block, 32<<10)
		b = append(b, block...)
		b = wire.AppendExtended(b, 0, (&wire.ExtHandshake{V: "other"}).Append(nil))
		b = wire.AppendDontHave(b, ExtDontHave, 1)
		other.Write(b)
		other.Close()
		var got []Event
		for e := range events {
			if e.Peer != 7 {
				t.Errorf("an event of peer %d", e.Peer)
			}
			if got = append(got, e); e.Kind == Gone {
				break
			}
		}
		want := []struct {
			Kind
			wire.ID
		}{
			{Message, wire.Bitfield},
			{Message, wire.Unchoke},
			{Message, wire.Have},
			{Message, wire.Request},
			{DHTPort, 0},
			{Message, wire.Piece},
			{Hello, wire.Extended},
			{DontHave, 0},
			{Gone, 0},
		}
		if len(got) != len(want) {
			t.Fatalf("%d events, want %d: %+v", len(got), len(want), got)
		}
		for i, w := range want {
			if got[i].Kind != w.Kind || got[i].ID != w.ID {
				t.Errorf("event %d is %d %v, want %d %v", i, got[i].Kind, got[i].ID, w.Kind, w.ID)
			}
		}
		if p := got[5]; p.Piece != 1 || p.Begin != 0 || p.Length != 8<<10 || !slices.Equal(p.Data, block) {
			t.Errorf("block %d+%d of %d bytes", p.Piece, p.Begin, len(p.Data))
		}
		if got[4].Begin != 6969 || got[6].Ext.Hello.V != "other" || got[7].Piece != 1 || got[8].Err == nil {
			t.Errorf("%+v", got)
		}
		if c.Received() != 8<<10 || closed != 1 {
			t.Errorf("%d bytes received, closed %d times", c.Received(), closed)
		}
	})
}

// A connection that is parked before the metadata is here goes on with the geometry: what came is
// read as if it came now, also the half of a message, and what waits is sent.
func TestParkAndGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := geometry(t, 64<<10, 32<<10)
		c, other := link(t, simnet.Link{Delay: ms})
		events := make(chan Event, 64)
		ended := make(chan error, 1)
		go func() { ended <- c.Run(t.Context(), Config{Events: events}) }()
		b := wire.AppendHaveNone(nil)
		b = wire.AppendExtended(b, 0, (&wire.ExtHandshake{V: "other"}).Append(nil))
		b = wire.AppendHave(b, 1)
		b = wire.AppendChoke(wire.AppendUnchoke(wire.AppendChoke(wire.AppendUnchoke(b))))
		last := wire.AppendRequest(nil, 0, 0, 16<<10)
		b = append(b, last[:7]...)
		other.Write(b)
		if e := <-events; e.Kind != Hello || e.Ext.Hello.V != "other" {
			t.Errorf("first %+v, want the extension handshake alone", e)
		}
		synctest.Wait() // the reader has taken the rest
		c.Park()
		if e := <-events; e.Kind != Parked {
			t.Errorf("%+v, want it parked", e)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		c.Send(wire.AppendInterested)
		other.Write(last[7:])
		go func() { ended <- c.Run(t.Context(), Config{Peer: 1, Events: events, Geometry: g}) }()
		c.Flush()
		if got := read(other, wire.Limits{}, time.Second); !slices.Equal(got, []string{"interested"}) {
			t.Errorf("sent %v", got)
		}
		var ids []wire.ID
		for len(ids) < 5 {
			e := <-events
			ids = append(ids, e.ID)
		}
		if want := []wire.ID{wire.HaveNone, wire.Extended, wire.Have, wire.Choke, wire.Request}; !slices.Equal(ids, want) {
			t.Errorf("then %v, want %v", ids, want)
		}
		other.Close()
		if e := <-events; e.Kind != Gone || <-ended == nil {
			t.Errorf("%+v, want it gone", e)
		}
	})
}

// Close and the context end a connection that waits for anything: for the peer, for its owner, for
// room to send, for a limit.
func TestEveryWaitEnds(t *testing.T) {
	for name, end := range map[string]func(c *Conn, cancel func()){
		"Close": func(c *Conn, _ func()) { c.Close(errors.New("enough")) },
		"ctx":   func(_ *Conn, cancel func()) { cancel() },
	} {
		for _, waits := range []string{"for the peer", "for the owner", "for room", "for a limit"} {
			t.Run(name+" "+waits, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, other := link(t, simnet.Link{Delay: ms, Up: 1000})
					ctx, cancel := context.WithCancel(t.Context())
					events, ended := make(chan Event), make(chan error, 1)
					g := geometry(t, 64<<10, 32<<10)
					cfg := Config{Events: events, Geometry: g}
					if waits == "for a limit" {
						cfg.Down = rate.NewLimiter(1, blockSize)
					}
					go func() { ended <- c.Run(ctx, cfg) }()
					switch waits {
					case "for a limit": // of the third block, for the second
						block := append(wire.AppendPieceHeader(nil, 0, 0, blockSize), make([]byte, blockSize)...)
						c.Request(Request{0, 0, blockSize})
						c.Request(Request{0, 0, blockSize})
						c.Request(Request{0, 0, blockSize})
						go other.Write(bytes.Repeat(block, 3))
						<-events
						<-events
					case "for the owner":
						other.Write(wire.AppendUnchoke(wire.AppendChoke(nil)))
					case "for room":
						c.Send(func(b []byte) []byte { return append(b, make([]byte, 250<<10)...) })
						c.Flush()
					}
					time.Sleep(time.Second)
					begun := time.Now()
					end(c, cancel)
					for done := false; !done; {
						select {
						case <-events:
						case err := <-ended:
							if done = true; err == nil {
								t.Error("no reason")
							}
						}
					}
					if took := time.Since(begun); took > time.Second {
						t.Errorf("it ended after %v", took)
					}
					cancel()
					other.Close()
				})
			})
		}
	}
}

// A reader whose events are not taken does not read: the peer's window fills.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, other := link(t, simnet.Link{Delay: ms})
		g := geometry(t, 64<<20, 64<<10)
		events, ended := make(chan Event), make(chan error, 1)
		go func() { ended <- c.Run(t.Context(), Config{Events: events, Geometry: g}) }()
		block := wire.AppendPieceHeader(nil, 0, 0, blockSize)
		block = append(block, make([]byte, blockSize)...)
		other.SetWriteDeadline(time.Now().Add(time.Minute))
		sent := 0
		for {
			n, err := other.Write(block)
			if sent += n; err != nil {
				break
			}
		}
		if c.Received() > blockSize {
			t.Errorf("%d bytes were read and no event was taken", c.Received())
		}
		if sent > 32<<20 {
			t.Errorf("the peer could send %d bytes", sent)
		}
		c.Close(ErrClosed)
		for e := range events {
			if e.Kind == Gone {
				break
			}
		}
		<-ended
		other.Close()
	})
}
