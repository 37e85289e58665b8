package webseed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"torrentfs/metainfo"
	"torrentfs/net/guard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// torrent is content, its metadata and its piece space.
type torrent struct {
	info  *metainfo.Info
	files map[string][]byte // by URL path below the torrent's name
	space []byte
}

// makeTorrent makes a torrent of random content. A single path of "" makes it
// that of a single file.
func makeTorrent(t testing.TB, version metainfo.Version, sizes map[string]int) *torrent {
	t.Helper()
	rnd := rand.NewChaCha8([32]byte{1})
	spec := metainfo.CreateSpec{Name: "näme of ?", Version: version, PieceLength: 64 << 10}
	out := &torrent{files: make(map[string][]byte)}
	for path, size := range sizes {
		b := make([]byte, size)
		_, _ = rnd.Read(b)
		out.files[path] = b
		f := metainfo.SourceFile{Length: int64(size), Open: func() (metainfo.Content, error) { return memory{bytes.NewReader(b)}, nil }}
		if path != "" {
			f.Path = strings.Split(path, "/")
		}
		spec.Files = append(spec.Files, f)
	}
	raw, err := metainfo.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	mi, err := metainfo.Parse(raw, metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	out.info = mi.Info
	out.space = make([]byte, mi.Info.Size())
	for _, f := range mi.Info.Files {
		if !f.Pad {
			copy(out.space[f.Offset:], out.files[strings.Join(f.Raw, "/")])
		}
	}
	return out
}

// ServeHTTP serves the files as BEP 19 has them, below /base/.
func (tt *torrent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/base/näme of ?")
	b, known := tt.files[strings.TrimPrefix(path, "/")]
	if !ok || !known {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// serve starts a server and returns the URL of the seed.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL + "/base/"
}

// answers is a Handler that keeps everything, by request.
type answers struct {
	mu       sync.Mutex
	blocks   map[request][]byte
	rejected map[request]int
	chokes   []bool
	lost     [][2]int
	twice    []request
	changed  chan struct{}
}

func newAnswers() *answers {
	return &answers{blocks: make(map[request][]byte), rejected: make(map[request]int), changed: make(chan struct{}, 1)}
}

func (a *answers) change(f func()) {
	a.mu.Lock()
	f()
	a.mu.Unlock()
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

func (a *answers) Block(piece metainfo.Piece, begin int, data []byte) {
	a.change(func() {
		r := request{piece, begin, len(data)}
		if a.blocks[r] != nil {
			a.twice = append(a.twice, r)
		}
		a.blocks[r] = data
	})
}

func (a *answers) Reject(piece, begin, length int) {
	a.change(func() { a.rejected[request{piece, begin, length}]++ })
}
func (a *answers) Choke(choked bool) { a.change(func() { a.chokes = append(a.chokes, choked) }) }
func (a *answers) Lost(first, last int) {
	a.change(func() { a.lost = append(a.lost, [2]int{first, last}) })
}

// wait waits until ok, which is called with the lock.
func (a *answers) wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		a.mu.Lock()
		done := ok()
		a.mu.Unlock()
		if done {
			return
		}
		select {
		case <-a.changed:
		case <-limit:
			t.Fatalf("never happened: %s; %d blocks, %d rejected, chokes %v, lost %v", what, len(a.blocks), len(a.rejected), a.chokes, a.lost)
		}
	}
}

// named is a dialer for servers on loopback, which the user named.
func named(t testing.TB) *guard.Dialer {
	t.Helper()
	trust, err := guard.ParseTrust("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return &guard.Dialer{Trust: trust}
}

// start runs a seed until the test ends, or stop is called, which returns what Run did.
func start(t testing.TB, cfg Config) (s *Seed, a *answers, stop func() error) {
	t.Helper()
	a = newAnswers()
	cfg.Handler = a
	if cfg.Dialer == nil {
		cfg.Dialer = named(t)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return s, a, stop
}

// requests lists all blocks of a torrent but those in pads.
func requests(info *metainfo.Info) (out []request) {
	virtual := make(map[[2]int]bool)
	for _, v := range info.VirtualBlocks() {
		for b := range v.Count {
			virtual[[2]int{v.Piece, v.First + b}] = true
		}
	}
	for p := range info.NumPieces() {
		for b := range info.NumBlocks(p) {
			if !virtual[[2]int{p, b}] {
				out = append(out, request{p, b * metainfo.BlockSize, info.BlockLen(p, b)})
			}
		}
	}
	return out
}

// check compares what was delivered with the content.
func check(t testing.TB, tt *torrent, a *answers, want []request) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range want {
		off := int64(r.piece)*tt.info.PieceLength() + int64(r.begin)
		if got := a.blocks[r]; !bytes.Equal(got, tt.space[off:off+int64(r.length)]) {
			t.Errorf("block %v is wrong or missing (%d bytes, rejected %d times)", r, len(got), a.rejected[r])
		}
	}
	if len(a.twice) > 0 {
		t.Errorf("answered twice: %v", a.twice)
	}
}

var layouts = map[string]struct {
	version metainfo.Version
	sizes   map[string]int
}{
	"single":    {metainfo.V1, map[string]int{"": 1_000_001}},
	"many v1":   {metainfo.V1, map[string]int{"a": 1, "b/c": 100_000, "b/d &%+ä": 300_000, "e": 16384, "f": 0, "g": 7}},
	"many v2":   {metainfo.V2, map[string]int{"a": 1, "b/c": 100_000, "b/d": 300_000, "e": 16384, "f": 0, "g": 7}},
	"hybrid":    {metainfo.Hybrid, map[string]int{"a": 1, "b/c": 100_000, "b/d": 300_000, "e": 16384, "f": 0, "g": 7}},
	"tiny ones": {metainfo.V1, tiny(300)},
}

func tiny(n int) map[string]int {
	out := make(map[string]int)
	for i := range n {
		out[fmt.Sprint("f", i)] = i % 97 * 10
	}
	return out
}

func TestWholeTorrents(t *testing.T) {
	for name, l := range layouts {
		t.Run(name, func(t *testing.T) {
			tt := makeTorrent(t, l.version, l.sizes)
			s, a, stop := start(t, Config{URL: serve(t, tt), Info: tt.info})
			want := requests(tt.info)
			rand.New(rand.NewPCG(1, 2)).Shuffle(len(want), func(i, j int) { want[i], want[j] = want[j], want[i] })
			for _, r := range want {
				s.Request(r.piece, r.begin, r.length)
			}
			a.wait(t, "all blocks", func() bool { return len(a.blocks)+len(a.rejected) >= len(want) })
			check(t, tt, a, want)
			if st := s.Stats(); st.RTT <= 0 || st.Rate <= 0 || st.Requested != 0 || st.Received == 0 {
				t.Errorf("stats %+v", st)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// badServers are those that are no use, or not at once. Each gets four
// requests: the first four blocks.
func TestBadServers(t *testing.T) {
	tt := makeTorrent(t, metainfo.V1, map[string]int{"": 1_000_000})
	whole := tt.files[""]
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
		}
	}
	partial := func(contentRange string, body []byte, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			status(http.StatusPartialContent, append(header, "Content-Range", contentRange)...)(w, r)
			_, _ = w.Write(body)
		}
	}
	for name, bad := range map[string]struct {
		h      http.HandlerFunc
		fatal  error // that Run returns; nil means that it chokes
		blocks int   // that are right all the same
	}{
		"ignores ranges":        {func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Range"); tt.ServeHTTP(w, r) }, nil, 4},
		"sends another file":    {func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(whole[:100_000]) }, ErrNoRanges, 0},
		"compresses":            {partial("bytes 0-65535/1000000", whole[:65536], "Content-Encoding", "gzip"), ErrResponse, 0},
		"has another size":      {partial("bytes 0-65535/1000001", whole[:65536]), ErrMissing, 0},
		"another part":          {partial("bytes 1-65536/1000000", whole[:65536]), nil, 0},
		"a shorter part":        {partial("bytes 0-16383/1000000", whole[:16384]), nil, 0},
		"no Content-Range":      {partial("", whole[:65536]), nil, 0},
		"a wrong length":        {partial("bytes 0-65535/1000000", whole[:65537], "Content-Length", "65537"), nil, 0},
		"ends early":            {partial("bytes 0-65535/1000000", whole[:20_000]), nil, 1},
		"not found":             {status(404), ErrMissing, 0},
		"forbidden":             {status(403), ErrMissing, 0},
		"server error":          {status(500), nil, 0},
		"busy":                  {status(503, "Retry-After", "5"), nil, 0},
		"redirects for ever":    {status(302, "Location", "/base/again"), nil, 0},
		"redirects nowhere":     {status(302), nil, 0},
		"redirects to a file":   {status(302, "Location", "file:///etc/passwd"), ErrURL, 0},
		"redirects inside":      {status(302, "Location", "http://192.168.1.1/"), guard.ErrForbidden, 0},
		"redirects to an onion": {status(302, "Location", "http://x.onion/"), guard.ErrForbidden, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAnswers()
			s, err := New(Config{URL: serve(t, bad.h), Info: tt.info, Handler: a, conns: 1, Dialer: named(t)})
			if err != nil {
				t.Fatal(err)
			}
			first := requests(tt.info)[:4]
			for _, r := range first {
				s.Request(r.piece, r.begin, r.length)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			a.wait(t, "all answers", func() bool { return len(a.blocks)+len(a.rejected) == 4 })
			switch {
			case bad.fatal != nil: // Run ends by itself
			case bad.blocks < 4:
				a.wait(t, "the seed chokes", func() bool { return len(a.chokes) == 1 && a.chokes[0] })
				cancel()
			default:
				cancel()
			}
			if err := <-done; !errors.Is(err, bad.fatal) {
				t.Errorf("Run returns %v, want %v", err, bad.fatal)
			}
			if len(a.blocks) != bad.blocks || a.rejected[first[3]] > 1 {
				t.Errorf("%d blocks, want %d; rejected %v", len(a.blocks), bad.blocks, a.rejected)
			}
			check(t, tt, a, first[:bad.blocks])
		})
	}
}
