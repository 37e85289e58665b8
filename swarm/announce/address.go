package announce

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"torrentfs/net/guard"
)

// target is a tracker URL that has been found usable.
type target struct {
	url   *url.URL
	local bool // it can be nothing but an announce, so that a host of this network may get it
	cut   bool // a query is left out
}

// parseTarget checks a tracker's URL as a .torrent spells it. A host that is written as a loopback
// or private address is allowed (a user's own tracker at home), but a torrent must not send
// commands to other services there: only a path that can be nothing but an announce, without the
// query that the URL has. To a host that trusts reports true for, the URL may say anything.
func parseTarget(raw string, trusts func(host string) bool) (target, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil {
		return target{}, fmt.Errorf("parse tracker URL: %w", ErrURL) // err would repeat a passkey
	}
	switch u.Scheme {
	case "http", "https":
	case "udp":
		if u.Port() == "" {
			return target{}, fmt.Errorf("parse tracker URL: no port: %w", ErrURL)
		}
	default:
		return target{}, fmt.Errorf("parse tracker URL: scheme %q: %w", printable(u.Scheme), ErrURL)
	}
	if err := checkHost(u.Hostname()); err != nil {
		return target{}, err
	}
	switch t := (target{url: u}); {
	case trusts(u.Hostname()):
		t.local = true
		return t, nil
	case !guard.IsLocalName(u.Hostname()):
		t.local = u.Scheme == "udp" || guard.IsAnnounce(u)
		return t, nil
	}
	return parseLocal(u)
}

// parseLocal is parseTarget for a host that is written as a loopback or private address. A UDP
// tracker has to answer in BEP 15's way before it is sent the URL's path, which is left out if it
// is not an announce.
func parseLocal(u *url.URL) (target, error) {
	bare := *u
	bare.RawQuery, bare.ForceQuery, bare.Fragment, bare.RawFragment, bare.User = "", false, "", "", nil
	if guard.IsAnnounce(&bare) {
		return target{url: &bare, local: true, cut: u.RawQuery != ""}, nil
	}
	if u.Scheme == "udp" {
		bare.Path, bare.RawPath = "", ""
		return target{url: &bare, local: true, cut: u.RawQuery != ""}, nil
	}
	return target{}, fmt.Errorf("%w: %s is of this machine or network, and the path could be more than an announce (--trust-host %s allows it)",
		ErrForbidden, printable(u.Hostname()), printable(u.Hostname()))
}

// checkHost refuses names that must not reach DNS.
func checkHost(host string) error {
	err := guard.CheckName(host)
	if errors.Is(err, guard.ErrNoHost) {
		return fmt.Errorf("parse tracker URL: no host: %w", ErrURL)
	}
	return err
}
