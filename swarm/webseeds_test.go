package swarm

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"torrentfs/internal/fakepeer"
	"torrentfs/internal/simnet"
	"torrentfs/metainfo"
	"torrentfs/net/guard"
	"torrentfs/swarm/webseed"
)

// webServer is a server in the world's network that has the torrent's files.
type webServer struct {
	w    *world
	addr string
	http http.Server

	mu       sync.Mutex
	requests []string // paths
	conduct  func(w http.ResponseWriter, r *http.Request) bool
}

// serveWeb starts a web server. Where conduct is not nil it comes first, and
// the file is only served if it returns false.
func (w *world) serveWeb(link simnet.Link, conduct func(http.ResponseWriter, *http.Request) bool) *webServer {
	w.t.Helper()
	addr := fmt.Sprintf("10.0.9.%d", len(w.webs)+1)
	l, err := w.net.Host(addr, link).Listen("tcp", ":80")
	if err != nil {
		w.t.Fatal(err)
	}
	s := &webServer{w: w, addr: addr, conduct: conduct}
	s.http.Handler = s
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.http.Serve(l)
	}()
	w.webs = append(w.webs, func() {
		s.http.Close()
		<-served
	})
	return s
}

func (s *webServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.URL.Path)
	conduct := s.conduct
	s.mu.Unlock()
	if conduct != nil && conduct(w, r) {
		return
	}
	info := s.w.info
	for i := range info.Files {
		f := &info.Files[i]
		path := "/" + info.Name
		if !info.Single {
			path += "/" + strings.Join(f.Raw, "/")
		}
		if !f.Pad && r.URL.Path == path {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.w.data[f.Offset:f.Offset+f.Length]))
			return
		}
	}
	http.NotFound(w, r)
}

func (s *webServer) behave(conduct func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	s.conduct = conduct
	s.mu.Unlock()
}

// asked is how many requests came.
func (s *webServer) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// opener makes the real client of a web server, in the world's network.
func (s *webServer) opener() WebSeedOpener {
	u := url.URL{Scheme: "http", Host: s.addr, Path: "/"}
	return func(h WebSeedHandler) (WebSeed, error) {
		return webseed.New(webseed.Config{
			URL: u.String(), Info: s.w.info, Handler: h, Dialer: &guard.Dialer{AllowPrivate: true, Dial: s.w.us.DialContext},
		})
	}
}

func openers(all ...*webServer) (o []WebSeedOpener) {
	for _, s := range all {
		o = append(o, s.opener())
	}
	return o
}

var allVersions = []metainfo.Version{metainfo.V1, metainfo.V2, metainfo.Hybrid}

// A web server alone gives everything, across files' boundaries and pads, and
// near the speed of its link.
func TestWebSeedFillsItsLink(t *testing.T) {
	for _, v := range allVersions {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			inV2World(t, v, 256<<10, append(boundarySizes(256<<10), 24<<20+777), Config{}, func(w *world) {
				s := w.serveWeb(wan(40, 50*ms), nil)
				tor := w.add(TorrentConfig{Prefetch: true, WebSeeds: openers(s)})
				took := w.await(tor, time.Minute)
				ideal := time.Duration(float64(w.info.TotalLength()) / (40 * mbit) * 1e9)
				t.Logf("took %v, the link needs %v; %d requests", took, ideal, s.asked())
				if took > 2*ideal {
					t.Errorf("took %v, the link needs %v", took, ideal)
				}
				if st := tor.Stats(); st.Wasted > w.info.Size()/50 {
					t.Errorf("wasted %d bytes of %d", st.Wasted, w.info.Size())
				}
				time.Sleep(time.Minute)
				if all := tor.WebSeeds(); len(all) != 1 || all[0].Active || all[0].Err != nil {
					t.Errorf("after the download: %+v", all)
				}
			})
		})
	}
}

// A read from a web server alone takes what its round trips take: of v2 the
// whole piece, because nobody proves its blocks.
func TestReadFromWebSeedAlone(t *testing.T) {
	for _, v := range allVersions {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			inV2World(t, v, 256<<10, []int64{5<<20 + 1, 3<<20 + 12345}, Config{}, func(w *world) {
				s := w.serveWeb(wan(100, 40*ms), nil)
				tor := w.add(TorrentConfig{WebSeeds: openers(s)})
				r := tor.NewReader(nil)
				defer r.Close()
				var files []*metainfo.File
				for i := range w.info.Files {
					if f := &w.info.Files[i]; !f.Pad {
						files = append(files, f)
					}
				}
				for i := range int64(12) {
					f := files[i%2]
					off := f.Offset + min(i*741_123, f.Length-64<<10)
					if took := w.read(r, off, 64<<10, time.Minute); took > time.Second {
						t.Errorf("read at %d took %v", off, took)
					}
				}
				if tor.Stats().Held == w.info.NumPieces() {
					t.Error("everything was fetched for a few reads")
				}
			})
		})
	}
}

// spoiled serves the file with some bytes of it wrong.
func (w *world) spoiled(rw http.ResponseWriter, r *http.Request) bool {
	rec := &spoiler{ResponseWriter: rw}
	honest := &webServer{w: w}
	honest.ServeHTTP(rec, r)
	return true
}

type spoiler struct{ http.ResponseWriter }

func (s *spoiler) Write(b []byte) (int, error) {
	wrong := bytes.Clone(b)
	for i := range wrong {
		wrong[i] ^= 0x55
	}
	return s.ResponseWriter.Write(wrong)
}

func (s *spoiler) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{s}, r)
}

// A web server that lies is found out among peers and banned; nobody else is.
func TestLyingWebSeedIsBanned(t *testing.T) {
	for _, v := range allVersions {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			inV2World(t, v, 256<<10, []int64{8<<20 + 1, 3 << 20}, Config{}, func(w *world) {
				s := w.serveWeb(wan(20, 30*ms), w.spoiled)
				honest := w.serveWeb(wan(5, 30*ms), nil)
				var good []*fakepeer.Peer
				for range 2 {
					good = append(good, w.serve(wan(10, 30*ms), w.options("honest")))
				}
				tor := w.add(TorrentConfig{Prefetch: true, WebSeeds: openers(s, honest)})
				w.await(tor, 5*time.Minute)
				all := tor.WebSeeds()
				if !all[0].Banned || all[0].Active || all[1].Banned {
					t.Errorf("web seeds %+v, want the first banned", all)
				}
				for i, p := range good {
					if rec := p.Record(); rec.Conns != 1 {
						t.Errorf("honest peer %d was connected %d times", i, rec.Conns)
					}
				}
				asked := s.asked()
				time.Sleep(24 * time.Hour)
				if n := s.asked(); n != asked {
					t.Errorf("a banned server was asked %d times more", n-asked)
				}
			})
		})
	}
}

// A web server that says nothing, or stops in the middle of each answer, does
// not hold up a read that peers can serve until its own patience ends, which
// takes 20 s. One that goes on sending a little is given up later.
func TestStallingWebSeedHoldsUpNothing(t *testing.T) {
	limits := map[string]time.Duration{"at once": time.Second, "in the middle": 5 * time.Second}
	for name, conduct := range map[string]func(*world) func(http.ResponseWriter, *http.Request) bool{
		"at once": func(*world) func(http.ResponseWriter, *http.Request) bool {
			return func(_ http.ResponseWriter, r *http.Request) bool {
				<-r.Context().Done()
				return true
			}
		},
		"in the middle": func(w *world) func(http.ResponseWriter, *http.Request) bool {
			return func(rw http.ResponseWriter, r *http.Request) bool {
				(&webServer{w: w}).ServeHTTP(&staller{ResponseWriter: rw, r: r, left: 20_000}, r)
				return true
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 16<<20, 256<<10, Config{}, func(w *world) {
				s := w.serveWeb(wan(100, 10*ms), conduct(w))
				w.serve(wan(20, 40*ms), w.options("peer"))
				tor := w.add(TorrentConfig{WebSeeds: openers(s)})
				r := tor.NewReader(nil)
				defer r.Close()
				worst := time.Duration(0)
				for i := range int64(16) {
					worst = max(worst, w.read(r, i*5%16<<20, 64<<10, time.Minute))
				}
				t.Logf("slowest read %v, %d requests to the server", worst, s.asked())
				if worst > limits[name] {
					t.Errorf("a read took %v with a good peer at hand", worst)
				}
			})
		})
	}
}

// staller lets so many bytes through and then holds the answer back.
type staller struct {
	http.ResponseWriter
	r    *http.Request
	left int
}

func (s *staller) Write(b []byte) (int, error) {
	if len(b) > s.left {
		s.ResponseWriter.Write(b[:s.left])
		s.ResponseWriter.(http.Flusher).Flush()
		s.left = 0
		<-s.r.Context().Done()
		return 0, io.ErrClosedPipe
	}
	s.left -= len(b)
	return s.ResponseWriter.Write(b)
}

// A server without any of the files is left alone for minutes, not for ever.
func TestUselessWebSeedIsTriedAgain(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		s := w.serveWeb(wan(100, 10*ms), func(rw http.ResponseWriter, r *http.Request) bool {
			http.NotFound(rw, r)
			return true
		})
		tor := w.add(TorrentConfig{Prefetch: true, WebSeeds: openers(s)})
		time.Sleep(webPause - time.Minute)
		few := s.asked()
		if all := tor.WebSeeds(); few == 0 || few > 8 || all[0].Active || all[0].Err == nil {
			t.Errorf("asked %d times, %+v", few, all)
		}
		time.Sleep(10 * time.Hour) // four more attempts or so, ever later
		if n := s.asked(); n > 10*few {
			t.Errorf("asked %d times in ten hours", n)
		}
		s.behave(nil)
		w.await(tor, longestPause+time.Hour)
		if all := tor.WebSeeds(); all[0].Err != nil || all[0].Received < w.info.Size() {
			t.Errorf("after it was mended: %+v", all)
		}
	})
}

// A file that the server does not have comes from a peer.
func TestFileMissingOnWebSeedComesFromPeers(t *testing.T) {
	inV2World(t, metainfo.V1, 64<<10, []int64{1<<20 + 5, 1<<20 + 7, 1 << 20}, Config{}, func(w *world) {
		s := w.serveWeb(wan(100, 10*ms), func(rw http.ResponseWriter, r *http.Request) bool {
			missing := strings.HasSuffix(r.URL.Path, "f001")
			if missing {
				http.NotFound(rw, r)
			}
			return missing
		})
		opt := w.options("half")
		opt.Have = func(piece metainfo.Piece) bool { return piece >= 16 && piece <= 32 } // where f001 lies
		w.serve(wan(5, 40*ms), opt)
		tor := w.add(TorrentConfig{Prefetch: true, WebSeeds: openers(s)})
		w.await(tor, time.Minute)
		if all := tor.WebSeeds(); all[0].Banned || all[0].Err != nil || all[0].Received < 1<<20 {
			t.Errorf("%+v", all)
		}
	})
}

// A server that asks for a pause gets it, and is then asked again. What a read
// waits for is told meanwhile.
func TestBusyWebSeedIsLeftAlone(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		s := w.serveWeb(wan(100, 10*ms), func(rw http.ResponseWriter, _ *http.Request) bool {
			rw.Header().Set("Retry-After", "90")
			rw.WriteHeader(http.StatusServiceUnavailable)
			return true
		})
		tor := w.add(TorrentConfig{Prefetch: true, WebSeeds: openers(s)})
		time.Sleep(80 * time.Second)
		if n := s.asked(); n == 0 || n > 4 {
			t.Errorf("a server that is to be left alone was asked %d times", n)
		}
		if r := tor.Reach(0, 1); r.Holders != 1 || r.Unchoked != 0 {
			t.Errorf("reach %+v, want one holder that chokes", r)
		}
		s.behave(nil)
		w.await(tor, time.Minute)
	})
}

// Web servers that were let go when everything was here are asked again when
// some of it turns out to be lost.
func TestWebSeedMendsTheDisk(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		s := w.serveWeb(wan(100, 10*ms), nil)
		tor := w.add(TorrentConfig{Prefetch: true, WebSeeds: openers(s)})
		w.await(tor, time.Minute)
		time.Sleep(time.Hour)
		w.store.mu.Lock()
		w.store.rotten = map[int]bool{3: true, 9: true}
		w.store.mu.Unlock()
		r := tor.NewReader(nil)
		defer r.Close()
		w.read(r, 0, int(w.info.Size()), time.Minute)
	})
}

// The download limit holds for web servers, too.
func TestWebSeedKeepsTheDownloadLimit(t *testing.T) {
	inWorld(t, 4<<20, 256<<10, Config{MaxDownload: 512 << 10}, func(w *world) {
		s := w.serveWeb(wan(1000, 10*ms), nil)
		tor := w.add(TorrentConfig{Prefetch: true, WebSeeds: openers(s)})
		if took := w.await(tor, time.Minute); took < 6*time.Second {
			t.Errorf("4 MiB came in %v, at 512 KiB/s", took)
		}
	})
}

// Without a read or a want a web server is not contacted, and costs no timer.
func TestIdleWebSeedIsNotAsked(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		s := w.serveWeb(wan(100, 10*ms), nil)
		tor := w.add(TorrentConfig{WebSeeds: openers(s)})
		time.Sleep(24 * time.Hour)
		if n := s.asked(); n != 0 {
			t.Errorf("asked %d times for nothing", n)
		}
		r := tor.NewReader(nil)
		defer r.Close()
		w.read(r, 100_000, 1000, time.Minute)
	})
}
