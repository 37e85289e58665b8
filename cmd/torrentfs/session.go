package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"torrentfs/internal/leave"
	"torrentfs/library"
	"torrentfs/metainfo"
)

// closeTimeout bounds a clean stop: telling the trackers and writing what is
// still in memory. A second signal ends it sooner.
const closeTimeout = time.Minute

// lockPatience is how long a command waits for another process to let go of
// the data directory: `umount` returns while the mount's process still writes.
const lockPatience = 5 * time.Second

// peerFlags are the flags of every command that talks to peers.
type peerFlags struct {
	ListenPort      uint16             `group:"peers" default:"0" aliases:"min-port" placeholder:"PORT" help:"Port for incoming peers, TCP and UDP; 0 takes any free one."`
	Peer            []peerAddr         `group:"peers" aliases:"initial-peers" placeholder:"HOST:PORT" help:"Also connect to this peer. May be repeated."`
	PeerLimit       int                `group:"peers" default:"80" placeholder:"N" help:"Most peers to be connected to."`
	MaxDownloadRate rate               `group:"peers" default:"off" placeholder:"RATE" help:"Most bytes per second from peers, such as 2M/s; off is no limit."`
	MaxUploadRate   rate               `group:"peers" default:"off" placeholder:"RATE" help:"Most bytes per second to peers."`
	Encryption      library.Encryption `group:"peers" default:"prefer" placeholder:"POLICY" values:"prefer,require,disable" help:"Encrypted connections (MSE): prefer takes both kinds and dials in plain first, require takes RC4 alone, disable plain alone."`
	DisableDHT      bool               `name:"disable-dht" env:"TORRENTFS_DISABLE_DHT" group:"peers" help:"Do not ask the DHT for peers."`
	DHTBootstrap    []peerAddr         `name:"dht-bootstrap" group:"peers" placeholder:"HOST:PORT" help:"Begin with this node of the DHT, not with the usual ones. May be repeated."`
	DisablePortmap  bool               `name:"disable-portmap" env:"TORRENTFS_DISABLE_PORTMAP" group:"peers" help:"Do not ask the router to let peers in."`
	Blocklist       []string           `name:"blocklist" group:"peers" placeholder:"FILE" complete:"file" help:"Have nothing to do with the addresses in this file or at this URL (P2P, DAT or plain, also with gzip). May be repeated."`
	DisableUTP      bool               `name:"disable-utp" group:"peers" help:"Talk to peers by TCP alone, not by uTP."`
	DisableLSD      bool               `name:"disable-lsd" env:"TORRENTFS_DISABLE_LSD" group:"peers" help:"Do not look for peers in the local network."`
	NoTrackers      bool               `group:"peers" help:"Announce to no tracker; connect to --peer and to who connects to us."`
	Network         networkFlags       `embed:""`
	MemoryCache     size               `group:"data" default:"64MiB" placeholder:"SIZE" help:"Memory for verified data that is read again, such as 64M or 1.5GiB."`
	MemoryLimit     size               `group:"data" default:"0" placeholder:"SIZE" help:"What the whole process should stay below; caches and what is under way are made to fit. 0 is no limit of its own."`
}

// Validate checks what the types of the flags do not.
func (p peerFlags) Validate() error {
	if p.PeerLimit < 1 {
		return fmt.Errorf("--peer-limit: want at least 1, got %d", p.PeerLimit)
	}
	if p.MemoryCache < 1<<20 {
		return fmt.Errorf("--memory-cache: want at least 1MiB, got %s", p.MemoryCache)
	}
	if p.MemoryLimit != 0 && p.MemoryLimit < minMemoryLimit {
		return fmt.Errorf("--memory-limit: want at least %s, got %s", size(minMemoryLimit), p.MemoryLimit)
	}
	return nil
}

// peerAddr is a host and port from the command line; the host may be a name.
type peerAddr struct {
	host string
	port uint16
}

// UnmarshalText parses HOST:PORT.
func (p *peerAddr) UnmarshalText(text []byte) error {
	host, port, err := net.SplitHostPort(string(text))
	if err != nil || host == "" {
		return fmt.Errorf("parse peer address %q: want HOST:PORT, an IPv6 address in brackets", text)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("parse peer address %q: want a port between 1 and 65535", text)
	}
	p.host, p.port = host, uint16(n)
	return nil
}

// discovery is how peers are found beside trackers.
func (p peerFlags) discovery() library.Discovery {
	d := library.Discovery{DHT: !p.DisableDHT, LSD: !p.DisableLSD, PortMap: !p.DisablePortmap, DHTState: cacheFile("dht")}
	for _, n := range p.DHTBootstrap {
		d.DHTBootstrap = append(d.DHTBootstrap, net.JoinHostPort(n.host, strconv.Itoa(int(n.port))))
	}
	return d
}

// trustPeers is the addresses of peers and nodes that the flags name: what a proxy
// is asked for at the user's word.
func (p peerFlags) trustPeers() (addrs []netip.Addr) {
	for _, n := range slices.Concat(p.Peer, p.DHTBootstrap) {
		if a, err := netip.ParseAddr(n.host); err == nil {
			addrs = append(addrs, a.Unmap())
		}
	}
	return addrs
}

// resolvePeers turns the addresses of --peer into numbers.
func resolvePeers(ctx context.Context, network *library.Network, peers []peerAddr) ([]netip.AddrPort, error) {
	var addrs []netip.AddrPort
	for _, p := range peers {
		all, err := network.LookupPeer(ctx, p.host, p.port)
		switch {
		case errors.Is(err, library.ErrProxied):
			return nil, fail(exitNetwork, "give its address", "resolve peer %s: the proxy resolves names, and does not tell", p.host)
		case err != nil:
			return nil, fail(exitNetwork, "check --peer", "resolve peer %s: %w", p.host, err)
		}
		addrs = append(addrs, all...)
	}
	return addrs, nil
}

// cacheDir is where the data of a torrent lies if nobody says otherwise: a
// directory of its own below the user's cache directory.
func cacheDir(h metainfo.InfoHash) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fail(exitDisk, "name one with --data-dir", "find cache directory: %w", err)
	}
	return filepath.Join(base, "torrentfs", h.String()), nil
}

// dirOr returns dir, or where it is empty the torrent's cache directory.
func dirOr(dir string, h metainfo.InfoHash) (string, error) {
	if dir == "" {
		return cacheDir(h)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fail(exitDisk, "", "find data directory: %w", err)
	}
	return abs, nil
}

// namesDir refuses the empty name, which a variable of a script that is not
// set leaves.
func namesDir(dataDir string) error {
	if dataDir == "" {
		return errors.New("--data-dir: want a directory, got an empty name")
	}
	return nil
}

// checkDataDir refuses what is no directory before metadata is sought, which
// may take hours. One that is not there yet will be made.
func checkDataDir(dir string) error {
	if dir == "" {
		return nil
	}
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && !st.IsDir():
		err = syscall.ENOTDIR
	case err == nil:
		return nil
	}
	return openFailure(&library.DataError{Dir: dir, Err: bareError(err)})
}

// absolute is the absolute path of a name, if that can be told.
func absolute(name string) string {
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return name
}

// bareError leaves the path out of an error of the system: it is named beside it.
func bareError(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// session is one torrent in a library of its own, as each command runs it.
type session struct {
	app     *app
	lib     *library.Library
	torrent *library.Torrent
	meta    *metainfo.MetaInfo
	dir     string
	started time.Time
	network *library.Network
	selects bool // a part of the torrent is enough
}

// openSession starts the library, gets the metadata and starts the torrent;
// every is how often a wait is logged. An empty dataDir is the default one.
func (a *app) openSession(ctx context.Context, ref library.Ref, dataDir string, p peerFlags, every time.Duration, add library.AddOptions) (*session, error) {
	outliveReaders()
	network, err := a.openNetwork(ctx, p.Network)
	if err != nil {
		return nil, err
	}
	s := &session{app: a, started: time.Now(), network: network}
	if err := s.start(ctx, ref, dataDir, p, every, add); err != nil {
		s.closeQuietly()
		return nil, err
	}
	a.log.Info("torrent added", "name", s.meta.Info.Name, "info_hash", s.meta.Info.Hash.String(),
		"data_dir", s.dir, "port", s.lib.Port())
	return s, nil
}

// start does what openSession does, but for the way out and the cleaning up.
func (s *session) start(ctx context.Context, ref library.Ref, dataDir string, p peerFlags, every time.Duration, add library.AddOptions) error {
	a := s.app
	peers, err := resolvePeers(ctx, s.network, p.Peer)
	if err != nil {
		return err
	}
	blocked, err := s.network.ReadBlocklists(ctx, p.Blocklist)
	if err != nil {
		return blocklistFailure(err)
	}
	if ref.URL != "" {
		if ref, err = fetchTorrent(ctx, s.network, ref.URL); err != nil {
			return err
		}
	}
	tuneMemory(int64(p.MemoryLimit))
	cacheSize, inFlight := p.shares()
	fds := fitDescriptors(a.log, p.PeerLimit)
	s.lib, err = library.Open(library.Config{
		MetadataDir: cacheFile("metadata"),
		DataRoots:   dataRoots(),
		MemoryCache: cacheSize,
		InFlight:    inFlight,
		ListenAddr:  net.JoinHostPort("", strconv.Itoa(int(p.ListenPort))),
		MaxDownload: int64(p.MaxDownloadRate),
		MaxUpload:   int64(p.MaxUploadRate),
		PeerLimit:   fds.peers,
		OpenFiles:   fds.files,
		DisableUTP:  p.DisableUTP,
		Blocked:     blocked,
		TrustPeers:  p.trustPeers(),
		Discovery:   p.discovery(),
		Encryption:  p.Encryption,
		Network:     s.network,
		Logger:      a.log,
	})
	if err != nil {
		return openFailure(err)
	}
	add.Peers, add.NoTrackers = append(peers, s.network.LinkPeers(ctx, ref.Magnet)...), p.NoTrackers
	return s.open(ctx, ref, dataDir, every, add)
}

// open gets the metadata and adds the torrent.
func (s *session) open(ctx context.Context, ref library.Ref, dataDir string, every time.Duration, add library.AddOptions) (err error) {
	if err := checkDataDir(dataDir); err != nil {
		return err
	}
	s.meta, err = s.app.metadata(ctx, s, ref, library.ResolveOptions{Peers: add.Peers, NoTrackers: add.NoTrackers}, every)
	if err != nil {
		return err
	}
	if s.dir, err = dirOr(dataDir, s.meta.Info.Hash); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return openFailure(&library.DataError{Dir: s.dir, Err: bareError(err)})
	}
	add.DataDir = s.dir
	if ref.Magnet != nil {
		add.Select = ref.Magnet.Select
		s.selects = len(add.Select) > 0
	}
	s.torrent, err = s.add(ctx, add)
	return err
}

// add adds the torrent, waiting a little for whoever holds its directory.
func (s *session) add(ctx context.Context, o library.AddOptions) (*library.Torrent, error) {
	for deadline := time.Now().Add(lockPatience); ; {
		t, err := s.addOnce(ctx, o)
		switch {
		case err == nil:
			return t, nil
		case !errors.Is(err, library.ErrLocked):
			return nil, openFailure(err)
		case time.Now().After(deadline):
			return nil, fail(exitDisk, "", "%w", err) // cache says itself what to do
		}
		s.app.log.Debug("data directory is in use, waiting", "dir", s.dir)
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// diskPatience is how long the data directory may take to be opened before
// the user hears what is waited for.
const diskPatience = 10 * time.Second

// addOnce adds the torrent. It says so if the disk does not answer, and leaves
// that behind when ctx ends.
func (s *session) addOnce(ctx context.Context, o library.AddOptions) (*library.Torrent, error) {
	begun := time.Now()
	timer := time.AfterFunc(diskPatience, func() { s.app.warnOfSilence(s.dir, begun) })
	defer timer.Stop()
	return leave.Run(ctx, time.Second, func() (*library.Torrent, error) { return s.lib.Add(ctx, s.meta, o) })
}

// close stops the library cleanly: what was verified is on disk afterwards.
func (s *session) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	stats := s.torrent.Stats()
	err := s.lib.Close(ctx)
	_ = s.network.Close() // only stops looking
	s.app.logStats("stopped", stats, "after", time.Since(s.started).Round(time.Millisecond).String())
	if hang := (*library.HangError)(nil); errors.As(err, &hang) {
		return fail(exitDisk, "the process ends when the disk answers or is taken away; what was not written will be hashed or fetched again", "stop torrent: %w", err)
	}
	if err != nil {
		return fail(exitDisk, "what was not written will be hashed or fetched again", "stop torrent: %w", err)
	}
	return nil
}

// closeQuietly is close on a path that already has an error to report.
func (s *session) closeQuietly() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	defer s.network.Close() //nolint:errcheck // only stops looking
	if s.lib == nil {
		return
	}
	if err := s.lib.Close(ctx); err != nil {
		s.app.log.Warn("stopping failed", "err", err)
	}
}
