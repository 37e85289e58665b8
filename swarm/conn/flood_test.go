package conn

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// What clients send that the owner never sees ends no connection of a torrent: keep-alives,
// suggestions, Transmission's and µTorrent's extension messages.
func TestHonestClientsAreNotOverheardAsNoise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Conn{cfg: Config{Geometry: new(metainfo.Geometry)}}
		overhear := func(times int, m wire.Message) {
			t.Helper()
			for range times {
				if err := c.overhear(&m); err != nil {
					t.Fatalf("%v: %v", m.ID, err)
				}
			}
		}
		overhear(3, wire.Message{ID: wire.Extended, Payload: make([]byte, 2000)})
		for range 60 {
			overhear(1, wire.Message{ID: wire.KeepAlive})
			overhear(1, wire.Message{ID: wire.Port})
			overhear(16, wire.Message{ID: wire.Suggest})
			overhear(1, wire.Message{ID: wire.Extended, Payload: make([]byte, 900)})
		}
	})
}

// A flood of what nobody needs ends the connection, and sooner if its messages are long; time
// forgives.
func TestFloodsAreOverheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tc := range map[string]struct {
			m        wire.Message
			geometry bool
			most     int
		}{
			"keep-alives":                {wire.Message{ID: wire.KeepAlive}, true, MaxNoise},
			"long extension messages":    {wire.Message{ID: wire.Extended, Payload: make([]byte, 9<<10)}, true, MaxNoise / 10},
			"metadata":                   {wire.Message{ID: wire.Extended, Payload: make([]byte, 16<<10)}, false, MaxNoise},
			"haves before the metadata":  {wire.Message{ID: wire.Have}, false, MaxNoise},
			"haves, which the owner has": {wire.Message{ID: wire.Have}, true, 2 * MaxNoise},
		} {
			c := &Conn{}
			if tc.geometry {
				c.cfg.Geometry = new(metainfo.Geometry)
			}
			n := 0
			for n < 2*MaxNoise && c.overhear(&tc.m) == nil {
				n++
			}
			if n != tc.most {
				t.Errorf("%s: %d were taken, want %d", name, n, tc.most)
			}
			if time.Sleep(time.Second); c.overhear(&tc.m) != nil {
				t.Errorf("%s: nothing is forgotten", name)
			}
		}
	})
}

// A score ends the connection when it is too high, and sinks with time.
func TestFloodScore(t *testing.T) {
	var f Flood
	if f.Add(MaxNoise) != nil || !errors.Is(f.Add(1), wire.ErrProtocol) {
		t.Error("the score ends a connection beyond MaxNoise")
	}
	f.Decay()
	if f.Add(noiseDecay-1) != nil || f.Add(1) == nil {
		t.Error("a second forgives noiseDecay")
	}
	for i := range MaxNoise + 10 {
		if f.Repeat(10) != nil {
			t.Fatalf("%d HAVEs again of 10 pieces were too many", i)
		}
	}
	if f.Repeat(10) == nil {
		t.Error("HAVEs may come again without end")
	}
}
