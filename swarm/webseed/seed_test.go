package webseed

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/metainfo"
	"torrentfs/net/guard"
)

func TestURLs(t *testing.T) {
	single := makeTorrent(t, metainfo.V1, map[string]int{"": 1}).info
	multi := makeTorrent(t, metainfo.V1, map[string]int{"a b/c?d": 1, "z": 1}).info
	for _, tt := range []struct {
		raw  string
		info *metainfo.Info
		want string
		err  error
	}{
		{"http://h/file.bin", single, "http://h/file.bin", nil},
		{" https://h/dir/ ", single, "https://h/dir/n%C3%A4me%20of%20%3F", nil},
		{"http://h", multi, "http://h/n%C3%A4me%20of%20%3F/a%20b/c%3Fd", nil},
		{"http://h/d/", multi, "http://h/d/n%C3%A4me%20of%20%3F/a%20b/c%3Fd", nil},
		{"http://h/d#frag", multi, "http://h/d/n%C3%A4me%20of%20%3F/a%20b/c%3Fd", nil},
		{"http://h/get?f=", single, "http://h/get?f=", nil},
		{"ftp://h/d/", single, "", ErrURL},
		{"file:///etc/", single, "", ErrURL},
		{"http:///x", single, "", ErrURL},
		{"http://x.i2p/", single, "", ErrURL},
		{"http://10.0.0.1/x", single, "http://10.0.0.1/x", nil},
		{"http://10.0.0.1/x?reboot=1", single, "", guard.ErrForbidden},
		{"%zz", single, "", ErrURL},
		{"http://10.0.0.1/x?", single, "", guard.ErrForbidden},
		// Not percent-encoded, as people write them.
		{"http://h/a b/[x] {y}\"|^`é/", multi, "http://h/a%20b/%5Bx%5D%20%7By%7D%22%7C%5E%60%C3%A9/n%C3%A4me%20of%20%3F/a%20b/c%3Fd", nil},
		{"http://h/100%/%4/%41%zz/", multi, "http://h/100%25/%254/%41%25zz/n%C3%A4me%20of%20%3F/a%20b/c%3Fd", nil},
		{"http://h/a#1/", multi, "http://h/a%231/n%C3%A4me%20of%20%3F/a%20b/c%3Fd", nil},
		{"http://h/d/näme of ?", single, "http://h/d/n%C3%A4me%20of%20%3F", nil},
		{"http://h/get?f=a b[1]", single, "http://h/get?f=a%20b%5B1%5D", nil},
	} {
		l, err := parseLocation(tt.raw, tt.info, false, func(string) bool { return false })
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", tt.raw, err)
		}
		if err != nil {
			continue
		}
		if u, ok := l.file(0); !ok || u.String() != tt.want {
			t.Errorf("%s: %v, want %s", tt.raw, u, tt.want)
		}
	}
	for _, elem := range []string{"", ".", ".."} {
		if writeElement(new(strings.Builder), elem) {
			t.Errorf("element %q can be written", elem)
		}
	}
}

// Neighbours are fetched by one range, over a connection that is kept.
func TestRangesAreMergedAndConnectionsKept(t *testing.T) {
	tt := makeTorrent(t, metainfo.V1, map[string]int{"": 8 << 20})
	var gets, conns atomic.Int64
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { gets.Add(1); tt.ServeHTTP(w, r) })
	d := named(t)
	d.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conns.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	a := newAnswers()
	s, err := New(Config{URL: serve(t, h), Info: tt.info, Handler: a, Dialer: d, conns: 2})
	if err != nil {
		t.Fatal(err)
	}
	want := requests(tt.info)
	for _, r := range want { // all before Run, so that the first cut sees all
		s.Request(r.piece, r.begin, r.length)
		s.Request(r.piece, r.begin, r.length) // has no effect
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	a.wait(t, "all blocks", func() bool { return len(a.blocks) == len(want) })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	check(t, tt, a, want)
	if gets.Load() > 16 || conns.Load() > 2 {
		t.Errorf("%d requests over %d connections for %d blocks", gets.Load(), conns.Load(), len(want))
	}
}

func TestCancel(t *testing.T) {
	tt := makeTorrent(t, metainfo.V1, map[string]int{"": 1 << 20})
	asked, gone := make(chan struct{}, 1), make(chan struct{}, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done() // never answers
		gone <- struct{}{}
	})
	s, a, stop := start(t, Config{URL: serve(t, h), Info: tt.info, conns: 1})
	s.Request(0, 0, metainfo.BlockSize)
	<-asked
	s.Request(3, 0, metainfo.BlockSize) // waits
	s.Cancel(3, 0, metainfo.BlockSize)
	a.wait(t, "the queued one is rejected", func() bool { return len(a.rejected) == 1 })
	s.Cancel(0, 0, metainfo.BlockSize)
	a.wait(t, "the other one is rejected", func() bool { return len(a.rejected) == 2 })
	<-gone // the connection was given up
	s.Cancel(0, 0, metainfo.BlockSize)
	s.Request(0, 0, metainfo.BlockSize+1)
	s.Request(-1, 0, 1)
	s.Request(99, 0, 1)
	a.wait(t, "nonsense is rejected", func() bool { return len(a.rejected) == 5 })
	if err := stop(); err != nil || len(a.chokes) != 0 {
		t.Errorf("%v, chokes %v", err, a.chokes)
	}
}

func TestMissingFile(t *testing.T) {
	tt := makeTorrent(t, metainfo.V1, map[string]int{"a": 200_000, "b": 200_000, "c": 200_000})
	have := tt.files["b"]
	delete(tt.files, "b")
	s, a, _ := start(t, Config{URL: serve(t, tt), Info: tt.info})
	for _, r := range requests(tt.info) {
		s.Request(r.piece, r.begin, r.length)
	}
	n := len(requests(tt.info))
	a.wait(t, "all answers", func() bool { return len(a.blocks)+len(a.rejected) == n })
	if len(a.lost) != 1 || a.lost[0] != [2]int{200_000 / 65536, 399_999 / 65536} {
		t.Fatalf("lost %v", a.lost)
	}
	// The pieces outside of it can still be had if they were asked for together with it.
	outside := slices.DeleteFunc(requests(tt.info), func(r request) bool {
		return r.piece >= a.lost[0][0] && r.piece <= a.lost[0][1]
	})
	for _, r := range outside {
		if a.rejected[r] > 0 {
			s.Request(r.piece, r.begin, r.length)
		}
	}
	a.wait(t, "the blocks around it", func() bool {
		return !slices.ContainsFunc(outside, func(r request) bool { return a.blocks[r] == nil })
	})
	tt.files["b"] = have
	check(t, tt, a, outside)
}

// takesBack is an engine that wants nothing more of a server once it hears what the server lacks.
type takesBack struct {
	*answers
	seed *Seed
}

func (h takesBack) Lost(first, last int) {
	h.answers.Lost(first, last)
	h.seed.Cancel(0, 0, metainfo.BlockSize)
}

// A server that has nothing is useless, even if its requests are taken back before that is
// reported.
func TestUselessServerIsWantedNoMore(t *testing.T) {
	tt := makeTorrent(t, metainfo.V1, map[string]int{"": 1 << 20})
	h := takesBack{answers: newAnswers()}
	s, err := New(Config{URL: serve(t, http.NotFoundHandler()), Info: tt.info, Handler: &h, Dialer: named(t)})
	if err != nil {
		t.Fatal(err)
	}
	h.seed = s
	s.Request(0, 0, metainfo.BlockSize)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Run(ctx); !errors.Is(err, ErrMissing) {
		t.Errorf("run ended with %v, want that all is missing", err)
	}
}

func TestRedirectIsRemembered(t *testing.T) {
	tt := makeTorrent(t, metainfo.V1, map[string]int{"": 200_000})
	var first, second atomic.Int64
	var refuse atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/base/", func(w http.ResponseWriter, r *http.Request) {
		first.Add(1)
		http.Redirect(w, r, "/there/file", http.StatusFound)
	})
	mux.HandleFunc("/there/file", func(w http.ResponseWriter, r *http.Request) {
		second.Add(1)
		if refuse.CompareAndSwap(true, false) { // a link that has expired
			w.WriteHeader(http.StatusForbidden)
			return
		}
		r.URL.Path = "/base/näme of ?"
		tt.ServeHTTP(w, r)
	})
	s, a, _ := start(t, Config{URL: serve(t, mux), Info: tt.info})
	for i := range 4 {
		refuse.Store(i == 3)
		s.Request(i%3, 0, metainfo.BlockSize-i)
		a.wait(t, "the block", func() bool { return len(a.blocks) == i+1 })
	}
	if first.Load() != 2 || second.Load() != 5 {
		t.Errorf("asked %d times here, %d times there", first.Load(), second.Load())
	}
}

func TestPrivateAddressesBehindNames(t *testing.T) {
	tt := makeTorrent(t, metainfo.V1, map[string]int{"": 1})
	d := &guard.Dialer{
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
		Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			t.Errorf("connected to %s", addr)
			return nil, io.EOF
		},
	}
	a := newAnswers()
	s, err := New(Config{URL: "http://rebound.example/x", Info: tt.info, Handler: a, Dialer: d})
	if err != nil {
		t.Fatal(err)
	}
	s.Request(0, 0, 1)
	if err := s.Run(t.Context()); !errors.Is(err, guard.ErrForbidden) {
		t.Error(err)
	}
}

// BEP 17: one script for all pieces.
func TestPieces(t *testing.T) {
	tt := makeTorrent(t, metainfo.V1, map[string]int{"a": 100_000, "b": 100_001})
	busy := true
	hash := tt.info.Hash.Wire()
	srv := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		piece, err := strconv.Atoi(q.Get("piece"))
		if err != nil || q.Get("info_hash") != string(hash[:]) || q.Get("x") != "1" {
			http.Error(w, "bad query", http.StatusBadRequest)
			return
		}
		if busy {
			busy = false
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "1\n")
			return
		}
		from := int64(piece) * tt.info.PieceLength()
		b := tt.space[from : from+tt.info.PieceSize(piece)]
		if first, last, ok := strings.Cut(q.Get("ranges"), "-"); ok {
			lo, _ := strconv.Atoi(first)
			hi, _ := strconv.Atoi(last)
			b = b[lo : hi+1]
		}
		_, _ = w.Write(b)
	})
	// A script is one of the Internet, so it needs a name.
	d := &guard.Dialer{AllowPrivate: true, Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}}
	u := strings.Replace(serve(t, srv), "127.0.0.1", "seed.example", 1)
	s, a, _ := start(t, Config{URL: u + "seed.php?x=1", Pieces: true, Info: tt.info, Dialer: d, conns: 1})
	want := requests(tt.info)
	s.Request(want[0].piece, want[0].begin, want[0].length)
	a.wait(t, "choked and unchoked", func() bool { return len(a.chokes) == 2 })
	for _, r := range want {
		s.Request(r.piece, r.begin, r.length)
	}
	a.wait(t, "all blocks", func() bool { return len(a.blocks) == len(want) })
	check(t, tt, a, want)
	if _, err := New(Config{URL: "http://127.0.0.1/seed.php", Pieces: true, Info: tt.info}); !errors.Is(err, guard.ErrForbidden) {
		t.Errorf("script on loopback: %v", err)
	}
}

// A server that stalls is given up in time, and asked again later.
func TestStallAndBackoff(t *testing.T) {
	tt := makeTorrent(t, metainfo.V1, map[string]int{"": 100_000})
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int64
		via := func(ctx context.Context, _, _ string) (net.Conn, error) {
			client, server := net.Pipe()
			n := dials.Add(1)
			go func() {
				defer server.Close()
				req, err := http.ReadRequest(bufio.NewReader(server))
				if err != nil {
					return
				}
				switch n {
				case 1: // never begins to answer
				case 2: // begins, and stops
					_, _ = io.WriteString(server, "HTTP/1.1 206 x\r\nContent-Range: bytes 0-16383/100000\r\nContent-Length: 16384\r\n\r\nxyz")
				default:
					_ = req.Body.Close()
					resp := http.Response{
						StatusCode: 206, ProtoMajor: 1, ProtoMinor: 1, ContentLength: 16384, Request: req,
						Header: http.Header{"Content-Range": {"bytes 0-16383/100000"}},
						Body:   io.NopCloser(strings.NewReader(string(tt.files[""][:16384]))),
					}
					_ = resp.Write(server)
				}
				_, _ = io.Copy(io.Discard, server) // until the other side gives up
			}()
			return client, nil
		}
		a := newAnswers()
		s, err := New(Config{URL: "http://seed.example/f", Info: tt.info, Handler: a, Dialer: &guard.Dialer{Via: via}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		began := time.Now()
		var at []time.Duration
		for len(a.blocks) == 0 && len(at) < 5 {
			s.Request(0, 0, metainfo.BlockSize)
			time.Sleep(time.Hour) // of virtual time
			a.mu.Lock()
			at = append(at, time.Since(began))
			a.mu.Unlock()
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := a.rejected[request{0, 0, metainfo.BlockSize}]; got != 2 || len(at) != 3 {
			t.Errorf("rejected %d times, %d attempts", got, len(at))
		}
		if want := "[true false true false]"; strings.Join(strings.Fields(fmtBools(a.chokes)), " ") != want {
			t.Errorf("chokes %v", a.chokes)
		}
		check(t, tt, a, []request{{0, 0, metainfo.BlockSize}})
	})
}

func fmtBools(b []bool) string {
	var out []string
	for _, v := range b {
		out = append(out, strconv.FormatBool(v))
	}
	return "[" + strings.Join(out, " ") + "]"
}
