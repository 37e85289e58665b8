package cache

import (
	"cmp"
	"fmt"
	"log/slog"

	"torrentfs/cache/resume"
	"torrentfs/cache/vfs"
	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// Open opens the torrent's content below opt.DataDir, whether it is new, was
// left by this program, or by another. [ErrLocked] says that another store
// works there. The store reads info and never changes it.
func (c *Cache) Open(info *metainfo.Info, opt Options) (*Store, error) {
	s, err := c.open(info, opt)
	if err != nil {
		return nil, fmt.Errorf("open store of %q: %w", info.Name, err)
	}
	return s, nil
}

func (c *Cache) open(info *metainfo.Info, opt Options) (_ *Store, err error) {
	lay, err := newLayout(info)
	if err != nil {
		return nil, err
	}
	if opt.UnverifiedMemory == 0 {
		opt.UnverifiedMemory = DefaultUnverifiedMemory
	}
	s := newStore(c, lay, opt)
	if s.fs == nil {
		if s.fs, err = vfs.Open(opt.DataDir); err != nil {
			return nil, err
		}
	}
	s.space = diskSpace{s.fs, opt.KeepFree}
	defer func() {
		if err != nil {
			s.unlock()
		}
	}()
	s.resume = &stateFiles{
		fs: s.fs, base: resume.StateDir + "/" + info.Hash.String(),
		id: resume.Identity{
			V1: info.Hash.V1, V2: info.Hash.V2,
			PieceLength: lay.pieceLen, Pieces: lay.pieces, BlocksPerPiece: lay.perPiece, Files: len(lay.files),
		},
	}
	if err := s.locks.lockTorrent(); err != nil {
		return nil, err
	}
	if err := s.settle(info); err != nil {
		return nil, err
	}
	(&scan{s: s}).run(info)
	makes := emptyFiles{s}
	empties := makes.empties()
	atOpen := min(len(empties), emptiesAtOpen)
	makes.makeEmpties(empties[:atOpen])
	if err := c.adopt(s); err != nil {
		return nil, err
	}
	if files, _ := s.completeFiles(); len(files) > 0 {
		signal(s.sync.sealKick) // for the catalogue
	}
	s.wg.Add(2)
	go s.write.writeLoop(empties[atOpen:])
	go s.sync.syncLoop()
	return s, nil
}

// newStore makes a store that has not looked at its folder yet.
func newStore(c *Cache, lay *layout, opt Options) *Store {
	s := &Store{
		cache: c, lay: lay, opt: opt, fs: opt.FS, ord: c.last.Add(1),
		log:   cmp.Or(opt.Logger, slog.New(slog.DiscardHandler)),
		guard: newCloseGuard(), states: newPieceStates(lay.pieces), untold: make(map[int]struct{}),
		complete: newSharedBits(len(lay.files)), pieces: make(map[int]*pieceBuf),
		fileBytes: make([]int64, len(lay.files)), stats: make([]resume.FileState, len(lay.files)),
		dirtyFiles: make(map[int]struct{}), dirtyDirs: make(map[string]struct{}),
		unsyncable: make(map[int]struct{}), unsure: make(map[int]struct{}), rewrites: make(map[int]struct{}),
		rechecks: make(map[int]struct{}), filling: make(map[int]struct{}), pins: make(map[int]*pin),
		suspicion: suspicion{blocks: make(map[int]bitset.Set), files: make(map[int]struct{})},
		watches:   make(map[int]*watch),
		news:      make(chan struct{}, 1), done: make(chan struct{}),
	}
	s.write, s.sync, s.locks.s = newWriter(s), newSyncer(s), s
	s.disk = diskHealth{log: s.log, onError: opt.OnError, stuck: make(map[*operation]struct{})}
	return s
}
