package library

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"torrentfs/metainfo"
	"torrentfs/net/guard"
	"torrentfs/swarm"
)

// serveFiles starts a web server that has a torrent's files (BEP 19), each
// answer passed through spoil where that is not nil.
func serveFiles(t testing.TB, files []testFile, spoil func([]byte)) *httptest.Server {
	t.Helper()
	known := map[string][]byte{}
	for _, f := range files {
		data := bytes.Clone(f.data)
		if spoil != nil {
			spoil(data)
		}
		known["/mirror/set/"+path.Join(f.path...)] = data
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := known[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(srv.Close)
	return srv
}

// openTrusting is openLibrary for web seeds on loopback, whose files may have any
// name because the user named the host.
func openTrusting(t testing.TB, dir string) *Library {
	t.Helper()
	network, err := OpenNetwork(t.Context(), NetworkConfig{Trust: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open(Config{DataDir: dir, ListenAddr: "127.0.0.1:0", Network: network})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(context.Background()) })
	return l
}

// versions makes a set of files, some ending within a piece, as torrents of each kind.
func versions(t testing.TB) map[string]*metainfo.MetaInfo {
	t.Helper()
	_, files := testTorrent(t, "")
	all := map[string]*metainfo.MetaInfo{}
	for name, v := range map[string]metainfo.Version{"v1": metainfo.V1, "v2": metainfo.V2, "hybrid": metainfo.Hybrid} {
		spec := metainfo.CreateSpec{Name: "set", Version: v, PieceLength: 64 << 10}
		for _, f := range files {
			spec.Files = append(spec.Files, metainfo.SourceFile{
				Path: f.path, Length: int64(len(f.data)),
				Open: func() (metainfo.Content, error) { return sourceContent{bytes.NewReader(f.data)}, nil },
			})
		}
		raw, err := metainfo.Create(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		mi, err := metainfo.Parse(raw, metainfo.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		all[name] = mi
	}
	return all
}

type sourceContent struct{ *bytes.Reader }

func (sourceContent) Close() error { return nil }

// readAll reads every file of a torrent through its tree.
func readAll(t testing.TB, tor *Torrent, files []testFile) {
	t.Helper()
	want := map[string][]byte{}
	for _, f := range files {
		want["set/"+path.Join(f.path...)] = f.data
	}
	src := tor.Source()
	for i, e := range src.Entries() {
		data := want[e.Path]
		h, err := src.Open(i)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(data)+10)
		n, err := h.ReadAt(deadline(t), got, 0)
		if n != len(data) || err != io.EOF || !bytes.Equal(got[:n], data) {
			t.Errorf("%s: read %d bytes, %v; want %d and EOF", e.Path, n, err, len(data))
		}
		h.Close()
		delete(want, e.Path)
	}
	if len(want) != 0 {
		t.Errorf("%d files are not shown", len(want))
	}
}

// A torrent that nobody has but a web server is read, and downloaded, whatever
// its version, across the files' boundaries and the pads between them.
func TestWebSeedAlone(t *testing.T) {
	_, files := testTorrent(t, "")
	for name, mi := range versions(t) {
		for _, noPrefetch := range []bool{true, false} {
			t.Run(name+"/noPrefetch="+strconv.FormatBool(noPrefetch), func(t *testing.T) {
				mi := *mi
				mi.WebSeeds = []string{serveFiles(t, files, nil).URL + "/mirror/"}
				dir := t.TempDir()
				l := openTrusting(t, dir)
				tor := addTorrent(t, l, &mi, AddOptions{NoPrefetch: noPrefetch})
				readAll(t, tor, files)
				if noPrefetch {
					return
				}
				awaitComplete(t, tor)
				for _, f := range files {
					got, err := os.ReadFile(filepath.Join(append([]string{dir, "set"}, f.path...)...))
					if err != nil || !bytes.Equal(got, f.data) {
						t.Errorf("%v: %d bytes on disk, differ from the torrent's (%v)", f.path, len(got), err)
					}
				}
				s := tor.WebSeeds()
				if len(s) != 1 || s[0].Received < mi.Info.TotalLength() || s[0].Err != nil {
					t.Errorf("web seeds %+v", s)
				}
			})
		}
	}
}

// A server of pieces (BEP 17) is asked by a name, which is looked up where the
// torrent's own are.
func TestHTTPSeedAlone(t *testing.T) {
	_, files := testTorrent(t, "")
	mi := versions(t)["v1"]
	var all []byte
	for i := range mi.Info.Files {
		for _, f := range files {
			if path.Join(f.path...) == path.Join(mi.Info.Files[i].Raw...) {
				all = append(all, f.data...)
			}
		}
	}
	var wrong atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, err := url.ParseQuery(r.URL.RawQuery)
		hash := mi.Info.Hash.Wire()
		piece, perr := strconv.Atoi(q.Get("piece"))
		if err != nil || perr != nil || q.Get("info_hash") != string(hash[:]) {
			wrong.Add(1)
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		start := int64(piece) * mi.Info.PieceLength()
		data := all[start : start+mi.Info.PieceSize(piece)]
		if from, to, ok := strings.Cut(q.Get("ranges"), "-"); ok {
			a, _ := strconv.Atoi(from)
			b, _ := strconv.Atoi(to)
			data = data[a : b+1]
		}
		w.Write(data)
	}))
	defer srv.Close()
	addr := netip.MustParseAddrPort(srv.Listener.Addr().String())

	m := *mi
	m.HTTPSeeds = []string{"http://pieces.example:" + strconv.Itoa(int(addr.Port())) + "/seed"}
	l := openLibrary(t, t.TempDir())
	l.webDialer = &guard.Dialer{AllowPrivate: true, Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "pieces.example" {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return []netip.Addr{addr.Addr()}, nil
	}}
	tor := addTorrent(t, l, &m, AddOptions{})
	readAll(t, tor, files)
	awaitComplete(t, tor)
	if wrong.Load() != 0 {
		t.Errorf("%d requests that are not BEP 17's", wrong.Load())
	}
}

// A server that lies is banned, and the rest comes from a peer.
func TestLyingWebSeedIsReplacedByPeers(t *testing.T) {
	_, files := testTorrent(t, "")
	for name, mi := range versions(t) {
		t.Run(name, func(t *testing.T) {
			seedDir := t.TempDir()
			writeFiles(t, seedDir, files)
			seeder := openLibrary(t, seedDir)
			awaitComplete(t, addTorrent(t, seeder, mi, AddOptions{}))

			m := *mi
			m.WebSeeds = []string{serveFiles(t, files, func(b []byte) {
				for i := range b {
					b[i] ^= 0xff
				}
			}).URL + "/mirror/"}
			l := openLibrary(t, t.TempDir())
			tor := addTorrent(t, l, &m, AddOptions{})
			for end := deadline(t); !tor.WebSeeds()[0].Banned; {
				if end.Err() != nil {
					t.Fatalf("the liar is not banned: %+v", tor.WebSeeds())
				}
				time.Sleep(time.Millisecond)
			}
			tor.swarm.Found(swarm.Introducer{}, []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(seeder.Port()))})
			readAll(t, tor, files)
			awaitComplete(t, tor)
			if s := tor.WebSeeds()[0]; s.Active {
				t.Errorf("a banned web seed is active: %+v", s)
			}
		})
	}
}

// URLs that lead nowhere, or inside, are left out; the option leaves out all.
func TestUnusableWebSeedsAreLeftOut(t *testing.T) {
	_, files := testTorrent(t, "")
	mi := *versions(t)["v1"]
	good := serveFiles(t, files, nil).URL + "/mirror/"
	mi.WebSeeds = []string{"ftp://a.example/", "http://127.0.0.1/press?button=1", "http://x.onion/", ":", good, good}
	mi.HTTPSeeds = []string{"http://127.0.0.1:1/seed"}
	l := openLibrary(t, t.TempDir())
	if n := len(l.webSeedOpeners(&mi)); n != 1 {
		t.Errorf("%d of 1 usable web seeds", n)
	}
	tor := addTorrent(t, l, &mi, AddOptions{noWebSeeds: true})
	if s := tor.WebSeeds(); len(s) != 0 {
		t.Errorf("web seeds although there should be none: %+v", s)
	}
}

// A server at a blocked address is not contacted.
func TestBlockedWebSeedIsNotContacted(t *testing.T) {
	mi := *versions(t)["v1"]
	srv, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns atomic.Int32
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			c, err := srv.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			c.Close()
		}
	}()
	mi.WebSeeds = []string{"http://" + srv.Addr().String() + "/mirror/"}
	l, err := Open(Config{DataDir: t.TempDir(), ListenAddr: "-", Blocked: netip.Addr.IsLoopback})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close(context.Background())
	tor := addTorrent(t, l, &mi, AddOptions{})
	for end := deadline(t); !tor.WebSeeds()[0].Choked; {
		if end.Err() != nil {
			t.Fatalf("the server was not given up: %+v", tor.WebSeeds())
		}
		time.Sleep(time.Millisecond)
	}
	srv.Close()
	<-accepted
	if n := conns.Load(); n != 0 {
		t.Errorf("%d connections to a blocked address", n)
	}
}
