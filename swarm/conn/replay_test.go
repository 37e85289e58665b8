package conn

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"torrentfs/swarm/wire"
)

// said is one thing that a peer says.
type said struct {
	name string
	b    []byte
}

var sayings = []said{
	{"choke", wire.AppendChoke(nil)},
	{"unchoke", wire.AppendUnchoke(nil)},
	{"interested", wire.AppendInterested(nil)},
	{"not interested", wire.AppendNotInterested(nil)},
	{"have 0", wire.AppendHave(nil, 0)},
	{"have 1", wire.AppendHave(nil, 1)},
	{"bitfield", wire.AppendBitfield(nil, []uint64{2}, 2)},
	{"have all", wire.AppendHaveAll(nil)},
	{"keep-alive", wire.AppendKeepAlive(nil)},
	{"allowed fast 1", wire.AppendAllowedFast(nil, 1)},
	{"hello", wire.AppendExtended(nil, 0, (&wire.ExtHandshake{V: "peer", Reqq: 9}).Append(nil))},
}

// told is what an owner of a connection knows at the end of what the peer said: what it has, in
// order, and whether it chokes us and is interested, for those come in any number.
func told(events []Event) (s []string) {
	last := map[string]string{}
	for _, e := range events {
		switch {
		case e.Kind == Message && (e.ID == wire.Choke || e.ID == wire.Unchoke):
			last["choke"] = e.ID.String()
		case e.Kind == Message && (e.ID == wire.Interested || e.ID == wire.NotInterested):
			last["interest"] = e.ID.String()
		case e.Kind == Message:
			s = append(s, fmt.Sprintf("%v %d %v", e.ID, e.Piece, e.Bits))
		case e.Kind == Hello:
			s = append(s, e.Ext.Hello.V)
		}
	}
	return append(s, last["choke"], last["interest"])
}

// A connection that is parked anywhere, between two messages or within one, and goes on with a
// geometry, tells its owner the same as one that had it from the start.
func TestParkingLosesNothing(t *testing.T) {
	g := geometry(t, 40<<10, 32<<10)
	rapid.Check(t, func(rt *rapid.T) {
		var all []byte
		for _, s := range rapid.SliceOfN(rapid.SampledFrom(sayings), 0, 12).Draw(rt, "said") {
			all = append(all, s.b...)
		}
		parkAt := rapid.IntRange(0, len(all)).Draw(rt, "parked behind")
		run := func(parkAt int) (events []Event) {
			us, them := net.Pipe()
			defer them.Close()
			c := New(us, hello(2))
			ch := make(chan Event, 64)
			phase := func(cfg Config, say []byte, end func()) {
				ended := make(chan error, 1)
				go func() { ended <- c.Run(t.Context(), cfg) }()
				them.SetDeadline(time.Now().Add(10 * time.Second))
				if _, err := them.Write(say); err != nil {
					rt.Fatal(err)
				}
				end()
				if err := <-ended; (err == nil) != (cfg.Geometry == nil) {
					rt.Fatalf("ended with %v", err)
				}
				early := cfg.Geometry == nil
				for e := range ch {
					if e.Kind == Gone || e.Kind == Parked {
						return
					}
					if !early {
						events = append(events, e)
					}
				}
			}
			if parkAt >= 0 {
				phase(Config{Events: ch}, all[:parkAt], c.Park)
			}
			phase(Config{Events: ch, Geometry: g}, all[max(parkAt, 0):], func() { them.Close() })
			return events
		}
		if got, want := told(run(parkAt)), told(run(-1)); !slices.Equal(got, want) {
			rt.Errorf("parked behind %d of %d bytes: %q, want %q", parkAt, len(all), got, want)
		}
	})
}

// What is kept is bounded; a peer that says more is not kept.
func TestKeptWithinABound(t *testing.T) {
	us, them := net.Pipe()
	defer them.Close()
	c := New(us, hello(2))
	events, ended := make(chan Event, 4), make(chan error, 1)
	go func() { ended <- c.Run(t.Context(), Config{Events: events}) }()
	field := wire.AppendBitfield(nil, nil, wire.MaxPieces)
	for range 3 {
		if _, err := them.Write(field); err != nil {
			t.Fatal(err)
		}
	}
	c.Park()
	if err := <-ended; err == nil {
		t.Error("it is kept all the same")
	}
	if e := <-events; e.Kind != Gone || e.Err == nil {
		t.Errorf("%+v, want it gone", e)
	}
}
