package swarm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"torrentfs/internal/version"
	"torrentfs/net/egress"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/mse"
	"torrentfs/swarm/peers"
	"torrentfs/swarm/pieces/hashing"
	"torrentfs/swarm/wire"
)

// Limits and intervals of a session. They follow what established clients use.
const (
	maxHandshaking = 64 // incoming connections that have not said which torrent they want
	blockSize      = 16 << 10
)

var (
	// ErrClosed is returned by operations on a torrent or session that has ended.
	ErrClosed = errors.New("torrent is closed")
	// ErrDuplicate is returned when a torrent is added twice.
	ErrDuplicate = errors.New("torrent is already in the session")
)

// Config is what a session is made with. Its zero value works and does not listen.
type Config struct {
	Listener    net.Listener          // incoming peers; the session closes it. nil: none
	Dialer      Dialer                // nil: the system's way
	Logger      *slog.Logger          // nil: silent
	Client      string                // name and version for the extension handshake (BEP 10 "v")
	MaxDownload int64                 // payload bytes per second over all torrents, 0 = unlimited
	MaxUpload   int64                 // likewise
	MaxConns    int                   // peer connections over all torrents, 0 = 500
	MaxHalfOpen int                   // dials under way over all torrents, 0 = 32
	UTP         Transport             // uTP beside TCP, both ways; the session closes it. nil: none
	Encryption  Encryption            // policy on MSE
	Blocked     func(netip.Addr) bool // addresses to have nothing to do with; cheap. nil: none
	// Source is the address from which packets to a peer go out, as the system
	// has it now; invalid where that is not known. nil: it never is. It sends
	// nothing and does not wait.
	Source  func(netip.AddrPort) netip.Addr
	DHTPort uint16               // of our DHT node, told to peers (BEP 5); 0: none
	DHTNode func(netip.AddrPort) // is told of peers' nodes; must not block
	Seed    uint64               // for every random choice; 0 = random
}

// Session is what the torrents of one process share: the listening port, the
// bandwidth, the hash workers, the limits on connections.
type Session struct {
	cfg    Config
	log    *slog.Logger
	peerID [20]byte

	down, up *rate.Limiter // nil: unlimited
	limits   *peers.Limits
	hashers  *hashing.Pool
	endpoint *conn.Endpoint
	arrivals peers.Arrivals

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex // guards what follows; never held across I/O or a call out
	torrents map[[20]byte]*Torrent
	searches map[[20]byte]*metadataSearch // for metadata, by info-hash
}

// NewSession starts a session. The caller owns it and ends it with Close.
func NewSession(cfg Config) *Session {
	if cfg.Dialer == nil {
		cfg.Dialer = (*egress.Network)(nil)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = 500
	}
	if cfg.MaxHalfOpen <= 0 {
		cfg.MaxHalfOpen = 32
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Session{
		cfg: cfg, log: cfg.Logger, peerID: newPeerID(),
		down: newLimiter(cfg.MaxDownload), up: newLimiter(cfg.MaxUpload),
		limits:  peers.NewLimits(time.Now(), cfg.MaxConns, cfg.MaxHalfOpen),
		hashers: hashing.NewPool(runtime.GOMAXPROCS(0)),
		ctx:     ctx, stop: stop,
		torrents: map[[20]byte]*Torrent{},
		endpoint: &conn.Endpoint{
			Dialer: cfg.Dialer, UTP: cfg.UTP, Encryption: cfg.Encryption, Blocked: cfg.Blocked, Source: cfg.Source,
		},
	}
	if cfg.Listener != nil {
		s.wg.Go(func() { s.acceptPeers(cfg.Listener) })
	}
	if cfg.UTP != nil {
		s.wg.Go(func() { s.acceptPeers(cfg.UTP) })
	}
	return s
}

// PeerID is the id that this session shows to peers and trackers (BEP 20).
func (s *Session) PeerID() [20]byte { return s.peerID }

// Close ends every torrent and waits for every goroutine of the session.
func (s *Session) Close() error {
	s.mu.Lock()
	all := make([]*Torrent, 0, len(s.torrents))
	for _, t := range s.torrents {
		all = append(all, t)
	}
	s.mu.Unlock()
	for _, t := range all {
		t.stop()
	}
	for _, t := range all {
		t.Close()
	}
	s.stop()
	var err error
	if s.cfg.Listener != nil {
		err = s.cfg.Listener.Close()
	}
	if s.cfg.UTP != nil {
		err = errors.Join(err, s.cfg.UTP.Close())
	}
	s.wg.Wait()
	s.hashers.Close()
	return err
}

// acceptPeers takes incoming connections until the listener is closed.
func (s *Session) acceptPeers(l net.Listener) {
	var handshaking peers.Handshaking[net.Conn]
	for {
		nc, err := l.Accept()
		if err != nil {
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			s.log.Warn("accept peers: " + err.Error())
			select { // out of descriptors, most likely: give some time to end
			case <-time.After(100 * time.Millisecond):
				continue
			case <-s.ctx.Done():
				return
			}
		}
		from := conn.AddrPort(nc.RemoteAddr()).Addr()
		if s.cfg.Blocked != nil && s.cfg.Blocked(from) || !s.arrivals.Admit(time.Now(), from) {
			nc.Close()
			continue
		}
		if gone, full := handshaking.Enter(nc, from); full {
			gone.Close()
		}
		s.wg.Go(func() {
			s.welcome(nc, &handshaking)
		})
	}
}

// welcome reads the handshake of an incoming connection and hands it to its torrent.
func (s *Session) welcome(nc net.Conn, from *peers.Handshaking[net.Conn]) {
	if !s.limits.Accept() {
		from.Leave(nc)
		nc.Close()
		return
	}
	c, err := s.endpoint.Accept(s.ctx, nc, s.findKey)
	from.Leave(nc)
	if err != nil {
		s.log.Debug("refuse incoming peer", "addr", nc.RemoteAddr(), "err", err)
		s.limits.Release()
		return
	}
	t, search, hello, err := s.answer(c.Hello)
	if err == nil {
		err = c.Answer(s.ctx, hello)
	}
	if err != nil {
		s.log.Debug("refuse incoming peer", "addr", c.Addr, "err", err)
		s.discard(c)
		return
	}
	if search != nil {
		search.handOver(c)
		return
	}
	t.handOver(newPeer(t, c, hello.InfoHash == t.info.Hash.WireV2()))
}

// answer finds who a peer wants that came to us, and what it is answered.
func (s *Session) answer(h wire.Handshake) (t *Torrent, search *metadataSearch, hello wire.Handshake, err error) {
	if h.PeerID == s.peerID {
		return nil, nil, hello, errOurself
	}
	switch t, search = s.lookup(h.InfoHash); {
	case t != nil:
		hello = t.answer(h)
	case search != nil:
		hello = wire.NewHandshake(h.InfoHash, s.peerID, wire.FeatureExtension|wire.FeatureFast)
	default:
		err = fmt.Errorf("unknown info-hash %x", h.InfoHash)
	}
	return t, search, hello, err
}

// findKey tells which of our torrents an incoming MSE handshake means.
func (s *Session) findKey(id [20]byte) (key [20]byte, ok bool) {
	s.mu.Lock()
	keys := make(map[[20]byte]struct{}, len(s.torrents)+len(s.searches))
	for k := range s.torrents {
		keys[k] = struct{}{}
	}
	for k := range s.searches {
		keys[k] = struct{}{}
	}
	s.mu.Unlock()
	return mse.Candidates(maps.Keys(keys))(id)
}

// lookup finds the torrent of an info-hash, or the search for its metadata.
func (s *Session) lookup(infoHash [20]byte) (*Torrent, *metadataSearch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.torrents[infoHash]; t != nil {
		return t, nil
	}
	return nil, s.searches[infoHash]
}

// newPeerID makes an Azureus-style id (BEP 20).
func newPeerID() (id [20]byte) {
	copy(id[:], version.PeerID)
	rand.Read(id[8:]) // never fails (crypto/rand)
	return id
}

// newLimiter makes a token bucket of n bytes per second, nil for no limit.
// Its burst holds at least one block, since a wait for more would never end.
func newLimiter(n int64) *rate.Limiter {
	if n <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(n), max(2*blockSize, int(n/10)))
}
