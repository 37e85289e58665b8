package library

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"

	"torrentfs/cache"
	"torrentfs/internal/version"
	"torrentfs/metainfo"
	"torrentfs/net/guard"
	"torrentfs/swarm"
	"torrentfs/swarm/announce"
)

// Defaults of a [Config].
const (
	DefaultMemoryCache = 64 << 20
	DefaultPeerLimit   = 80
)

// Config is what a library is opened with. Its zero value works.
type Config struct {
	DataDir     string   // where the torrents' own layout lies
	DataRoots   []string // folders of data folders: what is complete there is not downloaded
	MetadataDir string   // where Resolve keeps metadata; "" keeps none

	MemoryCache int64 // bytes of verified blocks in memory; 0 = DefaultMemoryCache
	InFlight    int64 // bytes of a torrent under way and not yet on disk; 0 = the engine's default
	OpenFiles   int   // payload files kept open; 0 = the cache's default

	// ListenAddr is the address for incoming peers, TCP and UDP, such as ":6881"; "" is any free
	// port, "-" is none.
	ListenAddr  string
	PeerLimit   int   // connected peers per torrent; 0 = DefaultPeerLimit
	MaxDownload int64 // payload bytes per second over all torrents; 0 = unlimited
	MaxUpload   int64 // likewise
	Encryption  Encryption
	DisableUTP  bool                  // TCP alone
	Blocked     func(netip.Addr) bool // addresses to have nothing to do with; cheap. nil: none
	TrustPeers  []netip.Addr          // not public, and yet a proxy may be asked for them
	Discovery   Discovery             // of peers, beside trackers

	// Network is what all traffic takes; nil is the system's. Behind a proxy nobody reaches us; uTP,
	// the DHT and UDP trackers are there if it relays UDP.
	Network *Network
	Logger  *slog.Logger // nil: silent
}

// AddOptions is how one torrent is run.
type AddOptions struct {
	DataDir    string           // "" = the library's
	Peers      []netip.AddrPort // known beforehand, tried at once
	NoPrefetch bool             // fetch only what is read, and its read-ahead
	// Select are the files to prefetch, by index in torrent order (BEP 53); none means all. The
	// others are there, and fetched when they are read.
	Select     []metainfo.IndexRange
	Strategy   Strategy // in which order the rest is fetched, behind what is read
	ReadAhead  int64    // most bytes ahead of a reader in order; 0 = the default, negative = none
	NoTrackers bool     // do not announce
	// Purpose is what it is run for, such as "torrentfs mount on /mnt/film": another process that
	// wants the same data folder is told. It is not secret.
	Purpose string
	// Overwrite takes whatever lies under the torrent's names for its own.
	// Without it, files with none of the torrent's content are left as they
	// are, and the torrent's get other names.
	Overwrite bool
	SeedOnly  bool // make and write no file
	// KeepFree is how much of the disk is left free, in bytes; 0 = 1 percent of
	// it, at most 1 GiB, negative = nothing.
	KeepFree int64

	OnUnavailable OnUnavailable // reads of files whose bytes do not come

	noWebSeeds bool // tests: ask no web server that the torrent names
}

// ErrClosed is returned by a library that has been closed.
var ErrClosed = errors.New("library is closed")

// ListenError is that the port for incoming peers could not be opened.
type ListenError struct {
	Addr string
	Err  error
}

func (e *ListenError) Error() string { return fmt.Sprintf("listen on %s: %v", e.Addr, e.Err) }
func (e *ListenError) Unwrap() error { return e.Err }

// DataError is that a torrent's data folder cannot be used.
type DataError struct {
	Dir string
	Err error
}

func (e *DataError) Error() string { return fmt.Sprintf("open data folder %s: %v", e.Dir, e.Err) }
func (e *DataError) Unwrap() error { return e.Err }

// Library is a set of torrents that share a port, a memory cache and limits.
type Library struct {
	cfg       Config
	log       *slog.Logger
	session   *swarm.Session
	cache     *cache.Cache
	trackers  *announce.Client
	discover  *discovery
	webDialer *guard.Dialer
	listeners *listeners
	port      int
	key       uint32 // BEP 7: the same towards every tracker

	offline atomic.Bool // there is no network

	mu       sync.Mutex // guards what follows; a leaf
	torrents map[*Torrent]struct{}
	searches map[*search]struct{} // for metadata: under way, or their torrent is not added yet
	closed   bool
}

// Open starts a library: it listens and is ready for [Library.Add].
func Open(cfg Config) (*Library, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.MemoryCache <= 0 {
		cfg.MemoryCache = DefaultMemoryCache
	}
	if cfg.PeerLimit <= 0 {
		cfg.PeerLimit = DefaultPeerLimit
	}
	if cfg.ListenAddr == "" {
		cfg.ListenAddr = ":0"
	}
	blocked := behindProxy(cfg)
	l := &Library{cfg: cfg, log: cfg.Logger, key: rand.Uint32(), webDialer: newWebDialer(cfg.Network.out(), cfg.Blocked, cfg.Network.trust()), torrents: map[*Torrent]struct{}{}, searches: map[*search]struct{}{}}
	var err error
	if l.listeners, err = openListeners(cfg, l.log); err != nil {
		return nil, err
	}
	l.port = l.listeners.port()
	if l.cache, err = cache.New(cache.Config{Memory: cfg.MemoryCache, OpenFiles: cfg.OpenFiles}); err != nil {
		l.listeners.close()
		return nil, fmt.Errorf("open memory cache: %w", err)
	}
	l.trackers = announce.NewClient(announce.ClientConfig{Network: cfg.Network.out(), Trust: cfg.Network.trust(), Logger: cfg.Logger})
	l.discover = newDiscovery()
	if cfg.Discovery.DHT && l.listeners.shared != nil {
		l.discover.openDHT(cfg.Discovery, cfg.Network.out(), l.listeners.shared, blocked, l.log)
	}
	if cfg.Discovery.LSD && l.port != 0 {
		l.discover.local.port, l.discover.local.network = uint16(l.port), cfg.Network.out()
	}
	sc := swarm.Config{
		Listener: l.listeners.tcp, Dialer: cfg.Network.out(), Logger: cfg.Logger, Client: version.Client,
		MaxDownload: cfg.MaxDownload, MaxUpload: cfg.MaxUpload, Encryption: swarm.Encryption(cfg.Encryption), Blocked: blocked,
	}
	if l.listeners.utp != nil {
		sc.UTP, sc.Source = l.listeners.utp, l.sourceOf
	}
	if l.discover.dht != nil {
		sc.DHTPort, sc.DHTNode = l.listeners.udpPort(), l.discover.dht.AddNode
	}
	if cfg.Discovery.PortMap && l.port != 0 {
		l.discover.openPorts(cfg.Network.out(), uint16(l.port), l.listeners.udpPort(), l.log)
	}
	l.session = swarm.NewSession(sc)
	l.discover.run(l.log)
	l.discover.followRelay(l.listeners.relayed)
	l.watchNetwork()
	return l, nil
}

// Port is the TCP port for incoming peers, 0 if it does not listen.
func (l *Library) Port() int { return l.port }

// announcedPort is the port that trackers are told. Many refuse 0; who does not
// listen says 1, as other clients do, where nobody will be found.
func (l *Library) announcedPort() uint16 {
	if l.port == 0 {
		return 1
	}
	return uint16(l.port)
}

// Add opens the torrent's store and starts it. Data that is found on disk and
// needs hashing is hashed in the background; see [Torrent.Checked].
func (l *Library) Add(ctx context.Context, mi *metainfo.MetaInfo, o AddOptions) (*Torrent, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.DataDir == "" {
		o.DataDir = l.cfg.DataDir
	}
	t, err := l.openTorrent(mi, o)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.torrents[t] = struct{}{}
	}
	l.mu.Unlock()
	if closed {
		t.close()
		return nil, ErrClosed
	}
	return t, nil
}

// Remove stops one torrent; its data stays on disk.
func (l *Library) Remove(ctx context.Context, t *Torrent) error {
	l.mu.Lock()
	_, mine := l.torrents[t]
	delete(l.torrents, t)
	l.mu.Unlock()
	if !mine {
		return nil
	}
	return t.close()
}

// Close stops every torrent and loses nothing: what is verified is on disk when
// it returns without an error. If ctx ends first, the disk takes too long: the
// rest of it goes on in the background, until the process ends.
func (l *Library) Close(ctx context.Context) error {
	closed := make(chan error, 1)
	go func() { closed <- l.close() }()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("close library: not everything was written in time, the disk is too slow or hangs: %w", ctx.Err())
	}
}

func (l *Library) close() error {
	l.mu.Lock()
	l.closed = true
	all := l.torrents
	l.torrents = nil
	var found []*swarm.Metadata
	for s := range l.searches {
		found = append(found, s.found) // nil while it goes on: it ends with the session
	}
	l.searches = nil
	l.mu.Unlock()
	var wg sync.WaitGroup
	for _, md := range found {
		wg.Go(md.Close)
	}
	errs := make(chan error, len(all))
	for t := range all {
		wg.Go(func() { errs <- t.close() })
	}
	wg.Wait()
	close(errs)
	var err error
	for e := range errs {
		err = errors.Join(err, e)
	}
	return errors.Join(err, l.session.Close(), l.discover.close(), l.listeners.close(), l.trackers.Close(), l.cache.Close())
}
