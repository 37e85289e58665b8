package swarm

import (
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"torrentfs/internal/simnet"
	"torrentfs/swarm/wire"
)

// superSeed is a seed that hides what it has (BEP 16): it shows two pieces, and others
// when it sees that they came.
type superSeed struct {
	superSeedKind
	w          *world
	shown      atomic.Int32
	interested atomic.Bool
}

type superSeedKind struct {
	byHave    bool // it looks for our haves
	byLeaving bool // it waits for us to lose interest, as libtorrent's does
	fast      bool
	nothing   bool // it shows none
}

// serveSuper starts it on a host that the torrent will know.
func (w *world) serveSuper(kind superSeedKind) *superSeed {
	s := &superSeed{superSeedKind: kind, w: w}
	addr := netip.AddrFrom4([4]byte{10, 0, 3, byte(len(w.peers) + 1)})
	l, err := w.net.Host(addr.String(), simnet.Link{Delay: 5 * ms, Up: 10 * mbit}).Listen("tcp", fmt.Sprintf(":%d", peerTCP))
	if err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = s.talk(c)
			c.Close()
		}
	}()
	w.webs = append(w.webs, func() { w.session.Close(); l.Close(); <-ended })
	w.peers = append(w.peers, netip.AddrPortFrom(addr, peerTCP))
	return s
}

func (s *superSeed) talk(c net.Conn) error {
	h, err := wire.ReadHandshake(c)
	if err != nil {
		return err
	}
	features := wire.FeatureExtension
	if s.fast {
		features |= wire.FeatureFast
	}
	hello := wire.NewHandshake(h.InfoHash, [20]byte{'s', 'u', 'p', 'e', 'r'}, features)
	b := hello.Append(nil)
	if s.fast {
		b = wire.AppendHaveNone(b)
	}
	b = s.reveal(wire.AppendUnchoke(b), 2)
	if _, err := c.Write(b); err != nil {
		return err
	}
	info := s.w.info
	r := wire.NewReader(c, wire.Limits{Pieces: info.NumPieces(), PieceLength: info.PieceLength(), Features: features | wire.FeatureFast})
	seen := map[uint32]bool{}
	var m wire.Message
	for {
		if err := r.Next(&m); err != nil {
			return err
		}
		b = b[:0]
		switch m.ID {
		case wire.Interested:
			s.interested.Store(true)
		case wire.NotInterested:
			s.interested.Store(false)
			if s.byLeaving {
				b = s.reveal(b, 2)
			}
		case wire.Have:
			if s.byHave && !seen[m.Piece] {
				seen[m.Piece] = true
				b = s.reveal(b, 1)
			}
		case wire.Request:
			off := int64(m.Piece)*info.PieceLength() + int64(m.Begin)
			b = append(wire.AppendPieceHeader(b, m.Piece, m.Begin, m.Length), s.w.data[off:off+int64(m.Length)]...)
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
}

// reveal shows so many more pieces.
func (s *superSeed) reveal(b []byte, n int) []byte {
	for ; n > 0 && !s.nothing && int(s.shown.Load()) < s.w.info.NumPieces(); n-- {
		b = wire.AppendHave(b, uint32(s.shown.Add(1)-1))
	}
	return b
}

// A super-seeding seed gives us everything, in whatever way it learns that pieces came, and
// also if only the end is read: the pieces that it shows first are fetched for that.
func TestSuperSeedIsRead(t *testing.T) {
	for _, s := range []superSeedKind{
		{byHave: true, fast: true}, {byLeaving: true, fast: true}, {byLeaving: true}, {byHave: true, byLeaving: true, fast: true},
	} {
		for _, prefetch := range []bool{true, false} {
			t.Run(fmt.Sprintf("haves=%v interest=%v fast=%v prefetch=%v", s.byHave, s.byLeaving, s.fast, prefetch), func(t *testing.T) {
				inWorld(t, 40*64<<10, 64<<10, Config{}, func(w *world) {
					seed := w.serveSuper(s)
					tor := w.add(TorrentConfig{Prefetch: prefetch})
					if prefetch {
						w.await(tor, time.Minute)
						return
					}
					time.Sleep(20 * time.Second)
					if n := seed.shown.Load(); n > 4 || tor.Stats().Held > 0 {
						t.Errorf("%d pieces were shown and %d fetched though nothing is read", n, tor.Stats().Held)
					}
					r := tor.NewReader(nil)
					defer r.Close()
					w.read(r, w.info.Size()-1000, 1000, time.Minute)
					held := tor.Stats().Held
					time.Sleep(10 * time.Second)
					if n := tor.Stats().Held; n > held+maxShown {
						t.Errorf("%d pieces more were fetched after the read", n-held)
					}
				})
			})
		}
	}
}

// A peer that has nothing is not told for long that we are interested, though we say so with the handshake.
func TestInterestInNothingIsTakenBack(t *testing.T) {
	for _, fast := range []bool{true, false} {
		inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
			s := w.serveSuper(superSeedKind{nothing: true, fast: fast})
			w.add(TorrentConfig{Prefetch: true})
			time.Sleep(5 * time.Second)
			if s.interested.Load() {
				t.Errorf("fast=%v: interested in a peer that has nothing", fast)
			}
		})
	}
}
