package swarm

import (
	"testing"
	"time"

	"torrentfs/metainfo"
)

// Who has a piece, who may turn out to have it, and that nobody has it, can be told apart.
func TestReachTellsWhoHasAPiece(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		half := w.options("half")
		half.Have = func(piece metainfo.Piece) bool { return piece < 8 }
		w.serve(wan(1000, 20*ms), half)
		tor := w.add(TorrentConfig{})
		if r := tor.Reach(0, 1); r.Piece != 0 || r.Holders != 0 || r.Prospects == 0 {
			t.Errorf("while the peer is dialled: %+v", r)
		}
		time.Sleep(introduction / 2)
		if r := tor.Reach(0, 1); r.Piece != 0 || r.Peers != 1 || r.Holders != 1 || r.Prospects != 0 {
			t.Errorf("a piece that the peer has: %+v", r)
		}
		if r := tor.Reach(0, 1<<20); r.Piece != 8 || r.Holders != 0 || r.Prospects != 0 {
			t.Errorf("the whole torrent, half of which nobody has: %+v", r)
		}
		for _, c := range []struct {
			first, last int
			want        float64
		}{{0, 7, 1}, {8, 15, 0}, {0, 15, 0.5}, {6, 8, 2. / 3}} {
			if got := tor.Availability(c.first, c.last); got != c.want {
				t.Errorf("availability of pieces %d to %d is %v, want %v", c.first, c.last, got, c.want)
			}
		}
		r := tor.NewReader(nil)
		w.read(r, 0, 1, time.Minute)
		r.Close()
		if r := tor.Reach(0, 1); r.Piece != -1 {
			t.Errorf("a piece that is here: %+v", r)
		}
		if a := tor.Availability(0, 0); a != 2 {
			t.Errorf("availability of a piece that two have is %v", a)
		}
	})
}
