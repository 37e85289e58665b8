package swarm

import (
	"math/bits"
	"slices"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// shortage is how the torrent goes about pieces that it lacks and nobody shows. The loop owns it.
type shortage struct {
	since  time.Duration    // when we last ceased to have everything; 0: never did
	told   bool             // the sources know that we did
	coaxed []metainfo.Piece // pieces that are fetched so that their peers show others
	looked time.Duration    // when coaxed was last looked at
}

const (
	// coaxAfter is how long a read waits for a piece that nobody shows before others are fetched.
	coaxAfter = time.Second
	// coaxPause is between two looks at what peers show.
	coaxPause = 200 * time.Millisecond
	// maxShown is how many pieces that we lack a seed shows that hides the others: libtorrent
	// shows a few at a time.
	maxShown = 8
	// interestPause is for how long a peer that does not know BEP 6 may take to say what it has.
	interestPause = 2 * time.Second
)

// tellSources tells the sources that pieces lack again, once it is sure: what is in doubt may
// turn out to be right.
func (s *shortage) tellSources(t *Torrent) {
	if s.since == 0 || s.told || int(t.pieces.nHeld.Load())+t.pieces.Doubtful() >= t.info.NumPieces() {
		return
	}
	s.told = true
	for _, src := range t.pool.sources.all {
		if r, ok := src.(Regainer); ok {
			r.Incomplete()
		} else {
			src.NeedPeers()
		}
	}
}

// began notes that pieces lack of a torrent that had all of them, and calls the seeds back that were let go because both
// sides had everything.
func (s *shortage) began(t *Torrent) {
	s.since, s.told = t.now(), false
	t.web.retry(t.now())
	t.pool.perform()
}

// coax fetches what peers show that may be seeds in disguise (BEP 16): such a seed shows a
// few pieces, and others when it sees that these came. That is done while a read waits
// for a piece that nobody shows. If everything is wanted anyway there is nothing to do.
func (s *shortage) coax(t *Torrent, now time.Duration) {
	s.looked = now
	var shown []metainfo.Piece
	held := t.pieces.Committed()
	if readsUnshown(t) {
		for _, c := range t.peers {
			if c != nil && !c.isSeed() && c.remoteCount > 0 {
				shown = append(shown, c.showing(held)...)
			}
		}
	}
	slices.Sort(shown)
	shown = slices.Compact(shown)
	if slices.Equal(shown, s.coaxed) {
		return
	}
	s.coaxed = shown
	want := t.cfg.wanted()
	for _, p := range shown {
		want = append(want, metainfo.ByteRange{Off: int64(p) * t.info.PieceLength(), Len: t.info.PieceSize(p)})
	}
	t.picker.SetWant(now, want)
}

// coaxSoon is coax when a peer shows another piece.
func (s *shortage) coaxSoon(t *Torrent, now time.Duration) {
	if len(s.coaxed) > 0 && now-s.looked >= coaxPause {
		s.coax(t, now)
	}
}

// showing is the few pieces that a peer shows and that are not held, none if there are many.
func (c *peer) showing(held bitset.Set) (lack []metainfo.Piece) {
	for w, word := range c.remote {
		for word &^= held[w]; word != 0; word &= word - 1 {
			if len(lack) == maxShown {
				return nil
			}
			lack = append(lack, w<<6+bits.TrailingZeros64(word))
		}
	}
	return lack
}

// readsUnshown reports whether a read has waited for a while for a piece that no peer shows.
func readsUnshown(t *Torrent) bool {
	if t.cfg.Prefetch && t.cfg.Want == nil {
		return false
	}
	for _, d := range t.reads.waiting {
		if d.expected || time.Since(d.since) < coaxAfter {
			continue
		}
		end := min(d.off+int64(d.n), t.info.Size())
		for p := t.info.PieceOf(d.off); p <= t.info.PieceOf(end-1); p++ {
			if holders, _ := t.holders(p); holders == 0 && !t.pieces.Has(p) {
				return true
			}
		}
	}
	return false
}

// reviewInterest takes back the interest that went out with the handshake, of peers that
// turned out to have nothing for us: a super-seeding one shows pieces when we lose
// interest (BEP 16).
func (t *Torrent) reviewInterest() {
	for _, c := range t.peers {
		if c != nil && c.presumed && (c.heardBits || c.remoteCount > 0 || time.Since(c.since) > interestPause) {
			t.sendInterested(c, false)
		}
	}
}

// maySuperSeed reports whether a peer showed one by one all that it has. A super-seeding one
// shows another piece when it hears that we have one that it showed (BEP 16).
func (c *peer) maySuperSeed() bool { return !c.isSeed() && c.haves == c.remoteCount }
