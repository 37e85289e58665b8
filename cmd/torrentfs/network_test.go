package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"torrentfs/internal/fakeproxy"
	"torrentfs/metainfo"
)

// Behind a proxy no name is looked up here: --peer wants an address, and a link's
// peers are left out that have a name. What is fetched comes through it.
func TestBehindProxy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := fakeproxy.Serve(l, fakeproxy.Config{User: "user", Password: "secret", Dial: func(context.Context, string) (net.Conn, error) {
		return nil, errors.New("nobody")
	}})
	defer p.Close()
	var flags networkFlags
	if err := flags.Proxy.UnmarshalText([]byte("socks5://user:secret@" + p.Addr())); err != nil || flags.Proxy.Validate() != nil {
		t.Fatal(err, flags.Proxy.err)
	}
	a := &app{log: slog.New(slog.DiscardHandler)}
	network, err := a.openNetwork(t.Context(), flags)
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()

	addrs, err := resolvePeers(t.Context(), network, []peerAddr{{"192.0.2.1", 1}, {"2001:db8::1", 2}})
	if err != nil || len(addrs) != 2 || addrs[1] != netip.MustParseAddrPort("[2001:db8::1]:2") {
		t.Errorf("peers %v, %v", addrs, err)
	}
	_, err = resolvePeers(t.Context(), network, []peerAddr{{"peer.example", 1}})
	if codeOf(err) != exitNetwork || !strings.Contains(err.Error(), "give its address") {
		t.Errorf("a peer's name: %v", err)
	}
	link := &metainfo.Magnet{Peers: []string{"192.0.2.1:1", "peer.example:2", "10.0.0.1:3"}}
	if got := network.LinkPeers(t.Context(), link); len(got) != 2 || got[1] != netip.MustParseAddrPort("10.0.0.1:3") {
		t.Errorf("the link's peers: %v", got)
	}
	_, err = fetchTorrent(t.Context(), network, "http://user:word@torrent.example/a.torrent")
	if codeOf(err) != exitNetwork || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "word") {
		t.Errorf("fetched: %v", err)
	}
	if got := p.Targets(); len(got) != 1 || got[0] != "torrent.example:80" {
		t.Errorf("the proxy was asked for %v", got)
	}
}
