package fakeproxy

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
)

// Config is what a proxy is made with. Its zero value is a SOCKS5 proxy without
// a password that connects as the system does.
type Config struct {
	HTTP           bool   // else SOCKS5
	User, Password string // required if User is set
	// Dial connects to "host:port" as the client wrote it; nil dials directly.
	Dial func(ctx context.Context, target string) (net.Conn, error)
	// Forbids reports targets that its rules are against.
	Forbids func(target string) bool

	// UDP makes the sockets of an association, one for the client and one for all others; nil: it
	// relays no datagrams. Resolve looks up the names in them, and Bound, if valid, is the address
	// that the client is told.
	UDP     func() (inner, outer net.PacketConn, err error)
	Resolve func(name string) netip.Addr
	Bound   netip.Addr
}

// Proxy is one that runs.
type Proxy struct {
	cfg Config
	l   net.Listener
	wg  sync.WaitGroup

	mu        sync.Mutex
	conns     map[net.Conn]struct{}
	controls  map[net.Conn]struct{} // of them, those that associations hang on
	targets   []string
	datagrams []string
	closed    bool
}

// Serve runs a proxy on l, which it owns.
func Serve(l net.Listener, cfg Config) *Proxy {
	if cfg.Dial == nil {
		cfg.Dial = func(ctx context.Context, target string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", target)
		}
	}
	p := &Proxy{cfg: cfg, l: l, conns: map[net.Conn]struct{}{}, controls: map[net.Conn]struct{}{}}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	return p
}

// Addr is the address that it listens on.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

// Targets are the hosts that it was asked for, in their order.
func (p *Proxy) Targets() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.targets)
}

// Close ends every connection and waits for all that runs.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.l.Close()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// hold has Close end c; it reports false if it is too late.
func (p *Proxy) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) drop(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Proxy) serve(c net.Conn) {
	if !p.hold(c) {
		return
	}
	defer p.drop(c)
	r := bufio.NewReader(c)
	agree := p.socks
	if p.cfg.HTTP {
		agree = p.connect
	}
	target, err := agree(r, c)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.targets = append(p.targets, target)
	p.mu.Unlock()
	if p.cfg.Forbids != nil && p.cfg.Forbids(target) {
		p.answer(c, 2, http.StatusForbidden)
		return
	}
	out, err := p.cfg.Dial(context.Background(), target)
	if err != nil {
		p.answer(c, 5, http.StatusBadGateway)
		return
	}
	if !p.hold(out) {
		return
	}
	defer p.drop(out)
	p.answer(c, 0, http.StatusOK)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(out, r)
		out.Close()
	}()
	_, _ = io.Copy(c, out)
	c.Close()
	<-done
}

func (p *Proxy) answer(c net.Conn, code byte, status int) {
	if p.cfg.HTTP {
		fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nVia: test\r\n\r\n", status, http.StatusText(status))
		return
	}
	_, _ = c.Write([]byte{5, code, 0, 1, 127, 0, 0, 1, 0, 80})
}

// connect reads an HTTP request.
func (p *Proxy) connect(r *bufio.Reader, c net.Conn) (string, error) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return "", err
	}
	if req.Method != http.MethodConnect {
		p.answer(c, 0, http.StatusMethodNotAllowed)
		return "", fmt.Errorf("method %s", req.Method)
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.cfg.User+":"+p.cfg.Password))
	if p.cfg.User != "" && req.Header.Get("Proxy-Authorization") != want {
		p.answer(c, 0, http.StatusProxyAuthRequired)
		return "", fmt.Errorf("password")
	}
	return req.Host, nil
}

// socks reads the requests of RFC 1928 and 1929.
func (p *Proxy) socks(r *bufio.Reader, c net.Conn) (string, error) {
	var b [255]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil || b[0] != 5 {
		return "", fmt.Errorf("version %d: %w", b[0], err)
	}
	methods := make([]byte, b[1])
	if _, err := io.ReadFull(r, methods); err != nil {
		return "", err
	}
	method := byte(0)
	if p.cfg.User != "" {
		method = 2
	}
	if !slices.Contains(methods, method) {
		method = 0xff
	}
	if _, err := c.Write([]byte{5, method}); err != nil || method == 0xff {
		return "", fmt.Errorf("no method: %w", err)
	}
	if method == 2 {
		user, password, err := credentials(r)
		if err != nil {
			return "", err
		}
		if user != p.cfg.User || password != p.cfg.Password {
			_, _ = c.Write([]byte{1, 1})
			return "", fmt.Errorf("password")
		}
		if _, err := c.Write([]byte{1, 0}); err != nil {
			return "", err
		}
	}
	if _, err := io.ReadFull(r, b[:4]); err != nil {
		return "", err
	}
	command := b[1]
	if command != 1 && (command != 3 || p.cfg.UDP == nil) {
		p.answer(c, 7, 0)
		return "", fmt.Errorf("command %d", command)
	}
	host, err := socksHost(r, b[3])
	if err != nil {
		return "", err
	}
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return "", err
	}
	if command == 3 {
		return "", fmt.Errorf("association ended: %w", p.associate(r, c))
	}
	return net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(b[:])))), nil
}

func credentials(r *bufio.Reader) (user, password string, err error) {
	if _, err := r.ReadByte(); err != nil {
		return "", "", err
	}
	if user, err = shortString(r); err != nil {
		return "", "", err
	}
	password, err = shortString(r)
	return user, password, err
}

func shortString(r *bufio.Reader) (string, error) {
	n, err := r.ReadByte()
	if err != nil {
		return "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return string(b), err
}

func socksHost(r *bufio.Reader, kind byte) (string, error) {
	n := map[byte]int{1: 4, 4: 16}[kind]
	if n == 0 {
		return shortString(r)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", err
	}
	a, _ := netip.AddrFromSlice(b)
	return a.String(), nil
}
