package swarm

import (
	"strings"
	"testing"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/metainfo/bencode"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

// judged is how many of such messages in turn a new connection may send at once.
func judged(t *testing.T, n int, events ...conn.Event) (taken int) {
	c := stubConn(t, n)
	for {
		for _, e := range events {
			if c.judge(e) != nil || taken == 10*(conn.MaxNoise+n) {
				return taken
			}
			switch {
			case e.Kind == conn.DontHave:
				c.remoteCount = n - 1
			case e.ID == wire.HaveAll:
				c.heardBits, c.remoteCount = true, n
			}
			taken++
		}
	}
}

// stubConn is a connection of a torrent of n pieces, of which only the peer's state is used.
func stubConn(t *testing.T, n int) *peer {
	t.Helper()
	b, err := bencode.Encode(map[string]any{
		"name": "many", "piece length": int64(blockSize), "length": int64(n) * blockSize, "pieces": strings.Repeat("h", 20*n),
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := metainfo.ParseInfo(b, metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return &peer{t: &Torrent{info: info}, remote: bitset.New(n)}
}

// The larger a torrent, the fewer messages are taken at once that make us look at all of
// its pieces: what they cost together is bounded.
func TestMessagesAboutAllPiecesAreFew(t *testing.T) {
	for n, most := range map[int]int{10: 2*conn.MaxNoise + 2, 10_000: 20, 200_000: 20} {
		for name, events := range map[string][]conn.Event{
			"have-alls":                 {{ID: wire.HaveAll}},
			"bitfields":                 {{ID: wire.HaveAll}, {ID: wire.Bitfield}},
			"have-alls and don't-haves": {{ID: wire.HaveAll}, {Kind: conn.DontHave}},
		} {
			if got := judged(t, n, events...); got > most {
				t.Errorf("%d pieces: %d %s are taken, want %d at most", n, got, name, most)
			}
		}
	}
	if got := judged(t, 200_000, conn.Event{ID: wire.Choke}); got > conn.MaxNoise {
		t.Errorf("%d chokes are taken of a large torrent, want %d at most", got, conn.MaxNoise)
	}
}

// What clients send that change their mind often never ends a connection: haves for each piece
// again behind a bitfield (lazy bitfields), aria2's bitfields in place of haves, the
// rejects of a full queue at each choke, don't-haves of a cache. What the connection counts by itself is tested there.
func TestHonestClientsAreNotNoise(t *testing.T) {
	const pieces = 20_000
	c := stubConn(t, pieces)
	send := func(times int, e conn.Event) {
		t.Helper()
		for range times {
			if err := c.judge(e); err != nil {
				t.Fatalf("%v: %v", e.ID, err)
			}
		}
	}
	send(1, conn.Event{ID: wire.Bitfield})
	c.heardBits = true
	c.remote.SetRange(0, pieces)
	for i := range pieces {
		send(1, conn.Event{ID: wire.Have, Piece: i})
	}
	send(10, conn.Event{ID: wire.AllowedFast})
	for range 60 {
		for range 60 {
			c.flood.Decay()
			send(20, conn.Event{Kind: conn.DontHave}) // don't-haves
			send(50, conn.Event{ID: wire.Cancel})     // an endgame
		}
		send(2, conn.Event{ID: wire.Bitfield})
		send(2, conn.Event{ID: wire.Choke})
		send(500, conn.Event{ID: wire.Reject})
	}
}

// Noise is forgotten, and judged by kind alone: a have that is new costs nothing.
func TestNewHavesAreNoNoise(t *testing.T) {
	c := stubConn(t, 100_000)
	for i := range 100_000 {
		if err := c.judge(conn.Event{ID: wire.Have, Piece: i}); err != nil {
			t.Fatal(err)
		}
		c.remote.Set(i)
	}
	if c.flood != (conn.Flood{}) {
		t.Errorf("%+v after new haves alone", c.flood)
	}
}
