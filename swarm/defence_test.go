package swarm

import (
	"strings"
	"testing"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/metainfo/bencode"
	"torrentfs/swarm/wire"
)

// judged is how many of such messages in turn a new connection may send at once.
func judged(t *testing.T, n int, events ...peerEvent) (taken int) {
	c := stubConn(t, n)
	for {
		for _, e := range events {
			if c.judge(e) != nil || taken == 10*(maxNoise+n) {
				return taken
			}
			switch e.id {
			case wire.HaveAll:
				c.heardBits, c.remoteCount = true, n
			case wire.Extended:
				c.remoteCount = n - 1
			}
			taken++
		}
	}
}

// stubConn is a connection of a torrent of n pieces, of which only the peer's state is used.
func stubConn(t *testing.T, n int) *peerConn {
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
	return &peerConn{t: &Torrent{info: info}, remote: bitset.New(n)}
}

// The larger a torrent, the fewer messages are taken at once that make us look at all of
// its pieces: what they cost together is bounded.
func TestMessagesAboutAllPiecesAreFew(t *testing.T) {
	for n, most := range map[int]int{10: 2*maxNoise + 2, 10_000: 20, 200_000: 20} {
		for name, events := range map[string][]peerEvent{
			"have-alls":                 {{id: wire.HaveAll}},
			"bitfields":                 {{id: wire.HaveAll}, {id: wire.Bitfield}},
			"have-alls and don't-haves": {{id: wire.HaveAll}, {id: wire.Extended}},
		} {
			if got := judged(t, n, events...); got > most {
				t.Errorf("%d pieces: %d %s are taken, want %d at most", n, got, name, most)
			}
		}
	}
	if got := judged(t, 200_000, peerEvent{id: wire.Choke}); got > maxNoise {
		t.Errorf("%d chokes are taken of a large torrent, want %d at most", got, maxNoise)
	}
}

// What clients send that change their mind often never ends a connection: haves for each piece
// again behind a bitfield (lazy bitfields), aria2's bitfields in place of haves, the
// rejects of a full queue at each choke, don't-haves of a cache, Transmission's and
// µTorrent's extension messages.
func TestHonestClientsAreNotNoise(t *testing.T) {
	const pieces = 20_000
	c := stubConn(t, pieces)
	send := func(times int, e peerEvent) {
		t.Helper()
		for range times {
			if err := c.judge(e); err != nil {
				t.Fatalf("%v: %v", e.id, err)
			}
		}
	}
	overhear := func(times int, m wire.Message) {
		t.Helper()
		for range times {
			if err := c.overhear(&m); err != nil {
				t.Fatalf("%v: %v", m.ID, err)
			}
		}
	}
	send(1, peerEvent{id: wire.Bitfield})
	c.heardBits = true
	c.remote.SetRange(0, pieces)
	for i := range pieces {
		send(1, peerEvent{id: wire.Have, piece: i})
	}
	send(10, peerEvent{id: wire.AllowedFast})
	overhear(3, wire.Message{ID: wire.Extended, Payload: make([]byte, 2000)})
	for range 60 {
		for range 60 {
			c.manners.noise = max(0, c.manners.noise-noiseDecay)
			send(20, peerEvent{id: wire.Extended}) // don't-haves
			send(50, peerEvent{id: wire.Cancel})   // an endgame
		}
		send(2, peerEvent{id: wire.Bitfield})
		send(2, peerEvent{id: wire.Choke})
		send(500, peerEvent{id: wire.Reject})
		overhear(1, wire.Message{ID: wire.KeepAlive})
		overhear(1, wire.Message{ID: wire.Port})
		overhear(16, wire.Message{ID: wire.Suggest})
		overhear(1, wire.Message{ID: wire.Extended, Payload: make([]byte, 900)})
	}
}

// Noise is forgotten, and judged by kind alone: a have that is new costs nothing.
func TestNewHavesAreNoNoise(t *testing.T) {
	c := stubConn(t, 100_000)
	for i := range 100_000 {
		if err := c.judge(peerEvent{id: wire.Have, piece: i}); err != nil {
			t.Fatal(err)
		}
		c.remote.Set(i)
	}
	if c.manners != (manners{}) {
		t.Errorf("%+v after new haves alone", c.manners)
	}
}
