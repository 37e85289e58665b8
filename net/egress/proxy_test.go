package egress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"torrentfs/internal/fakeproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listenLoopback(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// startProxy returns a proxy whose connections lead to an echo.
func startProxy(t *testing.T, cfg fakeproxy.Config) *fakeproxy.Proxy {
	t.Helper()
	cfg.Dial = func(_ context.Context, target string) (net.Conn, error) {
		if strings.HasSuffix(target, ".invalid:443") || strings.HasPrefix(target, "nobody.") {
			return nil, errors.New("nobody there")
		}
		a, b := net.Pipe()
		go func() { defer b.Close(); _, _ = io.Copy(b, b) }()
		return a, nil
	}
	p := fakeproxy.Serve(listenLoopback(t, "127.0.0.1:0"), cfg)
	t.Cleanup(p.Close)
	return p
}

// syncBuffer is a log that two goroutines may use.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func openVia(t *testing.T, url string) (*Network, *syncBuffer) {
	t.Helper()
	p, err := ParseProxy(url)
	if err != nil {
		t.Fatal(err)
	}
	log := new(syncBuffer)
	w, err := Open(Config{Proxy: p, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Close()
		if strings.Contains(log.String(), "secret") {
			t.Errorf("the log shows the password: %s", log)
		}
	})
	return w, log
}

func TestParseProxy(t *testing.T) {
	for _, tt := range []struct {
		url, want string // "": refused
		user      string
	}{
		{"socks5://127.0.0.1:1080", "socks5://127.0.0.1:1080", ""},
		{"socks5h://proxy.example:1080/", "socks5://proxy.example:1080", ""},
		{"socks5://user:secret@[2001:db8::1]:9050", "socks5://[2001:db8::1]:9050", "user"},
		{"http://us%40er:se%3Acret@proxy:3128", "http://proxy:3128", "us@er"},
		{"http://user@proxy:3128", "http://proxy:3128", "user"},
		{"", "", ""},
		{"proxy:1080", "", ""},
		{"socks5://proxy", "", ""},
		{"socks5://proxy:0", "", ""},
		{"socks5://proxy:70000", "", ""},
		{"socks5://:1080", "", ""},
		{"socks5://user@proxy:1080", "", ""},
		{"socks5://:secret@proxy:1080", "", ""},
		{"socks5://user:secret@proxy:1080/path", "", ""},
		{"socks5://proxy:1080?a=secret", "", ""},
		{"socks5:proxy:1080", "", ""},
		{"socks4://user:secret@proxy:1080", "", ""},
		{"https://user:secret@proxy:1080", "", ""},
		{"ftp://user:secret@proxy:1080", "", ""},
		{"socks5://user:secret@pro xy:1080", "", ""},
		{"socks5://user:secret%zz@proxy:1080", "", ""},
		{"socks5://" + strings.Repeat("u", 256) + ":secret@proxy:1080", "", ""},
	} {
		p, err := ParseProxy(tt.url)
		switch {
		case (err == nil) != (tt.want != ""):
			t.Errorf("%s: %v", tt.url, err)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("the error shows the password: %v", err)
		case err == nil && (p.String() != tt.want || p.user != tt.user || p.Authenticates() != (tt.user != "")):
			t.Errorf("%s: %v, user %q", tt.url, p, p.user)
		}
	}
}

// Bytes go through either kind of proxy, with a password and without; names are
// the proxy's to resolve, and nothing but outgoing TCP gets out.
func TestThroughProxy(t *testing.T) {
	for _, scheme := range []string{"socks5", "http"} {
		for _, auth := range []string{"", "user:se%3Acret@"} {
			t.Run(scheme+" "+auth, func(t *testing.T) {
				cfg := fakeproxy.Config{HTTP: scheme == "http"}
				if auth != "" {
					cfg.User, cfg.Password = "user", "se:cret"
				}
				p := startProxy(t, cfg)
				w, _ := openVia(t, scheme+"://"+auth+p.Addr())
				if err := w.Check(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, target := range []string{"peer.example:6881", "192.0.2.1:1", "[2001:db8::1]:65535"} {
					c, err := w.DialContext(t.Context(), "tcp", target)
					if err != nil {
						t.Fatal(err)
					}
					if _, ok := c.(*net.TCPConn); !ok {
						t.Errorf("%T has no sendfile", c)
					}
					if _, err := c.Write([]byte("hello")); err != nil {
						t.Fatal(err)
					}
					b := make([]byte, 5)
					if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
						t.Errorf("%q, %v", b, err)
					}
					c.Close()
					if got := p.Targets(); got[len(got)-1] != target {
						t.Errorf("the proxy was asked for %v", got)
					}
				}
				refusedBeside(t, w)
				_, err := w.DialContext(t.Context(), "tcp", "nobody.example:80")
				if !errors.Is(err, ErrTarget) || errors.Is(err, ErrDown) || w.Err() != nil {
					t.Errorf("nobody there: %v; the way: %v", err, w.Err())
				}
			})
		}
	}
}

// refusedBeside tries every other way out.
func refusedBeside(t *testing.T, w *Network) {
	t.Helper()
	_, udp := w.DialContext(t.Context(), "udp", "192.0.2.1:1")
	_, from := w.DialFrom(t.Context(), netip.Addr{}, udpNowhere)
	_, listen := w.Listen(t.Context(), "tcp", "127.0.0.1:0")
	_, packet := w.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	_, multicast := w.ListenMulticast("udp4", udpNowhere)
	_, interfaces := w.Interfaces()
	_, lookup := w.LookupNetIP(t.Context(), "peer.example")
	for i, err := range []error{udp, from, listen, packet, multicast, interfaces, lookup} {
		if !errors.Is(err, ErrProxied) {
			t.Errorf("way %d beside the proxy: %v", i, err)
		}
	}
}

// Everything that may be wrong with a proxy has an error of its own, at the start and later.
func TestWrongProxy(t *testing.T) {
	web := http.Server{Handler: http.NotFoundHandler()}
	l := listenLoopback(t, "127.0.0.1:0")
	go web.Serve(l)
	t.Cleanup(func() { web.Close() })
	closed := listenLoopback(t, "127.0.0.1:0")
	closed.Close()
	all := func(string) bool { return true }
	for _, tt := range []struct {
		name, url string
		cfg       fakeproxy.Config
		want      error // of the check
		later     error // of a connection
	}{
		{"refused", "socks5://" + closed.Addr().String(), fakeproxy.Config{}, syscall.ECONNREFUSED, ErrDown},
		{"SOCKS5, no password", "socks5://", fakeproxy.Config{User: "u", Password: "p"}, ErrProxyAuth, ErrDown},
		{"SOCKS5, wrong password", "socks5://u:secret@", fakeproxy.Config{User: "u", Password: "p"}, ErrProxyAuth, ErrDown},
		{"HTTP, no password", "http://", fakeproxy.Config{HTTP: true, User: "u", Password: "p"}, ErrProxyAuth, ErrDown},
		{"HTTP, wrong password", "http://u:secret@", fakeproxy.Config{HTTP: true, User: "u", Password: "p"}, ErrProxyAuth, ErrDown},
		{"HTTP, forbidden", "http://", fakeproxy.Config{HTTP: true, Forbids: all}, ErrProxyForbids, ErrProxyForbids},
		{"SOCKS5 asked, HTTP there", "socks5://", fakeproxy.Config{HTTP: true}, ErrNoProxy, ErrDown},
		{"HTTP asked, SOCKS5 there", "http://", fakeproxy.Config{}, ErrNoProxy, io.ErrUnexpectedEOF},
		{"SOCKS5, a web server", "socks5://" + l.Addr().String(), fakeproxy.Config{}, ErrNoProxy, ErrDown},
		{"HTTP, a web server", "http://" + l.Addr().String(), fakeproxy.Config{}, nil, ErrTarget},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := startProxy(t, tt.cfg)
			if strings.HasSuffix(tt.url, "/") || strings.HasSuffix(tt.url, "@") {
				tt.url += p.Addr()
			}
			w, log := openVia(t, tt.url)
			w.patience = time.Second
			if err := w.Check(t.Context()); !errors.Is(err, tt.want) {
				t.Errorf("checked: %v", err)
			}
			for range 3 {
				_, err := w.DialContext(t.Context(), "tcp", "peer.example:6881")
				if !errors.Is(err, tt.later) {
					t.Errorf("dialled: %v", err)
				}
			}
			said := strings.Count(log.String(), "level=WARN")
			if want := errors.Is(tt.later, ErrDown) || errors.Is(tt.later, ErrProxyForbids); want != (said == 1) || errors.Is(tt.later, ErrDown) != (w.Err() != nil) {
				t.Errorf("said %d times: %s; the way: %v", said, log, w.Err())
			}
		})
	}
}

// A proxy that dies is told of once, speaks against no peer, and is used as soon as it is back.
func TestProxyComesBack(t *testing.T) {
	p := startProxy(t, fakeproxy.Config{})
	w, log := openVia(t, "socks5://"+p.Addr())
	dial := func() error {
		c, err := w.DialContext(t.Context(), "tcp", "peer.example:1")
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := dial(); err != nil {
		t.Fatal(err)
	}
	p.Close()
	for range 5 {
		if err := dial(); !errors.Is(err, ErrDown) {
			t.Fatal(err)
		}
	}
	if err := w.Err(); err == nil || !strings.Contains(err.Error(), "the proxy cannot be used") {
		t.Errorf("the way: %v", err)
	}
	again := fakeproxy.Serve(listenLoopback(t, p.Addr()), fakeproxy.Config{Dial: func(context.Context, string) (net.Conn, error) {
		return nil, errors.New("nobody")
	}})
	defer again.Close()
	if err := dial(); !errors.Is(err, ErrTarget) || w.Err() != nil {
		t.Errorf("it is back: %v; the way: %v", err, w.Err())
	}
	if text := log.String(); strings.Count(text, "cannot be used") != 1 || strings.Count(text, "works again") != 1 {
		t.Errorf("logged %s", text)
	}
}

// A proxy that never answers delays a caller no longer than its context, and is not taken for dead.
func TestSilentProxy(t *testing.T) {
	l := listenLoopback(t, "127.0.0.1:0")
	w, _ := openVia(t, "socks5://"+l.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { _, err := w.DialContext(ctx, "tcp", "peer.example:1"); ended <- err }()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || w.Err() != nil {
		t.Errorf("%v; the way: %v", err, w.Err())
	}
}

// script is a proxy's side of a conversation, independent of what is sent to it.
type script struct {
	io.Reader
	said bytes.Buffer
}

func (s *script) Write(p []byte) (int, error) { return s.said.Write(p) }

func newScript(s string) *script { return &script{Reader: strings.NewReader(s)} }

func TestSOCKSAnswers(t *testing.T) {
	const hello, ok = "\x05\x00", "\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"
	withAuth := &Proxy{user: "u", password: "pw", auth: true}
	for _, tt := range []struct {
		p      *Proxy
		answer string
		err    error
		rest   string // what is left for the connection
	}{
		{&Proxy{}, hello + ok + "x", nil, "x"},
		{&Proxy{}, hello + "\x05\x00\x00\x03\x04host\x00\x50" + "x", nil, "x"},
		{&Proxy{}, hello + "\x05\x00\x00\x04" + strings.Repeat("a", 16) + "\x00\x50x", nil, "x"},
		{withAuth, "\x05\x02\x01\x00" + ok + "x", nil, "x"},
		{withAuth, "\x05\x02\x05\x00" + ok, nil, ""}, // of proxies that got the version wrong
		{withAuth, hello + ok, nil, ""},              // does not ask for it
		{withAuth, "\x05\x02\x01\x01", ErrProxyAuth, ""},
		{&Proxy{}, "\x05\xff", ErrProxyAuth, ""},
		{&Proxy{}, "\x05\x02\x01\x00", ErrNoProxy, "\x01\x00"}, // never offered
		{&Proxy{}, "HTTP/1.1 400", ErrNoProxy, "TP/1.1 400"},
		{&Proxy{}, hello + "\x04\x00\x00\x01", ErrNoProxy, ""},
		{&Proxy{}, hello + "\x05\x00\x00\x07abc", ErrNoProxy, "abc"},
		{&Proxy{}, hello + "\x05\x05\x00\x01", ErrTarget, ""},
		{&Proxy{}, hello + "\x05\x02\x00\x01", ErrProxyForbids, ""},
		{&Proxy{}, hello + "\x05\xc8\x00\x01", ErrTarget, ""},
		{&Proxy{}, hello + ok[:7], io.ErrUnexpectedEOF, ""},
		{&Proxy{}, "", io.ErrUnexpectedEOF, ""},
	} {
		s := newScript(tt.answer)
		err := tt.p.greetSOCKS(s)
		if err == nil {
			err = connectSOCKS(s, "a.example:80")
		}
		rest, _ := io.ReadAll(s.Reader)
		if !errors.Is(err, tt.err) || string(rest) != tt.rest {
			t.Errorf("%q: %v, %q is left", tt.answer, err, rest)
		}
		if err == nil && !bytes.HasSuffix(s.said.Bytes(), []byte("\x05\x01\x00\x03\x09a.example\x00\x50")) {
			t.Errorf("asked %q", s.said.Bytes())
		}
	}
	for _, target := range []string{"", "a", "a:x", ":80", "a:70000", strings.Repeat("a", 256) + ":80"} {
		if err := connectSOCKS(newScript(""), target); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("asked for %q: %v", target, err)
		}
	}
}

func TestConnectAnswers(t *testing.T) {
	for _, tt := range []struct {
		answer string
		err    error
		rest   string
	}{
		{"HTTP/1.1 200 Connection established\r\n\r\nx", nil, "x"},
		{"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", nil, "hello"}, // it has no body
		{"HTTP/1.0 204 \n\nx", nil, "x"},
		{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx", nil, "x"},
		{strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 5), ErrNoProxy, "HTTP/1.1 100 Continue\r\n\r\n"},
		{"HTTP/1.1 407 x\r\n\r\n", ErrProxyAuth, ""},
		{"HTTP/1.1 403 x\r\n\r\n", ErrProxyForbids, ""},
		{"HTTP/1.1 405 x\r\n\r\n", ErrProxyForbids, ""},
		{"HTTP/1.1 502 x\r\n\r\n", ErrTarget, ""},
		{"HTTP/1.1 302 x\r\nLocation: http://elsewhere/\r\n\r\n", ErrTarget, ""},
		{"HTTP/1.1 abc\r\n\r\n", ErrNoProxy, ""},
		{"\x05\xff   ", ErrNoProxy, ""},
		{"HTTP/1.1 200 OK\r\n", io.ErrUnexpectedEOF, ""},
		{"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", maxHead), ErrNoProxy, strings.Repeat("a", 20)},
	} {
		s := newScript(tt.answer)
		err := (&Proxy{http: true, user: "u", password: "p", auth: true}).connectHTTP(s, "a.example:80")
		rest, _ := io.ReadAll(s.Reader)
		if !errors.Is(err, tt.err) || string(rest) != tt.rest {
			t.Errorf("%.60q: %v, %q is left", tt.answer, err, rest)
		}
		if want := "CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\nProxy-Authorization: Basic dTpw\r\n\r\n"; s.said.String() != want {
			t.Errorf("asked %q", s.said.String())
		}
	}
	for _, target := range []string{"a", "a b:80", "a\r\nX: y:80", "a/b:80", "ü.example:80", ":80", "a:80 HTTP/1.1", "a%00:80", strings.Repeat("a", 256) + ":80"} {
		s := newScript("HTTP/1.1 200 OK\r\n\r\n")
		if err := (&Proxy{http: true}).connectHTTP(s, target); err == nil || s.said.Len() > 0 {
			t.Errorf("asked for %q: %v", target, err)
		}
	}
}

func FuzzSOCKS(f *testing.F) {
	f.Add([]byte("\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"))
	f.Add([]byte("\x05\x02\x01\x00\x05\x00\x00\x03\x04host\x00\x50"))
	f.Add([]byte("\x05\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newScript(string(b))
		p := &Proxy{user: "u", password: "p", auth: true}
		if p.greetSOCKS(s) == nil && connectSOCKS(s, "a.example:80") == nil && !bytes.Contains(b, []byte("\x05\x00")) {
			t.Errorf("took %q for a connection", b)
		}
		bound, err := associateSOCKS(newScript(string(b)))
		if err == nil && !bytes.HasPrefix(b, []byte("\x05\x00")) {
			t.Errorf("took %q for a relay at %v", b, bound)
		}
	})
}

func FuzzConnect(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\nx"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 407 x\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newScript(string(b))
		if err := (&Proxy{http: true}).connectHTTP(s, "a.example:80"); err == nil && !bytes.Contains(b, []byte(" 2")) {
			t.Errorf("took %q for a connection", b)
		}
	})
}

var udpNowhere = netip.MustParseAddrPort("239.192.0.1:9")
