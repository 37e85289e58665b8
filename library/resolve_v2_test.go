package library

import (
	"bytes"
	"context"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"torrentfs/metainfo"
)

// A link by either info-hash is enough for v2 and hybrid torrents: the piece
// layers, which are no part of the metadata, come from peers, also where the
// metadata was kept.
func TestMagnetsOfV2(t *testing.T) {
	_, files := testTorrent(t, "")
	for _, version := range []metainfo.Version{metainfo.V2, metainfo.Hybrid} {
		mi := createTorrent(t, "set", version, 64<<10, files)
		seedDir := t.TempDir()
		writeFiles(t, seedDir, files)
		seeder := openLibrary(t, seedDir)
		awaitComplete(t, addTorrent(t, seeder, mi, AddOptions{}))
		peers := []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(seeder.Port()))}
		h := mi.Info.Hash
		for name, hash := range map[string]metainfo.InfoHash{
			"v1": {V1: h.V1, HasV1: h.HasV1}, "v2": {V2: h.V2, HasV2: true}, "both": h,
		} {
			if !hash.HasV1 && !hash.HasV2 {
				continue
			}
			kept := t.TempDir()
			for _, round := range []string{"from peers", "kept"} {
				dir := t.TempDir()
				l := openLibrary(t, dir).withMetadata(kept)
				o := ResolveOptions{Peers: peers}
				if round == "kept" {
					o.Peers = nil
				}
				got, err := l.Resolve(deadline(t), &metainfo.Magnet{Hash: hash}, o)
				if err != nil {
					t.Fatalf("%v by %s, %s: %v", version, name, round, err)
				}
				awaitComplete(t, addTorrent(t, l, got, AddOptions{Peers: peers}))
				b, err := os.ReadFile(filepath.Join(dir, "set", "dir", "b.bin"))
				if err != nil || !bytes.Equal(b, files[3].data) {
					t.Errorf("%v by %s, %s: wrong bytes (%v)", version, name, round, err)
				}
				l.Close(context.Background())
			}
		}
	}
}

// A .torrent that lacks piece layers, of a file or of all, is downloaded as one
// by a link is.
func TestTorrentsWithoutLayers(t *testing.T) {
	_, files := testTorrent(t, "")
	for _, version := range []metainfo.Version{metainfo.V2, metainfo.Hybrid} {
		mi := createTorrent(t, "set", version, 64<<10, files)
		seedDir := t.TempDir()
		writeFiles(t, seedDir, files)
		seeder := openLibrary(t, seedDir)
		awaitComplete(t, addTorrent(t, seeder, mi, AddOptions{}))
		peers := []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(seeder.Port()))}
		layers := slices.Collect(maps.Keys(mi.PieceLayers))
		if len(layers) == 0 {
			t.Fatal("no file is longer than a piece")
		}
		for _, missing := range [][]metainfo.SHA256{layers[:1], layers} {
			bare := *mi
			bare.PieceLayers = maps.Clone(mi.PieceLayers)
			for _, root := range missing {
				delete(bare.PieceLayers, root)
			}
			data, err := bare.Encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := metainfo.Parse(data, metainfo.Limits{})
			if err != nil {
				t.Fatalf("%v without %d of %d layers: %v", version, len(missing), len(layers), err)
			}
			dir := t.TempDir()
			l := openLibrary(t, dir)
			awaitComplete(t, addTorrent(t, l, got, AddOptions{Peers: peers}))
			for _, f := range files {
				b, err := os.ReadFile(filepath.Join(append([]string{dir, "set"}, f.path...)...))
				if err != nil || !bytes.Equal(b, f.data) {
					t.Errorf("%v without %d of %d layers: %s: wrong bytes (%v)", version, len(missing), len(layers), f.path, err)
				}
			}
			l.Close(context.Background())
		}
	}
}
