package library

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
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
