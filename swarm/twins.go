package swarm

import (
	"sort"

	"torrentfs/internal/bitset"
)

// maxTwinFaults is how many pieces of a twin may be wrong, or fail to be
// copied, before nothing more is taken from it.
const maxTwinFaults = 4

// Twin is a file on this machine that is said to have the content of one of
// the torrent's files. Nothing is trusted: each piece is hashed after it was
// copied, by the checkers, and those that a read waits for come first. What is
// wrong comes from peers.
type Twin struct {
	First, Pieces int    // of the torrent, which hold the file and nothing else
	Path          string // for the log
	// Fill puts a piece where the store has it. Any goroutine may call it.
	Fill func(piece int) error
}

// twin is a Twin as the loop knows it.
type twin struct {
	Twin
	faults int
	taken  int64 // bytes
	out    int   // pieces claimed, and not judged
	told   bool  // in the log
}

// twins are the files on this machine that pieces may be taken from. The loop
// owns them. A claimed piece is in doubt, as one is that was found on disk: the
// picker takes it for held until a checker finds it wrong.
type twins struct {
	list    []*twin    // by first piece
	claimed bitset.Set // pieces that are in doubt for the sake of a twin
	tried   bitset.Set // pieces that were claimed once
	pending bool       // some wait for their hash to be known
	taken   int64      // bytes
}

// at is the twin of a piece, nil where it has none.
func (w *twins) at(piece int) *twin {
	i := sort.Search(len(w.list), func(i int) bool { return w.list[i].First+w.list[i].Pieces > piece })
	if i == len(w.list) || w.list[i].First > piece {
		return nil
	}
	return w.list[i]
}

// Offer tells of files on this machine whose pieces need not be downloaded. What
// the background wants is taken at once, else what is read. It is called once.
func (t *Torrent) Offer(offered []Twin) error {
	if len(offered) == 0 || t.trees == nil {
		return nil
	}
	return t.call(func() {
		n := t.info.NumPieces()
		t.twins.claimed, t.twins.tried = bitset.New(n), bitset.New(n)
		for _, x := range offered {
			t.twins.list = append(t.twins.list, &twin{Twin: x})
		}
		sort.Slice(t.twins.list, func(i, j int) bool { return t.twins.list[i].First < t.twins.list[j].First })
		for _, d := range t.waiting {
			t.claimRange(t.info.PieceOf(d.off), t.info.PieceOf(d.off+int64(d.n)-1))
		}
		t.twins.pending = true
		t.claimTwins()
	})
}

// claimTwins claims what the background download wants of the twins.
func (t *Torrent) claimTwins() {
	if !t.twins.pending || !t.cfg.Prefetch {
		return
	}
	t.twins.pending = false
	for _, w := range t.twins.list {
		for p := w.First; p < w.First+w.Pieces; p++ {
			if t.wants(p) {
				t.claim(w, p)
			}
		}
	}
}

// wants says whether the background download is to fetch a piece.
func (t *Torrent) wants(piece int) bool {
	if t.cfg.Want == nil {
		return true
	}
	from := int64(piece) * t.info.PieceLength()
	for _, r := range t.cfg.Want {
		if r.Off < from+t.info.PieceLength() && from < r.Off+r.Len {
			return true
		}
	}
	return false
}

// claimRange claims the pieces of a read.
func (t *Torrent) claimRange(first, last int) {
	if len(t.twins.list) == 0 {
		return
	}
	for p := first; p <= last; p++ {
		if w := t.twins.at(p); w != nil {
			t.claim(w, p)
		}
	}
}

// claim has a piece taken from its twin, unless it is here or on its way. One
// that could not be verified yet waits for its hash.
func (t *Torrent) claim(w *twin, piece int) {
	if w.faults >= maxTwinFaults || t.held.Has(piece) || t.doubt.has(piece) || t.twins.tried.Has(piece) || t.begun(piece) {
		return
	}
	if _, known := t.trees.node(t.trees.at(piece), piece); !known && !t.info.Hash.HasV1 {
		t.twins.pending = true
		return
	}
	t.twins.tried.Set(piece)
	t.twins.claimed.Set(piece)
	w.out++
	t.doubt.add(piece)
	t.picker.Verified(t.now(), piece, true)
}

// begun says whether anything of a piece has come.
func (t *Torrent) begun(piece int) bool {
	if t.hashing[piece] != nil {
		return true
	}
	for b := range t.info.NumBlocks(piece) {
		if t.store.HasBlock(piece, b) {
			return true
		}
	}
	return false
}

// nextCheck is the checkers' next piece, which the select in run then has them take.
func (t *Torrent) nextCheck() checkJob {
	piece := t.doubt.first()
	if piece < 0 || len(t.twins.list) == 0 || !t.twins.claimed.Has(piece) {
		return checkJob{piece: piece, tries: t.unread.tries(piece)}
	}
	return checkJob{piece: piece, tries: 1, twin: t.twins.at(piece)}
}

// twinChecked follows the verdict on a piece that was to come from a twin.
func (t *Torrent) twinChecked(r hashResult) {
	if len(t.twins.list) == 0 || !t.twins.claimed.Clear(r.piece) {
		return
	}
	w := t.twins.at(r.piece)
	w.out--
	if r.ok {
		f := t.trees.at(r.piece)
		n := min(f.length-int64(r.piece-f.first)*t.info.PieceLength(), t.info.PieceLength())
		w.taken += n
		t.twins.taken += n
	} else if w.faults++; w.faults == maxTwinFaults {
		t.log.Warn("another torrent's file is not what it should be: the rest is downloaded", "file", w.Path, "piece", r.piece, "err", r.err)
		t.releaseTwin(w)
	}
	if w.out == 0 && w.taken > 0 && !w.told {
		w.told = true
		t.log.Info("took what another torrent has already", "file", w.Path, "bytes", w.taken, "wrong_pieces", w.faults)
	}
}

// releaseTwin gives the pieces back that no checker has begun with.
func (t *Torrent) releaseTwin(w *twin) {
	for p := w.First; p < w.First+w.Pieces; p++ {
		if t.twins.claimed.Has(p) && !t.doubt.taking.Has(p) {
			t.twins.claimed.Clear(p)
			w.out--
			t.doubt.remove(p)
			t.picker.Lost(t.now(), p)
		}
	}
}
