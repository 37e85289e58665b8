package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"torrentfs/library"
)

// networkFlags say how traffic leaves and enters this machine.
type networkFlags struct {
	BindInterface string        `group:"network" aliases:"bind-device" env:"TORRENTFS_BIND_INTERFACE" placeholder:"IFACE" help:"Send and receive by this network interface alone. One that goes away is waited for."`
	Proxy         proxyURL      `group:"network" env:"TORRENTFS_PROXY" placeholder:"URL" help:"Reach peers, trackers, web seeds and URLs through socks5://[USER:PASSWORD@]HOST:PORT or http://…, and nothing beside it: it resolves the names, and there are no incoming peers, local discovery and port mapping. uTP, DHT and UDP trackers work where a SOCKS5 proxy relays UDP."`
	DNSServer     []nameServer  `name:"dns-server" group:"network" placeholder:"ADDRESS" help:"Ask this name server, not those of the system. May be repeated."`
	TrustHost     []trustedHost `name:"trust-host" group:"network" placeholder:"HOST" help:"Let torrents' trackers and web seeds be at this host although it is of this machine or network, and have any path and query there; HOST is a name, an address, or a network such as 10.0.0.0/8. May be repeated."`
}

// trustedHost is a host of --trust-host.
type trustedHost string

// UnmarshalText checks a host.
func (h *trustedHost) UnmarshalText(text []byte) error {
	*h = trustedHost(text)
	return library.CheckTrust(string(text))
}

// proxyURL is the URL of --proxy. No error quotes it.
type proxyURL struct {
	proxy *library.Proxy
	err   error
}

// UnmarshalText parses a proxy's URL; an empty one is none. What is wrong with
// it is for Validate to say: to an error from here kong would add the value that
// an environment variable has.
func (p *proxyURL) UnmarshalText(text []byte) error {
	if p.proxy, p.err = nil, nil; len(text) > 0 {
		p.proxy, p.err = library.ParseProxy(string(text))
	}
	return nil
}

// Validate reports what is wrong with the URL.
func (p proxyURL) Validate() error { return p.err }

// nameServer is an address of --dns-server.
type nameServer struct{ netip.AddrPort }

// UnmarshalText parses ADDRESS or ADDRESS:PORT.
func (n *nameServer) UnmarshalText(text []byte) error {
	if a, err := netip.ParseAddr(string(text)); err == nil {
		n.AddrPort = netip.AddrPortFrom(a, 53)
		return nil
	}
	a, err := netip.ParseAddrPort(string(text))
	if err != nil || a.Port() == 0 {
		return fmt.Errorf("parse name server %q: want an address, with a port or without", text)
	}
	n.AddrPort = a
	return nil
}

// openNetwork opens the network that the flags name. A proxy is asked whether it
// would take us.
func (a *app) openNetwork(ctx context.Context, f networkFlags) (*library.Network, error) {
	if f.Proxy.err != nil { // of the environment, which nobody validates
		return nil, fail(exitUsage, "check TORRENTFS_PROXY", "use proxy: %w", f.Proxy.err)
	}
	cfg := library.NetworkConfig{Interface: f.BindInterface, Proxy: f.Proxy.proxy, Logger: a.log}
	for _, n := range f.DNSServer {
		cfg.DNS = append(cfg.DNS, n.AddrPort)
	}
	for _, h := range f.TrustHost {
		cfg.Trust = append(cfg.Trust, string(h))
	}
	network, err := library.OpenNetwork(ctx, cfg)
	var proxy *library.ProxyError
	switch {
	case errors.Is(err, errInterrupted):
		return nil, errInterrupted
	case errors.As(err, &proxy):
		return nil, fail(exitNetwork, proxyHint(err, f.Proxy.proxy), "%w", err)
	case err != nil:
		return nil, fail(exitNetwork, "check --bind-interface", "%w", err)
	}
	switch err := network.RelaysUDP(); {
	case !network.Proxied():
	case err != nil:
		a.log.Info("all goes through the proxy: there are no incoming peers, no local discovery and port mapping, and, as it relays no UDP, no uTP, DHT and UDP trackers",
			"proxy", f.Proxy.proxy.String(), "udp", err.Error())
	default:
		a.log.Info("all goes through the proxy, UDP as well: there are no incoming peers, no local discovery and port mapping",
			"proxy", f.Proxy.proxy.String())
	}
	return network, nil
}

func proxyHint(err error, p *library.Proxy) string {
	switch {
	case errors.Is(err, library.ErrProxyAuth) && !p.Authenticates():
		return "it wants them: --proxy SCHEME://USER:PASSWORD@HOST:PORT, or the same in TORRENTFS_PROXY"
	case errors.Is(err, library.ErrProxyAuth):
		return "check them in --proxy or TORRENTFS_PROXY; bytes such as @ and : are written %40 and %3A"
	case errors.Is(err, library.ErrProxyForbids):
		return "its rules must allow CONNECT to any host and port"
	case errors.Is(err, library.ErrNoProxy):
		return "check the scheme, socks5 or http, and the port of --proxy, and whether it takes connections from here"
	}
	return "check that it runs, and the host and port of --proxy"
}
