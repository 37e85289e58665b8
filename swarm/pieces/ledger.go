package pieces

import (
	"math/rand/v2"
	"slices"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/swarm/pieces/smartban"
)

// warnPause is how often the log hears of pieces that cannot be checked.
const warnPause = time.Minute

// Config is what a [Ledger] is made with. The functions are called by its methods, and must not call any of them.
type Config struct {
	Pieces  int
	Held    []uint64   // pieces that are committed at the beginning, by bits; may be shorter than Pieces
	InDoubt []uint64   // likewise, those that have bytes on disk which nobody vouches for
	Leaves  bool       // each block can be proven by its leaf (BEP 52)
	Rand    *rand.Rand // for pauses

	Blocks func(metainfo.Piece) int   // how many blocks a piece has
	Bytes  func(metainfo.Piece) int64 // how many bytes of its file a piece has, of a torrent with duplicates
	// Committed reports whether the store has a piece committed at this moment. Workers commit before the ledger hears of
	// it, and others withdraw it before the ledger hears of that: the store is right.
	Committed func(metainfo.Piece) bool
	Known     func(metainfo.Piece) bool // whether the hash of a piece is known
	Stored    func(metainfo.Piece) bool // whether the store has blocks of a piece that are verified by themselves
	Wanted    func(metainfo.Piece) bool // whether the background download wants a piece; nil: there is none
}

// Ledger is what a torrent knows of its pieces. It belongs to one goroutine.
type Ledger struct {
	cfg   Config
	held  bitset.Set // committed
	nHeld int

	underWay   bitset.Set                  // being hashed as their blocks come
	unjudged   map[metainfo.Piece]struct{} // complete, and their hash is not known yet
	suspicious map[metainfo.Piece]struct{} // they failed their hash, and are not right yet
	evidence   smartban.Evidence

	rechecks   rechecks
	unchecked  unchecked
	duplicates duplicates
	warned     time.Duration // when the log last heard of a piece that could not be checked
	out        []Action
}

// New returns the ledger of a torrent at its beginning. A piece that is said to be held and in doubt is held.
func New(cfg Config) *Ledger {
	l := &Ledger{
		cfg: cfg, held: bitset.New(cfg.Pieces), underWay: bitset.New(cfg.Pieces), rechecks: newRechecks(cfg.InDoubt, cfg.Pieces),
		unjudged: map[metainfo.Piece]struct{}{}, suspicious: map[metainfo.Piece]struct{}{},
	}
	copy(l.held, cfg.Held)
	l.nHeld = l.held.Count()
	for p := range cfg.Pieces {
		if l.held.Has(p) {
			l.rechecks.remove(p)
		}
	}
	return l
}

// Has reports whether a piece is committed.
func (l *Ledger) Has(piece metainfo.Piece) bool { return l.held.Has(piece) }

// Count returns how many pieces are committed.
func (l *Ledger) Count() int { return l.nHeld }

// Committed returns the set of committed pieces. It is the ledger's own: the caller must not change or keep it.
func (l *Ledger) Committed() bitset.Set { return l.held }

// InDoubt reports whether a piece waits for a checker, or is at one.
func (l *Ledger) InDoubt(piece metainfo.Piece) bool { return l.rechecks.has(piece) }

// Doubtful returns how many pieces are in doubt.
func (l *Ledger) Doubtful() int { return l.rechecks.n }

// UnderWay reports whether a piece is being hashed as its blocks come.
func (l *Ledger) UnderWay(piece metainfo.Piece) bool { return l.underWay.Has(piece) }

// Suspicious reports whether a piece failed its hash, so that each of its blocks is to be proven.
func (l *Ledger) Suspicious(piece metainfo.Piece) bool {
	_, bad := l.suspicious[piece]
	return bad
}

// Evidence tells who sent the blocks of pieces under way.
func (l *Ledger) Evidence() *smartban.Evidence { return &l.evidence }

// NextDeadline is when [Ledger.Tick] is due.
func (l *Ledger) NextDeadline() time.Duration { return l.unchecked.due() }

// Begin tells that something of a piece came, that is to be hashed.
func (l *Ledger) Begin(piece metainfo.Piece) { l.underWay.Set(piece) }

// Received tells who sent a block that goes to a hash worker.
func (l *Ledger) Received(b metainfo.Block, by smartban.Sender) {
	l.Begin(b.Piece)
	l.evidence.Received(b, l.cfg.Blocks(b.Piece), by)
}

// Abandon tells that nothing of a piece is under way any more but blocks that are verified by themselves: a later block
// begins it anew.
func (l *Ledger) Abandon(piece metainfo.Piece) {
	l.underWay.Clear(piece)
	delete(l.unjudged, piece)
	l.evidence.Forget(piece)
}

// BlockFailed takes a hash worker's word that a block is not what its leaf says.
func (l *Ledger) BlockFailed(b metainfo.Block) []Action {
	if by := l.evidence.Sender(b); by.Known() {
		l.ban(b.Piece, by) // also if it has left
	}
	return l.drain()
}

// Complete takes a hash worker's word that all blocks of a piece came, and that its hash is not known.
func (l *Ledger) Complete(piece metainfo.Piece) { l.unjudged[piece] = struct{}{} }

// HashesCame has the pieces judged that waited for their hash, if it is known now.
func (l *Ledger) HashesCame() []Action {
	for p := range l.unjudged {
		if l.cfg.Known(p) {
			delete(l.unjudged, p)
			if l.UnderWay(p) {
				l.act(Judge, p)
			}
		}
	}
	slices.SortFunc(l.out, func(a, b Action) int { return int(a.Piece - b.Piece) })
	return l.drain()
}

// Hashed takes a hash worker's verdict on a piece. read returns its blocks as they came.
func (l *Ledger) Hashed(v Verdict, read smartban.ReadBlock) []Action {
	l.forget(v.Piece)
	delete(l.suspicious, v.Piece)
	switch committed := l.cfg.Committed(v.Piece); {
	case v.Contradiction:
		l.act(Contradiction, v.Piece)
	case v.OK:
		if by := l.evidence.Sole(v.Piece); by.Web > 0 {
			l.out = append(l.out, Action{Kind: Credit, Piece: v.Piece, Sender: by})
		}
		l.ban(v.Piece, l.evidence.Passed(v.Piece, read)...)
		if committed {
			l.hold(v.Piece)
		}
		if committed || l.InDoubt(v.Piece) { // else it was withdrawn since, and Invalidate is on its way
			l.act(Held, v.Piece)
		}
	case committed: // by a checker meanwhile
		l.evidence.Forget(v.Piece)
		l.hold(v.Piece)
		l.act(Held, v.Piece)
	case v.Err != nil: // the disk's fault: nobody is blamed
		l.act(Discard, v.Piece)
		l.act(Lost, v.Piece)
	default:
		liars := l.evidence.Failed(v.Piece, read)
		if l.cfg.Leaves {
			l.suspicious[v.Piece] = struct{}{}
		}
		l.act(Discard, v.Piece)
		l.act(Failed, v.Piece)
		l.ban(v.Piece, liars...)
	}
	return l.drain()
}

// Invalidate tells of pieces whose bytes the store vouches for no more: they are checked. The disk did not give failed,
// if unreadable is set: it is checked later, if that is not the first time of late.
func (l *Ledger) Invalidate(now time.Duration, pieces []metainfo.Piece, failed metainfo.Piece, unreadable bool) []Action {
	for _, p := range pieces {
		had := l.unhold(p)
		if p == failed && unreadable && l.unchecked.failed(now, p, l.cfg.Rand.Float64()) > 1 {
			l.setAside(now, p)
			continue
		}
		l.rechecks.add(p)
		if !had {
			l.act(Held, p)
		}
	}
	return l.drain()
}

// Dropped tells of pieces that the store gave up.
func (l *Ledger) Dropped(pieces []metainfo.Piece) []Action {
	for _, p := range pieces {
		l.unhold(p)
		l.refetch(p)
	}
	return l.drain()
}

// Tick has a piece checked that could not be read, when its time has come.
func (l *Ledger) Tick(now time.Duration) {
	u := &l.unchecked
	u.forget(now)
	for now >= u.due() {
		taken := u.take(now, false)
		if len(taken) == 0 {
			return
		}
		if p := taken[0]; l.lacks(p) {
			u.trying, u.trial = true, p
			l.rechecks.add(p)
		}
	}
}

// diskReads follows a check for which the disk gave all of a piece: if it was the trial, all others are tried.
func (l *Ledger) diskReads(now time.Duration, piece metainfo.Piece) {
	u := &l.unchecked
	if !u.trying || u.trial != piece {
		return
	}
	u.trying, u.pause = false, 0
	for _, p := range u.take(now, true) {
		if l.lacks(p) {
			l.rechecks.add(p)
		}
	}
}

// setAside leaves a piece alone that the disk does not give: it is fetched, and the disk is tried again later.
func (l *Ledger) setAside(now time.Duration, piece metainfo.Piece) {
	l.unchecked.add(now, piece, l.cfg.Rand.Float64())
	l.refetch(piece)
}

// refetch has a piece fetched that was held or in doubt.
func (l *Ledger) refetch(piece metainfo.Piece) {
	l.forget(piece) // it may know of blocks that are gone
	l.act(Lost, piece)
}

// lacks reports whether nothing of a piece has come since it could not be read.
func (l *Ledger) lacks(piece metainfo.Piece) bool {
	return !l.Has(piece) && !l.UnderWay(piece) && !l.InDoubt(piece)
}

// forget ends the hashing of a piece.
func (l *Ledger) forget(piece metainfo.Piece) {
	l.underWay.Clear(piece)
	delete(l.unjudged, piece)
	l.act(Forget, piece)
}

func (l *Ledger) hold(piece metainfo.Piece) {
	if l.held.Set(piece) {
		l.nHeld++
		l.act(Have, piece)
	}
}

func (l *Ledger) unhold(piece metainfo.Piece) (had bool) {
	if had = l.held.Clear(piece); had {
		l.nHeld--
		l.act(DontHave, piece)
	}
	return had
}

func (l *Ledger) ban(piece metainfo.Piece, liars ...smartban.Sender) {
	for _, by := range liars {
		l.out = append(l.out, Action{Kind: Ban, Piece: piece, Sender: by})
	}
}

func (l *Ledger) act(k Kind, piece metainfo.Piece) {
	l.out = append(l.out, Action{Kind: k, Piece: piece})
}

// drain returns what is to be done, and is the caller's.
func (l *Ledger) drain() []Action {
	out := l.out
	l.out = nil
	return out
}
