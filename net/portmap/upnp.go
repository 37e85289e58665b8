package portmap

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/huin/goupnp"
	"github.com/huin/goupnp/dcps/internetgateway2"
	"github.com/huin/goupnp/soap"

	"torrentfs/net/egress"
)

const (
	maxUPnPBody = 512 << 10 // bytes of any answer
	portTries   = 4         // external ports that are tried if one is taken
)

// Codes of UPnP errors (WANIPConnection:2, 2.5).
const (
	upnpConflict      = 718
	upnpOnlyPermanent = 725
)

// wanConnection is what WANIPConnection 1 and 2 and WANPPPConnection share.
type wanConnection interface {
	AddPortMappingCtx(ctx context.Context, remoteHost string, externalPort uint16, protocol string,
		internalPort uint16, internalClient string, enabled bool, description string, lease uint32) error
	DeletePortMappingCtx(ctx context.Context, remoteHost string, externalPort uint16, protocol string) error
	GetExternalIPAddressCtx(ctx context.Context) (string, error)
}

var (
	_ wanConnection = (*internetgateway2.WANIPConnection1)(nil)
	_ wanConnection = (*internetgateway2.WANIPConnection2)(nil)
	_ wanConnection = (*internetgateway2.WANPPPConnection1)(nil)
)

// upnp is a router that speaks UPnP IGD.
type upnp struct {
	wan         wanConnection
	host        string
	local       netip.Addr
	description string
}

func findUPnP(ctx context.Context, r Route, description string) (Gateway, error) {
	to := []netip.AddrPort{netip.AddrPortFrom(ssdpGroup, ssdpPort)}
	if r.Gateway.Is4() {
		to = append(to, netip.AddrPortFrom(r.Gateway, ssdpPort))
	}
	return searchUPnP(ctx, r, to, description)
}

func searchUPnP(ctx context.Context, r Route, to []netip.AddrPort, description string) (Gateway, error) {
	client, done := newUPnPClient(r.Network)
	defer done()
	var g *upnp
	err := searchSSDP(ctx, r, to, func(loc *url.URL) bool {
		wan, err := describe(ctx, client, loc, r.Network)
		if err != nil {
			return false
		}
		g = &upnp{wan: wan, host: loc.Host, local: r.Local, description: description}
		if !g.local.IsValid() {
			g.local = localTowards(ctx, r.Network, loc.Host)
		}
		return true
	})
	if g == nil {
		return nil, err
	}
	return g, nil
}

// describe gets a router's description and picks the service that maps ports.
func describe(ctx context.Context, client *http.Client, loc *url.URL, network *egress.Network) (wanConnection, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, loc.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("get router's description: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get router's description: status %d", resp.StatusCode)
	}
	return parseDescription(resp.Body, loc, network)
}

func parseDescription(r io.Reader, loc *url.URL, network *egress.Network) (wanConnection, error) {
	host, err := netip.ParseAddr(loc.Hostname())
	if err != nil {
		return nil, err
	}
	root := new(goupnp.RootDevice)
	dec := xml.NewDecoder(io.LimitReader(r, maxUPnPBody))
	dec.DefaultSpace = goupnp.DeviceXMLNamespace
	if err := dec.Decode(root); err != nil {
		return nil, fmt.Errorf("read router's description: %w", err)
	}
	base := loc
	if root.URLBaseStr != "" {
		if base, err = url.Parse(root.URLBaseStr); err != nil {
			return nil, fmt.Errorf("read router's description: %w", err)
		}
	}
	root.SetURLBase(base)
	var best wanConnection
	pick := func(c goupnp.ServiceClient, wan wanConnection) {
		if best == nil && onHost(&c.SOAPClient.EndpointURL, host) == nil {
			c.SOAPClient.HTTPClient = http.Client{Transport: cappedTransport{network}, CheckRedirect: noRedirect}
			best = wan
		}
	}
	if cs, err := internetgateway2.NewWANIPConnection2ClientsFromRootDevice(root, loc); err == nil {
		for _, c := range cs {
			pick(c.ServiceClient, c)
		}
	}
	if cs, err := internetgateway2.NewWANIPConnection1ClientsFromRootDevice(root, loc); err == nil {
		for _, c := range cs {
			pick(c.ServiceClient, c)
		}
	}
	if cs, err := internetgateway2.NewWANPPPConnection1ClientsFromRootDevice(root, loc); err == nil {
		for _, c := range cs {
			pick(c.ServiceClient, c)
		}
	}
	if best == nil {
		return nil, errors.New("read router's description: it maps no ports")
	}
	return best, nil
}

// newUPnPClient returns a client for one search, and what closes it.
func newUPnPClient(network *egress.Network) (*http.Client, func()) {
	t := &http.Transport{DialContext: network.DialContext, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}
	return &http.Client{Transport: t, CheckRedirect: noRedirect, Timeout: requestTimeout}, t.CloseIdleConnections
}

func noRedirect(*http.Request, []*http.Request) error {
	return errors.New("router redirects")
}

// cappedTransport makes one connection for each request and bounds the answer,
// which the library reads to its end.
type cappedTransport struct{ network *egress.Network }

func (c cappedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	t := &http.Transport{DialContext: c.network.DialContext, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10, ResponseHeaderTimeout: requestTimeout}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxUPnPBody), resp.Body}
	return resp, nil
}

// localTowards is our address on the way to a host. Nothing is sent.
func localTowards(ctx context.Context, network *egress.Network, hostport string) netip.Addr {
	conn, err := network.DialContext(ctx, "udp", hostport)
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	udp, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}
	}
	return udp.AddrPort().Addr().Unmap()
}

func (g *upnp) Name() string { return "UPnP " + g.host }

func (g *upnp) Map(ctx context.Context, m Mapping, external uint16, life time.Duration) (uint16, time.Duration, error) {
	lease := life
	var err error
	for range portTries {
		err = g.wan.AddPortMappingCtx(ctx, "", external, upnpProtocol(m), m.Port, g.local.String(), true, g.description, uint32(lease/time.Second))
		switch code := upnpCode(err); {
		case err == nil:
			return external, lease, nil
		case code == upnpOnlyPermanent && lease != 0:
			lease = 0
		case code == upnpConflict:
			external = 1024 + (external*31+7)%60000 // another host has it: try elsewhere
		default:
			return 0, 0, fmt.Errorf("request UPnP mapping: %w", err)
		}
	}
	return 0, 0, fmt.Errorf("request UPnP mapping: %w", err)
}

func (g *upnp) Unmap(ctx context.Context, m Mapping, external uint16) error {
	if err := g.wan.DeletePortMappingCtx(ctx, "", external, upnpProtocol(m)); err != nil {
		return fmt.Errorf("remove UPnP mapping: %w", err)
	}
	return nil
}

func (g *upnp) External(ctx context.Context) (netip.Addr, error) {
	s, err := g.wan.GetExternalIPAddressCtx(ctx)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("request UPnP address: %w", err)
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("request UPnP address: %w", err)
	}
	return addr, nil
}

func upnpProtocol(m Mapping) string {
	if m.Protocol == UDP {
		return "UDP"
	}
	return "TCP"
}

// upnpCode is the code of a router's refusal, 0 for other errors.
func upnpCode(err error) int {
	if fault, ok := errors.AsType[*soap.SOAPFaultError](err); ok {
		return fault.Detail.UPnPError.Errorcode
	}
	return 0
}
