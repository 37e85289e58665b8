package webseed

import (
	"bufio"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"torrentfs/metainfo"
)

// consume reads an answer as get does, with what is behind the network.
func consume(t testing.TB, s *Seed, raw []byte) {
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(raw))), &http.Request{Method: http.MethodGet})
	if err != nil {
		return
	}
	defer resp.Body.Close()
	p := part{ranged: true, length: 16384, size: 4194304}
	if err := checkResponse(resp, p); err != nil {
		return
	}
	f := &run{blocks: []request{{0, 0, 16384}}, taken: make([]bool, 1), cancel: func() {}}
	a := &assembler{seed: s, run: f}
	if err := a.read(resp.Body, p.length); err == nil && f.next != 1 {
		t.Error("read everything and delivered nothing")
	}
	if a.total > p.length {
		t.Errorf("took %d bytes", a.total)
	}
}

func corpus(t testing.TB) (samples [][]byte) {
	dir := os.Getenv("TORRENTFS_TESTDATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "testdata")
	}
	names, _ := filepath.Glob(filepath.Join(dir, "torrents", "wire", "web_seed", "*.bin"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		samples = append(samples, b)
	}
	return samples
}

func newSilent(t testing.TB) *Seed {
	tt := makeTorrent(t, metainfo.V1, map[string]int{"": 100})
	s, err := New(Config{URL: "http://seed.example/", Info: tt.info, Handler: discard{}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type discard struct{}

func (discard) Block(int, int, []byte) {}
func (discard) Reject(int, int, int)   {}
func (discard) Choke(bool)             {}
func (discard) Lost(int, int)          {}

func TestCorpus(t *testing.T) {
	samples := corpus(t)
	if len(samples) == 0 {
		t.Skip("no samples: TORRENTFS_TESTDATA does not lead to them")
	}
	s := newSilent(t)
	for _, b := range samples {
		consume(t, s, b)
	}
	if s.Stats().Received == 0 {
		t.Error("no sample brought a block")
	}
}

func FuzzResponse(f *testing.F) {
	for _, b := range corpus(f) {
		f.Add(b)
	}
	f.Add([]byte("HTTP/1.1 206 x\r\nContent-Range: bytes 0-16383/*\r\nContent-Length: 16384\r\n\r\n"))
	s := newSilent(f)
	f.Fuzz(func(t *testing.T, b []byte) { consume(t, s, b) })
}

func FuzzURL(f *testing.F) {
	f.Add("http://h/d/", false)
	f.Add("http://[::1]/?a", true)
	f.Add("http://127.0.0.1/a b/%41%2/[x]#1;y", false)
	info := makeTorrent(f, metainfo.V1, map[string]int{"a b/c": 1, "z": 1}).info
	f.Fuzz(func(t *testing.T, raw string, pieces bool) {
		l, err := parseLocation(raw, info, pieces, func(string) bool { return false })
		if err != nil {
			return
		}
		if l.local && l.base.RawQuery != "" {
			t.Errorf("%q has a query for a host of this network", raw)
		}
		if u, ok := l.file(0); ok && (u.Host != l.base.Host || u.Scheme != l.base.Scheme) {
			t.Errorf("%q became %v", raw, u)
		}
		if u := l.part(0, 0, 1); u.Host != l.base.Host {
			t.Errorf("%q became %v", raw, u)
		}
	})
}

func BenchmarkFetch(b *testing.B) {
	tt := makeTorrent(b, metainfo.V1, map[string]int{"": 32 << 20})
	want := requests(tt.info)
	s, a, _ := start(b, Config{URL: serve(b, tt), Info: tt.info})
	b.SetBytes(int64(len(tt.space)))
	for b.Loop() {
		a.mu.Lock()
		clear(a.blocks)
		a.mu.Unlock()
		for _, r := range want {
			s.Request(r.piece, r.begin, r.length)
		}
		a.wait(b, "all blocks", func() bool { return len(a.blocks) == len(want) })
	}
}
