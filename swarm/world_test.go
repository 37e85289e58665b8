package swarm

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/fakepeer"
	"torrentfs/internal/simnet"
	"torrentfs/metainfo"
)

const (
	ms      = time.Millisecond
	mbit    = 1_000_000 / 8 // bytes per second
	peerTCP = 6881
)

// world is a network in memory with one session of ours and scripted peers,
// in virtual time.
type world struct {
	t       *testing.T
	net     *simnet.Network
	info    *metainfo.Info
	data    []byte
	layers  map[metainfo.SHA256][]metainfo.SHA256 // what we know of the piece layers
	trees   map[[32]byte]*metainfo.Tree           // what v2 peers know: by root, down to the leaves
	us      *simnet.Host
	session *Session
	store   *memStore
	peers   []netip.AddrPort
	fakes   []*fakepeer.Peer
	hosts   map[netip.Addr]*simnet.Host
	webs    []func() // end the web servers
}

// inWorld runs a test in a bubble of virtual time. The torrent's content is
// made from its size and piece length.
func inWorld(t *testing.T, size, pieceLength int, cfg Config, f func(w *world)) {
	t.Helper()
	info, data := payload(t, size, pieceLength) // outside: costs real time only
	runWorld(t, &world{info: info, data: data}, cfg, f)
}

// runWorld is inWorld for a torrent that is made already.
func runWorld(t *testing.T, w *world, cfg Config, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w.t, w.net, w.store = t, simnet.New(1), newMemStore(w.info)
		w.us = w.net.Host("10.0.0.1", simnet.Link{})
		l, err := w.us.Listen("tcp", fmt.Sprintf(":%d", peerTCP))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Listener, cfg.Dialer, cfg.Seed = l, w.us, 1
		w.session = NewSession(cfg)
		defer w.close() // also after a Fatal: a bubble must not be left with goroutines
		f(w)
	})
}

// checkTorrents checks what must hold of each torrent's state at any time.
func (w *world) checkTorrents() {
	w.session.mu.Lock()
	all := slices.Collect(maps.Values(w.session.torrents))
	w.session.mu.Unlock()
	for _, t := range all {
		_ = t.call(func() {
			if err := t.pieces.CheckInvariants(); err != nil {
				w.t.Errorf("ledger: %v", err)
			}
			if x := t.hashes; x != nil {
				if err := x.asker.CheckInvariants(); err != nil {
					w.t.Errorf("asker: %v", err)
				}
			}
			underWay := 0
			for p := range t.info.NumPieces() {
				if t.pieces.UnderWay(p) {
					underWay++
				}
			}
			if n := t.pieces.hasher.UnderWay(); n != underWay {
				w.t.Errorf("%d pieces are hashed, the ledger knows of %d", n, underWay)
			}
		})
	}
}

// close ends everything and checks what must hold after every test.
func (w *world) close() {
	w.checkTorrents()
	w.session.Close()
	for _, p := range w.fakes {
		p.Close()
	}
	for _, end := range w.webs {
		end()
	}
	if n := w.us.Conns(); n != 0 {
		w.t.Errorf("%d connections are left open", n)
	}
	w.net.Close()
	w.store.check(w.t, w.data)
}

// options are those of an honest seed of the world's torrent.
func (w *world) options(name string) fakepeer.Options {
	opt := fakepeer.Options{
		InfoHash: w.info.Hash.Wire(), Name: name, Size: w.info.Size(), PieceLength: w.info.PieceLength(),
		Content: bytes.NewReader(w.data), Reqq: 500,
	}
	if w.info.Hash.HasV2 {
		opt.V2, opt.InfoHashV2, opt.PieceSize, opt.Hashes = true, w.info.Hash.WireV2(), w.info.PieceSize, w.hashes
	}
	return opt
}

// named gives a peer a name, and so an id, of its own.
func (w *world) named(opt fakepeer.Options) fakepeer.Options {
	opt.Name += fmt.Sprintf(" %d", len(w.fakes))
	return opt
}

// wan is a link with an uplink of so many Mbit/s and half of a round trip.
func wan(mbits int, rtt time.Duration) simnet.Link {
	return simnet.Link{Up: int64(mbits) * mbit, Delay: rtt / 2}
}

// serve starts a scripted peer on a host of its own, which the torrent will know.
func (w *world) serve(link simnet.Link, opt fakepeer.Options) *fakepeer.Peer {
	w.t.Helper()
	addr := netip.AddrFrom4([4]byte{10, 0, 1, byte(len(w.fakes) + 1)})
	h := w.net.Host(addr.String(), link)
	l, err := h.Listen("tcp", fmt.Sprintf(":%d", peerTCP))
	if err != nil {
		w.t.Fatal(err)
	}
	w.peers = append(w.peers, netip.AddrPortFrom(addr, peerTCP))
	return w.serveOn(l, opt)
}

// serveOn starts a scripted peer on a listener.
func (w *world) serveOn(l net.Listener, opt fakepeer.Options) *fakepeer.Peer {
	p := fakepeer.New(w.named(opt))
	p.Serve(l)
	w.fakes = append(w.fakes, p)
	return p
}

// connect starts a scripted peer that dials us.
func (w *world) connect(link simnet.Link, opt fakepeer.Options) *fakepeer.Peer {
	w.t.Helper()
	addr := netip.AddrFrom4([4]byte{10, 0, 2, byte(len(w.fakes) + 1)})
	h := w.net.Host(addr.String(), link)
	p := fakepeer.New(w.named(opt))
	w.fakes = append(w.fakes, p)
	if err := p.Dial(w.t.Context(), h, fmt.Sprintf("10.0.0.1:%d", peerTCP)); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// add starts the torrent with the peers served so far.
func (w *world) add(cfg TorrentConfig) *Torrent {
	w.t.Helper()
	cfg.Info, cfg.Store, cfg.Peers, cfg.PieceLayers = w.info, w.store, w.peers, w.layers
	return add(w.t, w.session, cfg)
}

// leecher downloads everything from us.
func (w *world) leecher(name string) fakepeer.Options {
	opt := w.options(name)
	opt.Have = func(int) bool { return false }
	for i := range w.info.NumPieces() {
		opt.Want = append(opt.Want, i)
	}
	return opt
}

// read reads through a reader within a virtual time and checks the bytes.
func (w *world) read(r *Reader, off int64, n int, limit time.Duration) time.Duration {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	begun := time.Now()
	got := make([]byte, n)
	if k, err := r.ReadAt(ctx, got, off); err != nil {
		w.t.Fatalf("read %d bytes at %d: %d bytes, %v", n, off, k, err)
	}
	if !bytes.Equal(got, w.data[off:off+int64(n)]) {
		w.t.Fatalf("read %d bytes at %d: wrong bytes", n, off)
	}
	return time.Since(begun)
}

// await waits for the whole download within a virtual time.
func (w *world) await(tor *Torrent, limit time.Duration) time.Duration {
	w.t.Helper()
	begun := time.Now()
	select {
	case <-tor.Complete():
	case <-time.After(limit):
		w.t.Fatalf("not complete after %v: %+v", limit, tor.Stats())
	}
	return time.Since(begun)
}

// peerAt is the torrent's connection to an address, nil if there is none. The loop calls it.
func (t *Torrent) peerAt(addr netip.AddrPort) *peer {
	for _, c := range t.peers {
		if c != nil && c.Addr == addr {
			return c
		}
	}
	return nil
}
