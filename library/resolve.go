package library

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"torrentfs/metainfo"
	"torrentfs/swarm"
)

// ResolveOptions is how metadata is looked for.
type ResolveOptions struct {
	Peers      []netip.AddrPort // known beforehand, tried at once
	NoTrackers bool             // ask no tracker
	// Progress is told how far the search has come, whenever that changes. It
	// is never called concurrently and should return at once.
	Progress func(swarm.MetadataProgress)
}

// ErrMetadata is that peers gave metadata with the right hash that is no
// torrent which can be used.
var ErrMetadata = errors.New("unusable metadata")

// Resolve finds the metadata of a magnet link: what an earlier call kept (see
// [Config.MetadataDir]), else what peers send or the link's exact sources have. It goes on until it succeeds or
// ctx ends. The sources of peers that it asks, and the connections to those that
// it found, go on for the torrent, which is to be added next.
func (l *Library) Resolve(ctx context.Context, m *metainfo.Magnet, o ResolveOptions) (*metainfo.MetaInfo, error) {
	if mi := l.keptMetadata(m); mi != nil {
		return mi, nil
	}
	trackers := linkTrackers(m, nil)
	s := l.beginSearch(m.Hash, l.newSources(m.Hash, m.Hash.String(), trackers, false, o.NoTrackers))
	got := l.findMetadata(ctx, m, swarm.MetadataConfig{
		Hash: m.Hash, Sources: s.sources.all(), Peers: o.Peers, Progress: o.Progress,
	})
	if got.err != nil {
		l.forget(s)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("find metadata: %w", got.err)
	}
	if got.meta != nil {
		l.forget(s)
		return l.keep(m, &metainfo.MetaInfo{Info: got.meta.Info, PieceLayers: got.meta.PieceLayers, Trackers: trackers, WebSeeds: m.WebSeeds}), nil
	}
	found := got.found
	info, err := metainfo.ParseInfo(found.Info, metainfo.Limits{})
	if err != nil {
		l.forget(s)
		found.Close()
		return nil, fmt.Errorf("read metadata of %s: %w: %w", m.Hash, ErrMetadata, err)
	}
	l.keepSearch(s, info.Hash, found)
	return l.keep(m, &metainfo.MetaInfo{Info: info, Trackers: trackers, WebSeeds: m.WebSeeds}), nil
}

// keep keeps the metadata of a link for the next time, if that is possible.
func (l *Library) keep(m *metainfo.Magnet, mi *metainfo.MetaInfo) *metainfo.MetaInfo {
	if err := l.keepMetadata(m.Hash, mi); err != nil {
		l.log.Warn("the metadata is not kept for the next time", "err", err)
	}
	return mi
}

// linkTrackers are the trackers of a link, and of what was kept from an
// earlier one, as one tier: a link does not rank them, so all are asked at once.
func linkTrackers(m *metainfo.Magnet, kept [][]string) [][]string {
	all := slices.Clone(m.Trackers)
	for _, t := range slices.Concat(kept...) {
		if !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return [][]string{all}
}

func metadataFile(dir string, h metainfo.InfoHash) string {
	return filepath.Join(dir, h.String()+".torrent")
}

// keptMetadata is what an earlier Resolve kept; nil if there is nothing that
// can be used.
func (l *Library) keptMetadata(m *metainfo.Magnet) *metainfo.MetaInfo {
	if l.cfg.MetadataDir == "" {
		return nil
	}
	mi, err := KeptMetadata(l.cfg.MetadataDir, m)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.log.Warn("the metadata that was kept cannot be used", "err", err)
	}
	return mi
}

// KeptMetadata reads what a Resolve of the same link kept in a library's
// [Config.MetadataDir], and adds the trackers and web seeds of the link. The
// hash of the info dictionary is checked. Without such a file the error wraps
// [fs.ErrNotExist]. The piece layers of a v2 torrent may be missing.
func KeptMetadata(dir string, m *metainfo.Magnet) (*metainfo.MetaInfo, error) {
	f, err := os.Open(metadataFile(dir, m.Hash))
	if err != nil {
		return nil, fmt.Errorf("read kept metadata: %w", err)
	}
	defer f.Close()
	mi, err := metainfo.Read(f, metainfo.Limits{Bytes: 2 * metainfo.DefaultInfoBytes})
	switch {
	case err != nil:
		return nil, fmt.Errorf("read kept metadata %s: %w", f.Name(), err)
	case m.Hash.HasV1 && mi.Info.Hash.V1 != m.Hash.V1, m.Hash.HasV2 && mi.Info.Hash.V2 != m.Hash.V2:
		return nil, fmt.Errorf("read kept metadata %s: it is of another torrent: %w", f.Name(), ErrMetadata)
	}
	mi.Trackers = linkTrackers(m, mi.Trackers)
	for _, w := range m.WebSeeds {
		if !slices.Contains(mi.WebSeeds, w) {
			mi.WebSeeds = append(mi.WebSeeds, w)
		}
	}
	return mi, nil
}

// keepMetadata writes the torrent where the next Resolve of the same link finds it.
func (l *Library) keepMetadata(h metainfo.InfoHash, mi *metainfo.MetaInfo) error {
	if l.cfg.MetadataDir == "" {
		return nil
	}
	data, err := mi.Encode()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.cfg.MetadataDir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(l.cfg.MetadataDir, ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), metadataFile(l.cfg.MetadataDir, h))
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
