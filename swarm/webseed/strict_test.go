package webseed

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"sync"
	"testing"

	"torrentfs/metainfo"
	"torrentfs/net/guard"
)

// A server of this machine that a torrent names is asked for files, and for nothing
// that could be more: no program, no page, not by a redirect either.
func TestNoCommandsToLocalServers(t *testing.T) {
	tt := makeTorrent(t, metainfo.V1, map[string]int{
		"a.bin": 70_000, "cgi-bin/b.bin": 70_000, "reboot": 70_000, "apply.cgi": 70_000, "set.php;x.bin": 70_000, "moved.bin": 70_000, "off.bin": 70_000, "z.bin": 70_000,
	})
	var mu sync.Mutex
	var asked []string
	local := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, path.Base(r.URL.Path))
		mu.Unlock()
		switch path.Base(r.URL.Path) {
		case "moved.bin":
			http.Redirect(w, r, "/press.cgi?now=1", http.StatusFound)
		case "off.bin":
			http.Redirect(w, r, "http://127.0.0.2:1/a.bin", http.StatusFound)
		default:
			tt.ServeHTTP(w, r)
		}
	}))
	s, a, _ := start(t, Config{URL: local, Info: tt.info, conns: 1, Dialer: &guard.Dialer{}})
	get := func(piece metainfo.Piece) { s.Request(piece, 0, metainfo.BlockSize) }
	get(0) // a.bin
	a.wait(t, "a block", func() bool { return len(a.blocks) == 1 })
	for i, f := range tt.info.Files {
		name := path.Base(path.Join(f.Raw...))
		if name == "a.bin" || name == "z.bin" || name == "moved.bin" || name == "off.bin" {
			continue
		}
		lost := len(a.lost)
		get(tt.info.PieceOf(tt.info.Files[i].Offset + 65_000))
		a.wait(t, "that "+name+" is not asked for", func() bool { return len(a.lost) > lost })
	}
	mu.Lock()
	if !slices.Equal(asked, []string{"a.bin"}) {
		t.Errorf("asked for %q", asked)
	}
	mu.Unlock()
	for _, to := range []string{"/press.cgi?now=1", "http://127.0.0.2:1/a.bin", "http://127.0.0.1:1/a.bin", "/a.bin?x", "/base/page"} {
		u, err := url.Parse(local)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.ResolveReference(mustParse(t, to)).String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.checkRedirect(req, make([]*http.Request, 1)); !errors.Is(err, guard.ErrForbidden) {
			t.Errorf("redirect to %s: %v", to, err)
		}
	}
}

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// limited is a server that serves so many connections and refuses all others.
type limited struct {
	http.Handler
	allowed int
	refuse  func(w http.ResponseWriter)
	full    chan struct{} // closed when a connection was refused

	mu     sync.Mutex
	served map[string]bool // connections, by the client's address
}

func (l *limited) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	mine := l.served[r.RemoteAddr] || len(l.served) < l.allowed
	if mine {
		l.served[r.RemoteAddr] = true
	} else if !closed(l.full) {
		close(l.full)
	}
	l.mu.Unlock()
	if !mine {
		w.Header().Set("Connection", "close")
		l.refuse(w)
		return
	}
	<-l.full // busy until there was one too many
	l.Handler.ServeHTTP(w, r)
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A server that allows few connections is used with few, for any answer to those that are too many,
// and is not left alone.
func TestFewConnections(t *testing.T) {
	for name, refuse := range map[string]func(w http.ResponseWriter){
		"503": func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		"429 for an hour": func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"509":   func(w http.ResponseWriter) { w.WriteHeader(509) },
		"reset": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		for _, allowed := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s/%d", name, allowed), func(t *testing.T) {
				tt := makeTorrent(t, metainfo.V1, map[string]int{"": 4 << 20})
				l := &limited{Handler: tt, allowed: allowed, refuse: refuse, full: make(chan struct{}), served: map[string]bool{}}
				s, a, _ := start(t, Config{Info: tt.info, URL: serve(t, l)})
				want := requests(tt.info)
				for _, r := range want {
					s.Request(r.piece, r.begin, r.length)
				}
				a.wait(t, "all blocks", func() bool { return len(a.blocks) == len(want) })
				check(t, tt, a, want)
				a.mu.Lock()
				defer a.mu.Unlock()
				if len(a.chokes) != 0 || len(a.rejected) != 0 {
					t.Errorf("chokes %v, %d rejected", a.chokes, len(a.rejected))
				}
			})
		}
	}
}
