package library

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"torrentfs/cache"
	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm"
	"torrentfs/verify"
)

// syncRetry is the pause before a disk that failed is asked again whether it
// has everything.
const syncRetry = 2 * time.Second

// Torrent is one torrent of a library.
type Torrent struct {
	l        *Library
	info     *metainfo.Info
	store    *cache.Store
	dataDir  string
	swarm    *swarm.Torrent
	sources  peerSources
	tree     *tree
	reads    *readOwner
	prefetch bool      // everything is wanted
	created  time.Time // see shownDate; shown if a file has no time of its own

	complete chan struct{} // every piece verified and durable
	selected chan struct{} // the same of the selected files
	fileDone chan struct{} // a file became complete; holds one token
	stop     context.CancelFunc
	wg       sync.WaitGroup
	closing  sync.Once
	closeErr error
}

func (l *Library) openTorrent(mi *metainfo.MetaInfo, o AddOptions) (*Torrent, error) {
	t := &Torrent{l: l, info: mi.Info, prefetch: !o.NoPrefetch, dataDir: o.DataDir}
	t.complete, t.selected, t.fileDone = make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	t.tree, t.reads = newTree(t, o.OnUnavailable), &readOwner{t, lackPatience, swarmPatience}
	var hashes cache.Hashes // nil: nothing is judged
	if !o.Overwrite {
		hashes = verify.NewHashes(mi)
	}
	store, err := l.cache.Open(mi.Info, cache.Options{
		DataDir: o.DataDir, Purpose: o.Purpose, Logger: l.log.With("torrent", mi.Info.Name), Hashes: hashes, SeedOnly: o.SeedOnly, KeepFree: o.KeepFree,
		OnFileComplete: t.fileComplete,
	})
	if err != nil {
		return nil, &DataError{o.DataDir, err}
	}
	t.store, t.created = store, shownDate(mi.Created, o.DataDir)
	if t.prefetch {
		t.tellRoom((&metainfo.Magnet{Select: o.Select}).Selected)
	}
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	found := t.openSources(mi, o)
	var webSeeds []swarm.WebSeedOpener
	if !o.noWebSeeds {
		webSeeds = l.webSeedOpeners(mi)
	}
	t.swarm, err = l.session.Add(swarm.TorrentConfig{
		Info: mi.Info, PieceLayers: mi.PieceLayers, Store: store, Sources: t.sources.all(), Peers: o.Peers, WebSeeds: webSeeds, Metadata: found,
		Prefetch: !o.NoPrefetch, Want: selectedRanges(mi.Info, o.Select), Order: picker.Order(o.Strategy), ReadAhead: o.ReadAhead, MaxPeers: l.cfg.PeerLimit, Memory: l.cfg.InFlight, Reads: t.reads,
	})
	if err != nil {
		stop()
		store.Close()
		return nil, err
	}
	if mi.Info.Hash.HasV2 {
		t.wg.Go(func() { t.offerDuplicates(ctx, o.DataDir) })
	}
	t.wg.Go(func() { t.awaitComplete(ctx) })
	t.wg.Go(func() { t.awaitSelected(ctx, o.Select) })
	return t, nil
}

// tellRoom warns of wanted files that do not fit on the disk.
func (t *Torrent) tellRoom(wanted func(file int) bool) {
	if t.store.ReadOnly() != nil {
		return
	}
	r, err := t.store.Room(wanted)
	if err != nil {
		t.log().Debug("ask for free space", "err", err)
		return
	}
	if !r.Fits() {
		t.log().Warn("not enough free space for all of the torrent: free some, or choose another data folder",
			"needed", r.Needed, "free", r.Free, "kept_free", r.Kept, "folder", t.dataDir)
	}
}

// awaitComplete closes t.complete once everything is verified and durable.
func (t *Torrent) awaitComplete(ctx context.Context) {
	select {
	case <-t.swarm.Complete():
	case <-ctx.Done():
		return
	}
	if received, _, _ := t.swarm.Totals(); t.sources.trackers != nil && received > 0 {
		t.sources.trackers.completed()
	}
	if t.awaitDurable(ctx, []metainfo.ByteRange{{Len: t.info.Size()}}) {
		close(t.complete)
	}
}

// awaitDurable waits until everything in the ranges, which is verified, outlives a
// crash, and reports whether that is so; else ctx has ended. What a failed sync
// has cost is fetched again meanwhile.
func (t *Torrent) awaitDurable(ctx context.Context, ranges []metainfo.ByteRange) bool {
	said := false
	for {
		err := t.store.Sync(ctx)
		if err == nil && t.durable(ranges) {
			return true
		}
		if err != nil && ctx.Err() == nil && !said {
			said = true // the store says it of the disk, Stats as long as it lasts
			t.log().Warn("everything is here, but the disk does not confirm that it is saved: it is asked again", "err", err)
		}
		select {
		case <-time.After(syncRetry):
		case <-ctx.Done():
			return false
		}
	}
}

func (t *Torrent) durable(ranges []metainfo.ByteRange) bool {
	for _, r := range ranges {
		if r.Len > 0 && !t.store.Durable(t.info.PieceOf(r.Off), t.info.PieceOf(r.Off+r.Len-1)) {
			return false
		}
	}
	return true
}

func (t *Torrent) log() *slog.Logger { return t.l.log.With("torrent", t.info.Name) }

// Info is the torrent's metadata.
func (t *Torrent) Info() *metainfo.Info { return t.info }

// Complete is closed once every piece is verified and on disk.
func (t *Torrent) Complete() <-chan struct{} { return t.complete }

// TopPath is where the torrent's file or directory lies below the data
// directory.
func (t *Torrent) TopPath() string {
	for i := range t.info.Files {
		if !t.info.Files[i].Pad {
			top, _, _ := strings.Cut(t.store.Path(i), "/")
			return top
		}
	}
	return t.info.Name
}

// ReadOnly tells why nothing is written to the data directory, nil if it is.
func (t *Torrent) ReadOnly() error { return t.store.ReadOnly() }

// Checked waits until everything found on disk has been hashed.
func (t *Torrent) Checked(ctx context.Context) error {
	select {
	case <-t.swarm.Settled():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// StopSeeding makes the torrent serve no peer any more. Reads and downloads go on.
func (t *Torrent) StopSeeding() error { return t.l.session.StopUploading(t.swarm) }

// Peers is a snapshot of the connections.
func (t *Torrent) Peers() []swarm.PeerStats { return t.swarm.Peers() }

// close stops the torrent: peers first, then the store.
func (t *Torrent) close() error {
	t.closing.Do(func() {
		t.stop()
		t.swarm.Close()
		t.wg.Wait()
		if err := t.store.Close(); err != nil {
			t.closeErr = fmt.Errorf("close data of %q: %w", t.info.Name, err)
		}
	})
	return t.closeErr
}
