package announce

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"torrentfs/internal/version"
)

// httpTracker runs h on loopback and returns a client that reaches it under any
// name that resolves to a public address, and under its own address.
func httpTracker(t *testing.T, h http.HandlerFunc, names hosts) (*Client, string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c := NewClient(ClientConfig{
		lookup: names.lookup,
		dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
		},
	})
	t.Cleanup(func() { c.Close() })
	return c, s.URL
}

var public = hosts{"tracker.example": {"8.8.8.8"}}

func TestHTTPRequest(t *testing.T) {
	var got *http.Request
	c, _ := httpTracker(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		io.WriteString(w, "d8:intervali900e5:peers0:e")
	}, public)
	r := Request{Port: 6881, Key: 0xab, Stats: Stats{1, 2, 3}, Event: EventCompleted, NumWant: 50, ID: "x y"}
	for i := range r.InfoHash {
		r.InfoHash[i] = byte(13 * i)
	}
	copy(r.PeerID[:], "-TF0001-~_.+ %&=/abc")
	_, err := c.Announce(t.Context(), "http://tracker.example/a/announce.php?pass=%7Ekey&x", r, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := "/a/announce.php?pass=%7Ekey&x&info_hash=%00%0D%1A%274AN%5Bhu%82%8F%9C%A9%B6%C3%D0%DD%EA%F7" +
		"&peer_id=-TF0001-~_.%2B%20%25%26%3D%2Fabc" +
		"&port=6881&uploaded=1&downloaded=2&left=3&key=000000AB&compact=1&no_peer_id=1&numwant=50&event=completed&trackerid=x%20y"
	if got.RequestURI != want {
		t.Errorf("asked for\n%s, want\n%s", got.RequestURI, want)
	}
	if q := got.URL.Query(); q.Get("info_hash") != string(r.InfoHash[:]) || q.Get("peer_id") != string(r.PeerID[:]) {
		t.Error("hash or id do not survive their encoding")
	}
	if h := got.Header; h.Get("User-Agent") != version.UserAgent || h.Get("Accept-Encoding") != "gzip" || h.Get("Cookie") != "" {
		t.Errorf("headers %v", h)
	}
}

func TestDecodeHTTP(t *testing.T) {
	v6 := "\x20\x01\x48\x60" + strings.Repeat("\x00", 11) + "\x01\x00\x50"
	plain := Response{Seeders: -1, Leechers: -1, Interval: 15 * time.Minute}
	with := func(f func(r *Response)) Response { r := plain; f(&r); return r }
	refused := func(f FailureError) *FailureError { return &f }
	tests := []struct {
		name, body string
		want       Response
		err        error
	}{
		{"no peers", "d8:intervali900ee", plain, nil},
		{"line end", "d8:intervali900ee\r\n", plain, nil},
		{"byte order mark", "\ufeffd8:intervali900ee", plain, nil},
		{"lines before", "\r\n\t d8:intervali900ee", plain, nil},
		{"a comment after", "d8:intervali900ee\n<!-- 0.003 s -->\n", plain, nil},
		{"a comment at once", "d8:intervali900ee<!-- 0.003 s -->", plain, nil},
		{"a zero after", "d8:intervali900ee\x00", plain, nil},
		{"refused among lines", "\nd14:failure reason4:oopse\n\n", Response{}, refused(FailureError{Reason: "oops"})},
		{"interval as text", "d8:interval3:9005:peers0:e", with(func(r *Response) { r.Interval = 15 * time.Minute }), nil},
		{"unsorted", "d5:peers0:8:intervali900ee", plain, nil},
		{
			"everything",
			"d8:completei5e11:external ip4:\x08\x08\x04\x0410:incompletei6e8:intervali900e12:min intervali300e5:peers12:\x01\x02\x03\x04\x00\x50\x01\x02\x03\x05\x00\x516:peers618:" + v6 + "10:tracker id3:abc15:warning message6:be\x1bnd!e",
			Response{
				Interval: 15 * time.Minute, MinInterval: 5 * time.Minute, Seeders: 5, Leechers: 6, ID: "abc", Warning: `be\x1bnd!`,
				Peers: addrs("1.2.3.4:80", "1.2.3.5:81", "[2001:4860::1]:80"), ExternalIP: addrs("8.8.4.4:1")[0].Addr(),
			},
			nil,
		},
		{
			"dictionaries", "d8:intervali900e5:peersl" +
				"d2:ip7:1.2.3.47:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti80eed2:ip12:2001:4860::14:porti81ee" +
				"d2:ip11:example.com4:porti80eed2:ip7:1.2.3.44:porti0eed2:ip7:1.2.3.44:porti65536eed4:porti1eei1ed2:ip9:fe80::1%14:porti80eeee",
			with(func(r *Response) { r.Peers = addrs("1.2.3.4:80", "[2001:4860::1]:81") }), nil,
		},
		{
			"unusable", "d8:intervali900e5:peers25:\x00\x00\x00\x00\x00\x50\xe0\x00\x00\x01\x00\x50\xff\xff\xff\xff\x00\x50\x01\x02\x03\x04\x00\x00\x01e",
			plain, nil,
		},
		{"torn entry", "d8:intervali900e5:peers8:\x01\x02\x03\x04\x00\x50\x01\x02e", with(func(r *Response) { r.Peers = addrs("1.2.3.4:80") }), nil},
		{"only peers6", "d6:peers618:" + v6 + "e", Response{Seeders: -1, Leechers: -1, Peers: addrs("[2001:4860::1]:80")}, nil},
		{
			"numbers", "d8:completei-1e10:incompletei9999999999e8:intervali9223372036854775807e12:min intervali-5ee",
			Response{Seeders: -1, Leechers: -1, Interval: maxRetry},
			nil,
		},
		{"external address of no length", "d11:external ip3:abc8:intervali900ee", plain, nil},
		{"failure", "d14:failure reason4:oopse", Response{}, refused(FailureError{Reason: "oops"})},
		{"retry", "d14:failure reason4:busy8:retry in1:5e", Response{}, refused(FailureError{Reason: "busy", RetryIn: 5 * time.Minute})},
		{"retry, integer", "d14:failure reason4:busy8:retry ini7ee", Response{}, refused(FailureError{Reason: "busy", RetryIn: 7 * time.Minute})},
		{"never", "d14:failure reason4:away8:retry in5:nevere", Response{}, refused(FailureError{Reason: "away", Never: true})},
		{"empty", "", Response{}, ErrResponse},
		{"page", "<html>", Response{}, ErrResponse},
		{"list", "le", Response{}, ErrResponse},
		{"nothing in it", "de", Response{}, ErrResponse},
		{"peers a number", "d5:peersi1ee", Response{}, ErrResponse},
		{"huge string", "d5:peers99999999999:e", Response{}, ErrResponse},
		{"nested", "d5:peers" + strings.Repeat("l", 1000) + strings.Repeat("e", 1001), Response{}, ErrResponse},
		{"more after it", "d8:intervali900eex", Response{}, ErrResponse},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodeHTTP([]byte(tt.body))
			if f, ok := tt.err.(*FailureError); ok {
				if !reflect.DeepEqual(err, error(f)) {
					t.Errorf("error %#v, want %#v", err, f)
				}
			} else if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func zip(b []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Write(b)
	w.Close()
	return buf.Bytes()
}

func TestHTTPBodies(t *testing.T) {
	good := []byte("d8:intervali900e5:peers6:\x01\x02\x03\x04\x00\x50e")
	tests := []struct {
		name   string
		status int
		header string // "key: value"
		body   []byte
		err    error // matched by errors.Is, or by text for a FailureError
	}{
		{"plain", 200, "", good, nil},
		{"gzip", 200, "Content-Encoding: gzip", zip(good), nil},
		{"gzip unsaid", 200, "", zip(good), nil},
		{"gzip said only", 200, "Content-Encoding: gzip", good, nil},
		{"gzip bomb", 200, "Content-Encoding: gzip", zip(make([]byte, 4*maxBody)), ErrTooLarge},
		{"long", 200, "", make([]byte, maxBody+1), ErrTooLarge},
		{"as long as it may be", 200, "", make([]byte, maxBody), ErrResponse},
		{"torn gzip", 200, "Content-Encoding: gzip", zip(good)[:20], io.ErrUnexpectedEOF},
		{"not found", 404, "", []byte("<html>"), &FailureError{Reason: "HTTP status 404 Not Found"}},
		{"refusal with status", 403, "", []byte("d14:failure reason4:oopse"), &FailureError{Reason: "oops"}},
		{"busy", 503, "Retry-After: 120", nil, &FailureError{Reason: "HTTP status 503 Service Unavailable", RetryIn: 2 * time.Minute}},
		{"busy until when", 503, "Retry-After: tomorrow", nil, &FailureError{Reason: "HTTP status 503 Service Unavailable"}},
		{"good body, bad status", 500, "", good, &FailureError{Reason: "HTTP status 500 Internal Server Error"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := httpTracker(t, func(w http.ResponseWriter, r *http.Request) {
				if k, v, ok := strings.Cut(tt.header, ": "); ok {
					w.Header().Set(k, v)
				}
				w.WriteHeader(tt.status)
				w.Write(tt.body)
			}, public)
			r, err := c.Announce(t.Context(), "http://tracker.example/announce", Request{}, nil)
			if want, ok := tt.err.(*FailureError); ok {
				got, ok := errors.AsType[*FailureError](err)
				if !ok || *got != *want {
					t.Errorf("error %v, want %v", err, want)
				}
			} else if !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			if err == nil && len(r.Peers) != 1 {
				t.Errorf("peers %v", r.Peers)
			}
		})
	}
}

func TestGzipCorpus(t *testing.T) {
	files := corpus(t, "gzip")
	if b, err := readBody(bytes.NewReader(files["zeroes.gz"])); err != nil || len(b) != 512_000 {
		t.Errorf("zeroes.gz: %d bytes, %v", len(b), err)
	}
	if b, err := readBody(bytes.NewReader(files["corrupt.gz"])); err == nil {
		t.Errorf("corrupt.gz: %d bytes and no error", len(b))
	}
}

var (
	errDialed = errors.New("dialed")
	errNoHost = errors.New("no such host")
)

// TestAddressPolicy: what a torrent's tracker URL may make us contact.
func TestAddressPolicy(t *testing.T) {
	names := hosts{
		"public.example":  {"8.8.8.8"},
		"private.example": {"192.168.1.1"},
		"loop.example":    {"127.0.0.1", "::1"},
		"mixed.example":   {"10.0.0.1", "8.8.4.4"},
		"mapped.example":  {"::ffff:127.0.0.1"},
		"nat64.example":   {"64:ff9b::7f00:1"},
		"any.example":     {"0.0.0.0"},
		"group.example":   {"224.0.0.1"},
		"cgn.example":     {"100.64.0.1"},
		"localhost":       {"127.0.0.1"},
		"127.1":           {"127.0.0.1"},
		"0x7f000001":      {"127.0.0.1"},
		"2130706433":      {"127.0.0.1"},
		"own.example":     {"9.9.9.9"}, // of this machine, and public
		"secret.i2p":      {"8.8.8.8"},
	}
	tests := []struct {
		url      string
		dialed   string // "" is nothing
		err      error
		anywhere string // dialed with AllowPrivate
	}{
		{"http://public.example/x", "8.8.8.8:80", nil, "8.8.8.8:80"},
		{"http://public.example:81/announce", "8.8.8.8:81", nil, "8.8.8.8:81"},
		{"http://private.example/announce", "", ErrForbidden, "192.168.1.1:80"},
		{"http://loop.example/announce", "", ErrForbidden, "127.0.0.1:80"},
		{"http://mixed.example/announce", "8.8.4.4:80", nil, "10.0.0.1:80"},
		{"http://mapped.example/announce", "", ErrForbidden, "127.0.0.1:80"},
		{"http://nat64.example/announce", "", ErrForbidden, "[64:ff9b::7f00:1]:80"},
		{"http://cgn.example/announce", "", ErrForbidden, "100.64.0.1:80"},
		{"http://any.example/announce", "", ErrForbidden, ""},
		{"http://group.example/announce", "", ErrForbidden, ""},
		{"http://127.0.0.1/announce", "127.0.0.1:80", nil, "127.0.0.1:80"},
		{"http://127.0.0.1/a/announce.php?x", "127.0.0.1:80", nil, "127.0.0.1:80"},
		{"http://[::1]:9/announce", "[::1]:9", nil, "[::1]:9"},
		{"http://localhost/announce", "127.0.0.1:80", nil, "127.0.0.1:80"},
		{"http://127.0.0.1/announce/", "127.0.0.1:80", nil, "127.0.0.1:80"},
		{"http://127.0.0.1/PASS_key-1/announce.php", "127.0.0.1:80", nil, "127.0.0.1:80"},
		{"http://[::ffff:127.0.0.1]/announce", "127.0.0.1:80", nil, "127.0.0.1:80"},
		{"http://127.0.0.1./announce", "", errNoHost, ""},
		{"http://169.254.169.254/latest/meta-data/iam/announce", "", ErrForbidden, ""},
		{"http://127.0.0.1/apply.cgi?cmd=reboot", "", ErrForbidden, ""},
		{"http://127.0.0.1/apply.cgi/announce?cmd=reboot", "", ErrForbidden, ""},
		{"http://127.0.0.1/setup/announce.cgi?cmd=reboot", "", ErrForbidden, ""},
		{"http://127.0.0.1/announce.cgi", "", ErrForbidden, ""},
		{"http://localhost/a/announce;cmd=reboot?x", "", ErrForbidden, ""},
		{"http://127.0.0.1/a%2Fannounce", "", ErrForbidden, ""},
		{"http://127.0.0.1/a/b/announce", "", ErrForbidden, ""},
		{"http://127.0.0.1/my-announce", "", ErrForbidden, ""},
		{"http://own.example/announce", "9.9.9.9:80", nil, "9.9.9.9:80"},
		{"http://own.example/announce?cmd=reboot", "", ErrForbidden, "9.9.9.9:80"},
		{"http://9.9.9.9/reboot", "", ErrForbidden, "9.9.9.9:80"},
		{"http://0x7f000001/announce", "", ErrForbidden, "127.0.0.1:80"},
		{"http://2130706433/announce", "", ErrForbidden, "127.0.0.1:80"},
		{"http://192.168.1.1/reboot", "", ErrForbidden, ""},
		{"http://192.168.1.1/announce/reboot", "", ErrForbidden, ""},
		{"http://127.1/announce", "", ErrForbidden, "127.0.0.1:80"},
		{"http://0.0.0.0/announce", "", ErrForbidden, ""},
		{"http://secret.i2p/announce", "", ErrForbidden, ""},
		{"http://SECRET.I2P./announce", "", ErrForbidden, ""},
		{"http://secret.onion/announce", "", ErrForbidden, ""},
		{"udp://secret.i2p:80", "", ErrForbidden, ""},
		{"udp://private.example:80", "", ErrForbidden, ""},
		{"udp://public.example", "", ErrURL, ""},
		{"udp://public.example:0", "", ErrURL, ""},
		{"ws://public.example/announce", "", ErrURL, ""},
		{"http:///announce", "", ErrURL, ""},
		{"http://%zz/announce", "", ErrURL, ""},
		{"", "", ErrURL, ""},
	}
	for _, tt := range tests {
		for _, private := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s private=%v", tt.url, private), func(t *testing.T) {
				var first atomic.Pointer[string]
				c := NewClient(ClientConfig{
					allowPrivate: private,
					lookup:       names.lookup,
					dial: func(_ context.Context, _, addr string) (net.Conn, error) {
						first.CompareAndSwap(nil, &addr)
						return nil, errDialed
					},
					listenPacket: func(context.Context, string) (net.PacketConn, error) { return nil, errDialed },
				})
				defer c.Close()
				c.dialer.Own = func(a netip.Addr) bool { return a == netip.MustParseAddr("9.9.9.9") }
				_, err := c.Announce(t.Context(), tt.url, Request{}, nil)
				want, wantErr := tt.dialed, tt.err
				if private {
					want = tt.anywhere
				}
				if want != "" || private && strings.HasPrefix(tt.url, "udp://private") {
					wantErr = errDialed
				}
				got := ""
				if p := first.Load(); p != nil {
					got = *p
				}
				if got != want || !errors.Is(err, wantErr) {
					t.Errorf("dialed %q with error %v, want %q with %v", got, err, want, wantErr)
				}
			})
		}
	}
}

// TestRedirects: five hops, each checked as if the torrent had named it.
func TestRedirects(t *testing.T) {
	names := hosts{"tracker.example": {"8.8.8.8"}, "other.example": {"8.8.4.4"}, "rebound.example": {"10.0.0.1"}}
	var to string
	var hops int
	var referers []string
	h := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Host, "127.") && (r.URL.Query().Has("cmd") || r.URL.Query().Has("passkey") || !r.URL.Query().Has("info_hash")) {
			t.Errorf("a host of this machine was asked for %s", r.URL)
		}
		if ref := r.Header.Get("Referer"); ref != "" {
			referers = append(referers, ref)
		}
		if hops > 0 {
			hops--
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		io.WriteString(w, "d8:intervali900ee")
	}
	tests := []struct {
		name, from, to string
		hops           int
		ok             bool
	}{
		{"one", "http://tracker.example/announce", "http://other.example/announce?info_hash=x", 1, true},
		{"five", "http://tracker.example/announce", "http://other.example/announce", 5, true},
		{"six", "http://tracker.example/announce", "http://other.example/announce", 6, false},
		{"to loopback", "http://tracker.example/announce", "http://127.0.0.1/announce", 1, false},
		{"to a private name", "http://tracker.example/announce", "http://rebound.example/announce", 1, false},
		{"to i2p", "http://tracker.example/announce", "http://x.i2p/announce", 1, false},
		{"to another scheme", "http://tracker.example/announce", "udp://8.8.8.8:80/announce", 1, false},
		{"local to local", "http://127.0.0.1/announce", "http://127.0.0.1/announce/", 1, true},
		{"local to another port", "http://127.0.0.1/announce", "http://127.0.0.1:1/announce?cmd=reboot", 1, true},
		{"local to a command", "http://127.0.0.1/announce", "http://127.0.0.1/announce.cgi?cmd=reboot", 1, false},
		{"local to another host", "http://127.0.0.1/announce", "http://127.0.0.2/announce", 1, false},
		{"local to a button", "http://127.0.0.1/announce", "http://192.168.1.1/reboot", 1, false},
		{"local to a private name", "http://127.0.0.1/announce", "http://rebound.example/announce", 1, false},
	}
	c, _ := httpTracker(t, h, names)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			to, hops = tt.to, tt.hops
			_, err := c.Announce(t.Context(), tt.from+"?passkey=secret", Request{}, nil)
			if tt.ok != (err == nil) {
				t.Errorf("error %v, want success %v", err, tt.ok)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("error shows the passkey: %v", err)
			}
		})
	}
	if len(referers) > 0 {
		t.Errorf("referers sent: %v", referers)
	}
}

func TestHTTPScrape(t *testing.T) {
	var asked string
	c, _ := httpTracker(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.RequestURI
		io.WriteString(w, "d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei1e10:downloadedi2e10:incompletei3eeee")
	}, public)
	a, b := [20]byte([]byte("aaaaaaaaaaaaaaaaaaaa")), [20]byte([]byte("bbbbbbbbbbbbbbbbbbbb"))
	got, err := c.Scrape(t.Context(), "http://tracker.example/x/announce.php?k=v", b, a)
	want := []ScrapeResult{{}, {Seeders: 1, Leechers: 3, Completed: 2}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("scrape %v (%v), want %v", got, err, want)
	}
	if want := "/x/scrape.php?k=v&info_hash=" + string(b[:]) + "&info_hash=" + string(a[:]); asked != want {
		t.Errorf("asked for %s, want %s", asked, want)
	}
}

// TestScrapeURL has the examples of BEP 48.
func TestScrapeURL(t *testing.T) {
	for from, want := range map[string]string{
		"http://example.com/announce":          "http://example.com/scrape",
		"http://example.com/x/announce":        "http://example.com/x/scrape",
		"http://example.com/announce.php":      "http://example.com/scrape.php",
		"http://example.com/announce?x2%0644":  "http://example.com/scrape?x2%0644",
		"http://example.com/a%2Fb/announce":    "http://example.com/a%2Fb/scrape",
		"http://example.com/a":                 "",
		"http://example.com/announce/x":        "",
		"http://example.com/announce?x=2/4":    "http://example.com/scrape?x=2/4",
		"http://example.com/x%064announce":     "",
		"http://example.com":                   "",
		"http://example.com/my-announce":       "",
		"http://example.com/announce/announce": "http://example.com/announce/scrape",
	} {
		u, err := url.Parse(from)
		if err != nil {
			t.Fatal(err)
		}
		v, err := scrapeURL(u)
		switch {
		case want == "" && !errors.Is(err, ErrNoScrape):
			t.Errorf("%s: %v (%v), want none", from, v, err)
		case want != "" && (err != nil || v.String() != want):
			t.Errorf("%s: %v (%v), want %s", from, v, err, want)
		}
	}
}

// FuzzHTTPResponse: any body yields an error or an answer that can be used.
func FuzzHTTPResponse(f *testing.F) {
	f.Add([]byte("d8:completei5e10:incompletei6e8:intervali900e5:peers6:\x01\x02\x03\x04\x00\x506:peers618:\x20\x01\x48\x60aaaaaaaaaaaa\x00\x50e"))
	f.Add([]byte("d8:intervali900e5:peersld2:ip7:1.2.3.44:porti80eeee"))
	f.Add([]byte("d14:failure reason4:busy8:retry in1:5e"))
	f.Add(zip([]byte("d8:intervali900ee")))
	f.Fuzz(func(t *testing.T, b []byte) {
		body, err := readBody(bytes.NewReader(b))
		if err != nil {
			return
		}
		r, err := decodeHTTP(body)
		if err != nil {
			return
		}
		checkResponse(t, r, len(body)/6)
	})
}

// FuzzScrape: a result for each info-hash that was asked for, none negative.
func FuzzScrape(f *testing.F) {
	f.Add([]byte("d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei1e10:downloadedi2e10:incompletei3eeee"))
	f.Add([]byte("d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei-1eeee"))
	f.Fuzz(func(t *testing.T, b []byte) {
		hashes := [][20]byte{[20]byte([]byte("aaaaaaaaaaaaaaaaaaaa")), {1}}
		res, err := decodeScrape(b, hashes)
		if err != nil {
			return
		}
		if len(res) != len(hashes) {
			t.Fatalf("%d results", len(res))
		}
		for _, r := range res {
			if r.Seeders < 0 || r.Leechers < 0 || r.Completed < 0 {
				t.Fatalf("negative counts: %+v", r)
			}
		}
	})
}
