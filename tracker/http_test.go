package tracker

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"torrentfs/metainfo/bencode"
)

const (
	hashParam = "info_hash=%01%01%01%01%01%01%01%01%01%01%01%01%01%01%01%01%01%01%01%01"
	idParam   = "&peer_id=-XX0000-abcdefghijkl"
)

// get requests a path from a server as if from an address.
func get(s http.Handler, remote, target string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodGet, target, nil)
	req.RemoteAddr = remote
	w := httptest.NewRecorder()
	s.ServeHTTP(w, req)
	return w
}

func TestHTTPAnswers(t *testing.T) {
	const (
		ip4 = "4:\xc0\x00\x02\x09"
		ip6 = "16: \x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09"
		v6  = " \x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x1a\xe1"
	)
	head := func(seeders, leechers int, ip string) string {
		return fmt.Sprintf("d8:completei%de11:external ip%s10:incompletei%de8:intervali1800e12:min intervali60e", seeders, ip, leechers)
	}
	fail := func(r refusal) string { return string(appendFailure(nil, r)) }
	tests := []struct {
		name, remote, target, want string
	}{
		{
			"compact, no seeders for a seeder", "192.0.2.9:4000", "/announce?" + hashParam + idParam + "&port=1&left=0&compact=1",
			head(2, 1, ip4) + "5:peers0:6:peers618:" + v6 + "e",
		},
		{
			"compact is the default, over IPv6", "[2001:db8::9]:4000", "/announce?" + hashParam + idParam + "&port=1&left=1&numwant=1",
			head(1, 2, ip6) + "5:peers0:6:peers618:" + v6 + "e",
		},
		{
			"mapped address", "[::ffff:192.0.2.9]:4000", "/announce?" + hashParam + idParam + "&port=1&left=1&numwant=1",
			head(1, 2, ip4) + "5:peers6:\xc0\x00\x02\x01\x1a\xe1e",
		},
		{
			"both families", "192.0.2.9:4000", "/announce?" + hashParam + idParam + "&port=1&left=1",
			head(1, 2, ip4) + "5:peers6:\xc0\x00\x02\x01\x1a\xe16:peers618:" + v6 + "e",
		},
		{
			"dictionaries", "192.0.2.9:4000", "/announce?" + hashParam + idParam + "&port=1&left=1&compact=0",
			head(1, 2, ip4) + "5:peersld2:ip9:192.0.2.17:peer id20:-AA0000-............4:porti6881eed2:ip11:2001:db8::17:peer id20:-BB0000-............4:porti6881eeee",
		},
		{
			"dictionaries without ids", "192.0.2.9:4000", "/announce?" + hashParam + idParam + "&port=1&left=1&compact=0&no_peer_id=1",
			head(1, 2, ip4) + "5:peersld2:ip9:192.0.2.14:porti6881eed2:ip11:2001:db8::14:porti6881eeee",
		},
		{
			"ip is ignored", "192.0.2.9:4000", "/announce?" + hashParam + idParam + "&port=1&left=1&numwant=0&ip=203.0.113.1",
			head(1, 2, ip4) + "5:peers0:e",
		},
		{"no query", "192.0.2.9:4000", "/announce", fail(errHash)},
		{"short hash", "192.0.2.9:4000", "/announce?info_hash=abc" + idParam + "&port=1", fail(errHash)},
		{"two hashes", "192.0.2.9:4000", "/announce?" + hashParam + "&" + hashParam + idParam + "&port=1", fail(errHash)},
		{"no id", "192.0.2.9:4000", "/announce?" + hashParam + "&port=1", fail(errID)},
		{"long id", "192.0.2.9:4000", "/announce?" + hashParam + idParam + "m&port=1", fail(errID)},
		{"no port", "192.0.2.9:4000", "/announce?" + hashParam + idParam, fail(errPort)},
		{"port 0", "192.0.2.9:4000", "/announce?" + hashParam + idParam + "&port=0", fail(errPort)},
		{"port 65536", "192.0.2.9:4000", "/announce?" + hashParam + idParam + "&port=65536", fail(errPort)},
		{"bad left", "192.0.2.9:4000", "/announce?" + hashParam + idParam + "&port=1&left=-2", fail(errLeft)},
		{"bad event", "192.0.2.9:4000", "/announce?" + hashParam + idParam + "&port=1&event=exploded", fail(errEvent)},
		{"bad numwant", "192.0.2.9:4000", "/announce?" + hashParam + idParam + "&port=1&numwant=x", fail(errWant)},
		{"torn escape", "192.0.2.9:4000", "/announce?info_hash=%0", fail(errQuery)},
		{"long query", "192.0.2.9:4000", "/announce?x=" + strings.Repeat("x", maxQuery), fail(errQuery)},
		{"no address", "somewhere", "/announce?" + hashParam + idParam + "&port=1", fail(errNoSource)},
		{
			"scrape", "192.0.2.9:4000", "/scrape?" + hashParam + "&info_hash=aaaaaaaaaaaaaaaaaaaa&" + hashParam,
			"d5:filesd20:" + strings.Repeat("\x01", 20) + "d8:completei1e10:downloadedi0e10:incompletei1eeee",
		},
		{"scrape of nothing", "192.0.2.9:4000", "/scrape", fail(errScrape)},
		{"scrape of too much", "192.0.2.9:4000", "/scrape?" + strings.Repeat("info_hash=aaaaaaaaaaaaaaaaaaaa&", 75), fail(errScrape)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := New(Config{Interval: 30 * time.Minute})
			must(t, s, announcement{hash: hashOf(1), id: [20]byte([]byte("-AA0000-............")), addr: addr("192.0.2.1:6881"), left: 0})
			must(t, s, announcement{hash: hashOf(1), id: [20]byte([]byte("-BB0000-............")), addr: addr("[2001:db8::1]:6881"), left: 5})
			w := get(s, tt.remote, tt.target)
			got := w.Body.String()
			if w.Code != http.StatusOK || got != tt.want {
				t.Errorf("status %d, body\n%q, want\n%q", w.Code, got, tt.want)
			}
			if _, n, err := bencode.DecodeDict(w.Body.Bytes(), bencode.Limits{Sorted: true}); err != nil || n != w.Body.Len() {
				t.Errorf("body is not canonical bencode: %v", err)
			}
		})
	}
}

func TestHTTPEvents(t *testing.T) {
	s := New(Config{})
	base := "/announce?" + hashParam + idParam + "&port=6881"
	steps := []struct {
		query string
		want  counts
	}{
		{"&left=10&event=started", counts{0, 1, 0}},
		{"&left=18446744073709551615", counts{0, 1, 0}},
		{"&left=-1&event=paused", counts{0, 1, 0}},
		{"&left=0&event=completed", counts{1, 0, 1}},
		{"&left=0&event=completed", counts{1, 0, 1}},
		{"&left=0&event=stopped", counts{0, 0, 0}},
	}
	for _, step := range steps {
		if w := get(s, "192.0.2.9:4000", base+step.query); strings.Contains(w.Body.String(), "failure") {
			t.Fatalf("%s: %s", step.query, w.Body)
		}
		if got, _ := s.scrape(hashOf(1)); got != step.want {
			t.Errorf("after %s: %+v, want %+v", step.query, got, step.want)
		}
	}
}

func TestHTTPPages(t *testing.T) {
	s := New(Config{})
	must(t, s, announcement{hash: hashOf(0xfe), addr: addr("192.0.2.1:1")})
	w := get(s, "192.0.2.9:4000", "/")
	if body := w.Body.String(); w.Code != 200 || !strings.Contains(body, "<tr><th>Seeders</th><td>1</td></tr>") {
		t.Errorf("status page: %d %s", w.Code, body)
	}
	if body := strings.ToLower(w.Body.String()); strings.Contains(body, "fefe") || strings.Contains(body, "192.0.2.1") {
		t.Error("status page tells who shares what")
	}
	if w := get(s, "192.0.2.9:4000", "/other"); w.Code != http.StatusNotFound {
		t.Errorf("/other: %d", w.Code)
	}
	req := httptest.NewRequest(http.MethodPost, "/announce", nil)
	rec := httptest.NewRecorder()
	if s.ServeHTTP(rec, req); rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", rec.Code)
	}
}

// FuzzQuery holds the parser against net/url, and checks what it lets through.
func FuzzQuery(f *testing.F) {
	f.Add(hashParam + idParam + "&port=6881&left=0&event=started&numwant=50&compact=1")
	f.Add("info_hash=%zz&&=&a=b=c&port=+1")
	f.Add(strings.Repeat("info_hash=aaaaaaaaaaaaaaaaaaaa&", 80))
	f.Fuzz(func(t *testing.T, query string) {
		from := netip.MustParseAddr("192.0.2.1")
		a, err := parseAnnounce(query, from)
		if _, serr := parseScrape(query); len(query) > maxQuery && (err == nil || serr == nil) {
			t.Fatal("a query of any length is read")
		}
		if err != nil {
			return
		}
		if a.event > eventStopped || a.numWant < -1 || a.left < 0 || a.addr.Addr() != from ||
			a.addr.Port() == 0 && a.event != eventStopped {
			t.Fatalf("accepted %+v", a)
		}
		v, uerr := url.ParseQuery(query)
		if uerr != nil {
			return // net/url refuses semicolons, and checks parameters that are ignored here
		}
		if v.Get("info_hash") != string(a.hash[:]) && len(v["info_hash"]) == 1 {
			t.Fatalf("info_hash %q, net/url says %q", a.hash, v.Get("info_hash"))
		}
	})
}
