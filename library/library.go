package library

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"

	"torrentfs/fs"
	"torrentfs/metainfo"
)

// Config is what a library is opened with. Its zero value works.
type Config struct {
	DataDir     string // where the torrents' own layout lies
	MemoryCache int64  // bytes of verified blocks kept in memory; 0 = 64 MiB
	ListenAddr  string // TCP address for incoming peers, e.g. ":6881"; "" = ":0" (any free port); "-" = do not listen
	MaxDownload int64  // bytes per second over all torrents; 0 = unlimited
	MaxUpload   int64  // likewise
	PeerLimit   int    // connected peers per torrent; 0 = 80
	Logger      *slog.Logger
}

// AddOptions is how one torrent is run.
type AddOptions struct {
	DataDir    string           // "" = the library's
	Peers      []netip.AddrPort // known beforehand, tried at once
	NoPrefetch bool             // fetch only what is read, and its read-ahead
	ReadAhead  int64            // most bytes fetched ahead of a sequential reader; 0 = the scheduler's default
	NoSeed     bool             // serve no peer
	NoTrackers bool             // do not announce
}

// ErrNotBuilt is returned while the engine is being assembled.
var ErrNotBuilt = errors.New("library: not assembled yet")

// Library is a set of torrents that share a port, a memory cache and limits.
type Library struct{}

// Open starts a library: it listens and is ready for [Library.Add].
func Open(cfg Config) (*Library, error) { return nil, ErrNotBuilt }

// Port is the TCP port for incoming peers, 0 where it does not listen.
func (l *Library) Port() int { return 0 }

// Close stops every torrent and loses nothing: what is verified is on disk when it returns.
func (l *Library) Close(ctx context.Context) error { return nil }

// Add opens the torrent's store and starts it.
func (l *Library) Add(ctx context.Context, mi *metainfo.MetaInfo, o AddOptions) (*Torrent, error) {
	return nil, ErrNotBuilt
}

// Remove stops one torrent; its data stays on disk.
func (l *Library) Remove(ctx context.Context, t *Torrent) error { return nil }

// Torrent is one torrent of a library.
type Torrent struct{}

// Source is the torrent as a tree of files, for fs.Mount.
func (t *Torrent) Source() fs.Source { return nil }

// Stats is a snapshot of the torrent.
func (t *Torrent) Stats() Stats { return Stats{} }

// Complete is closed once every piece is verified and on disk.
func (t *Torrent) Complete() <-chan struct{} { return nil }

// Checked waits until everything found on disk has been hashed.
func (t *Torrent) Checked(ctx context.Context) error { return nil }
