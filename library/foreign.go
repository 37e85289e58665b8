package library

import (
	"net/url"
	"slices"

	"torrentfs/metainfo"
	"torrentfs/net/guard"
)

// leaveOutLocal takes from a torrent that came from the Internet the trackers and web
// seeds that are written as addresses of this machine or network, and returns them:
// who put it there means another network, or harm. Those that the user trusts stay.
func leaveOutLocal(mi *metainfo.MetaInfo, trust *guard.Trust) (left []string) {
	for i, tier := range mi.Trackers {
		mi.Trackers[i] = withoutLocal(tier, trust, &left)
	}
	mi.Trackers = slices.DeleteFunc(mi.Trackers, func(tier []string) bool { return len(tier) == 0 })
	mi.WebSeeds = withoutLocal(mi.WebSeeds, trust, &left)
	mi.HTTPSeeds = withoutLocal(mi.HTTPSeeds, trust, &left)
	return left
}

// leaveOutLocalLink is leaveOutLocal for a magnet link.
func leaveOutLocalLink(m *metainfo.Magnet, trust *guard.Trust) (left []string) {
	m.Trackers = withoutLocal(m.Trackers, trust, &left)
	m.WebSeeds = withoutLocal(m.WebSeeds, trust, &left)
	m.Sources = withoutLocal(m.Sources, trust, &left)
	return left
}

func withoutLocal(urls []string, trust *guard.Trust, left *[]string) (kept []string) {
	for _, raw := range urls {
		if u, err := url.Parse(raw); err == nil && guard.IsLocalName(u.Hostname()) && !trust.Host(u.Hostname()) {
			*left = append(*left, raw)
			continue
		}
		kept = append(kept, raw)
	}
	return kept
}
