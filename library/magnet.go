package library

import (
	"context"
	"slices"

	"torrentfs/metainfo"
)

// AddMagnet is [Library.Resolve] and [Library.Add]: it waits for the metadata of a link, asking the
// peers and trackers that the link names beside all else, and adds the torrent. If o selects no
// files, the link's selection counts (BEP 53).
func (l *Library) AddMagnet(ctx context.Context, m *metainfo.Magnet, o AddOptions) (*Torrent, error) {
	o.Peers = slices.Concat(o.Peers, l.cfg.Network.LinkPeers(ctx, m))
	mi, err := l.Resolve(ctx, m, ResolveOptions{Peers: o.Peers, NoTrackers: o.NoTrackers})
	if err != nil {
		return nil, err
	}
	if len(o.Select) == 0 {
		o.Select = m.Select
	}
	return l.Add(ctx, mi, o)
}
