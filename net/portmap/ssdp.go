package portmap

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

const (
	ssdpAnswers = 16 // looked at in one search
	ssdpRepeat  = 700 * time.Millisecond
	ssdpWait    = 2500 * time.Millisecond
	ssdpPort    = 1900
)

// ssdpGroup is the address that UPnP devices listen on.
var ssdpGroup = netip.AddrFrom4([4]byte{239, 255, 255, 250})

var ssdpTargets = []string{
	"urn:schemas-upnp-org:device:InternetGatewayDevice:1", // found by version 2 devices as well
	"urn:schemas-upnp-org:device:InternetGatewayDevice:2",
}

// searchSSDP asks the local network for routers, and the default gateway by
// itself, which some firewalls let through alone. It calls found with the URL of
// each description, until found returns true.
func searchSSDP(ctx context.Context, r Route, to []netip.AddrPort, found func(*url.URL) bool) error {
	listen := ":0"
	if r.Local.IsValid() {
		listen = netip.AddrPortFrom(r.Local, 0).String()
	}
	conn, err := r.Network.ListenPacket(ctx, "udp4", listen)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, ssdpWait)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	resend := time.AfterFunc(ssdpRepeat, func() { _ = sendSSDP(conn, to) })
	defer resend.Stop()
	if err := sendSSDP(conn, to); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	seen := make(map[string]bool)
	for range ssdpAnswers * len(ssdpTargets) {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return errors.New("search routers: no more answers")
		}
		udp, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		u, err := parseSSDP(buf[:n], udp.AddrPort().Addr())
		if err != nil || seen[u.String()] || len(seen) >= ssdpAnswers {
			continue
		}
		seen[u.String()] = true
		if found(u) {
			return nil
		}
	}
	return errors.New("search routers: too many answers")
}

func sendSSDP(conn net.PacketConn, to []netip.AddrPort) error {
	var errs []error
	sent := false
	for _, target := range ssdpTargets {
		for _, addr := range to {
			msg := "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: " + target + "\r\n\r\n"
			_, err := conn.WriteTo([]byte(msg), net.UDPAddrFromAddrPort(addr))
			errs = append(errs, err)
			sent = sent || err == nil
		}
	}
	if !sent {
		return fmt.Errorf("search routers: %w", errors.Join(errs...))
	}
	return nil
}

// parseSSDP reads an answer. The description must be on the host that answers: else any host in the
// network could send us anywhere.
func parseSSDP(b []byte, from netip.Addr) (*url.URL, error) {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		return nil, fmt.Errorf("read SSDP answer: %w", err)
	}
	resp.Body.Close()
	u, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		return nil, fmt.Errorf("read SSDP answer: %w", err)
	}
	if err := onHost(u, from); err != nil {
		return nil, fmt.Errorf("read SSDP answer: %w", err)
	}
	return u, nil
}

// onHost reports an error unless u is an HTTP URL on the host.
func onHost(u *url.URL, host netip.Addr) error {
	addr, err := netip.ParseAddr(u.Hostname())
	if u.Scheme != "http" || err != nil || addr.Unmap() != host.Unmap() {
		return errors.New("URL is not on the router")
	}
	return nil
}
