package conn

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/simnet"
	"torrentfs/swarm/wire"
)

var update = flag.Bool("update", false, "write the golden traces anew")

// trace is what happened on a connection, for a person to read.
type trace struct {
	begun time.Time
	mu    sync.Mutex
	text  strings.Builder
}

func (tr *trace) add(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	fmt.Fprintf(&tr.text, "%7v  %s\n", time.Since(tr.begun).Round(ms), fmt.Sprintf(format, args...))
}

func (tr *trace) event(e Event) {
	what := e.Kind.String()
	switch e.Kind {
	case Message:
		what = e.ID.String()
		switch e.ID {
		case wire.Have:
			what += fmt.Sprintf(" of piece %d", e.Piece)
		case wire.Request, wire.Piece:
			what += fmt.Sprintf(": %d bytes at %d of piece %d", e.Length, e.Begin, e.Piece)
		}
	case Progress:
		what += fmt.Sprintf(": %d bytes of the block at %d of piece %d", e.Length, e.Begin, e.Piece)
	case Hello:
		what += fmt.Sprintf(" of %q, %d bytes of metadata", e.Ext.Hello.V, e.Ext.Hello.MetadataSize)
	case Metadata:
		what += fmt.Sprintf(", block %d of %d bytes", e.Ext.Metadata.Piece, len(e.Ext.Metadata.Data))
	case Gone:
		what += ": " + e.Err.Error()
	}
	tr.add("      event  %s", what)
}

// A connection of a magnet link: the peer's first words, the metadata, the parking, and then blocks
// both ways.
func TestGoldenTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &trace{begun: time.Now()}
		c, other := link(t, simnet.Link{Delay: 10 * ms, Up: 1_000_000, Down: 100_000})
		heard := make(chan struct{})
		go func() { // what the peer hears
			defer close(heard)
			r := wire.NewReader(other, wire.Limits{Features: wire.FeatureFast})
			for m := new(wire.Message); r.Next(m) == nil; {
				tr.add("peer hears   %v", m.ID)
			}
		}()
		say := func(what string, b []byte) {
			tr.add("peer says    %s", what)
			other.Write(b)
			time.Sleep(500 * ms)
		}
		run := func(cfg Config) (ended chan struct{}) {
			events := make(chan Event)
			ended = make(chan struct{})
			cfg.Events = events
			go c.Run(t.Context(), cfg)
			go func() {
				defer close(ended)
				for e := range events {
					if tr.event(e); e.Kind == Parked || e.Kind == Gone {
						return
					}
				}
			}()
			return ended
		}
		c.Send(func(b []byte) []byte { return wire.AppendInterested(wire.AppendHaveNone(b)) })
		ended := run(Config{Peer: 1})
		time.Sleep(500 * ms)
		say("bitfield, unchoke", wire.AppendUnchoke(wire.AppendBitfield(nil, []uint64{1}, 2)))
		say("extension handshake", wire.AppendExtended(nil, 0, (&wire.ExtHandshake{V: "Peer 1.0", MetadataSize: 700}).Append(nil)))
		md := wire.Metadata{Type: wire.MetadataData, TotalSize: 700, Data: make([]byte, 700)}
		say("metadata, have, the half of another have", wire.AppendHave(wire.AppendHave(
			wire.AppendExtended(nil, ExtMetadata, md.Append(nil)), 1), 0)[:9+6+700+len("d8:msg_typei1e5:piecei0e10:total_sizei700ee")+5])
		tr.add("we park it")
		c.Park()
		<-ended
		g := geometry(t, 40<<10, 32<<10)
		tr.add("we run it with the torrent's geometry")
		ended = run(Config{Peer: 1, Geometry: g, Source: &memory{geometry: g}})
		time.Sleep(500 * ms)
		say("the rest of the have", wire.AppendHave(nil, 0)[5:])
		c.Request(Request{1, 0, 8 << 10})
		c.Flush()
		time.Sleep(500 * ms)
		block := append(wire.AppendPieceHeader(nil, 1, 0, 8<<10), make([]byte, 8<<10)...)
		say("the block, slowly", block[:3000])
		say("more of it", block[3000:6000])
		say("the rest of it", block[6000:])
		say("request", wire.AppendRequest(nil, 0, 0, 16<<10))
		c.Upload(Request{0, 0, 16 << 10})
		c.Flush()
		time.Sleep(500 * ms)
		say("nothing for four minutes", nil)
		<-ended
		<-heard
		other.Close()

		name := filepath.Join("testdata", "magnet_link.txt")
		if *update {
			if err := os.WriteFile(name, []byte(tr.text.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if tr.text.String() != string(want) {
			t.Errorf("the trace changed (go test -update writes it anew):\n%s", tr.text.String())
		}
	})
}
