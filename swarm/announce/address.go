package announce

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"torrentfs/swarm/netguard"
)

// target is a tracker URL that has been found usable.
type target struct {
	url   *url.URL
	local bool // written as a loopback or private address, so that one may be reached
}

// parseTarget checks a tracker's URL as a .torrent spells it. A host that is
// written as a loopback or private address is allowed (somebody's own tracker
// at home), but only with an announce path, so that a torrent cannot make us
// press the buttons of other services there.
func parseTarget(raw string) (target, error) {
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
	t := target{url: u, local: netguard.IsLocalName(u.Hostname())}
	if t.local && u.Scheme != "udp" && !isAnnouncePath(u.Path) {
		return target{}, fmt.Errorf("%w: %s without an announce path", ErrForbidden, u.Hostname())
	}
	return t, nil
}

// checkHost refuses names that must not reach DNS.
func checkHost(host string) error {
	err := netguard.CheckName(host)
	if errors.Is(err, netguard.ErrNoHost) {
		return fmt.Errorf("parse tracker URL: no host: %w", ErrURL)
	}
	return err
}

func isAnnouncePath(p string) bool {
	base := path.Base(p)
	return strings.Contains(base, "announce") || strings.Contains(base, "scrape")
}
