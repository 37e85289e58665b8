package swarm

import (
	"net/netip"
	"testing"
	"time"

	"torrentfs/metainfo"
)

// BenchmarkDownload moves 128 MiB from one session to another over loopback:
// sockets, wire, picker, hashing, without a disk. Both sides share the cores.
func BenchmarkDownload(b *testing.B) {
	info, data := payload(b, 128<<20, 1<<20)
	full := fullStore(info, data)
	for b.Loop() {
		seeder, addr := host(b, Config{})
		add(b, seeder, TorrentConfig{Info: info, Store: full})
		leecher, _ := host(b, Config{})
		tor := add(b, leecher, TorrentConfig{Info: info, Store: newMemStore(info), Prefetch: true, Peers: []netip.AddrPort{addr}})
		select {
		case <-tor.Complete():
		case <-time.After(60 * time.Second):
			b.Fatalf("not complete: %+v", tor.Stats())
		}
		leecher.Close()
		seeder.Close()
	}
	b.SetBytes(info.Size())
}

// BenchmarkDownloadV2 is BenchmarkDownload of a v2 and of a hybrid torrent.
func BenchmarkDownloadV2(b *testing.B) {
	for _, v := range []metainfo.Version{metainfo.V2, metainfo.Hybrid} {
		b.Run(v.String(), func(b *testing.B) {
			mi, data := content(b, v, 1<<20, 128<<20)
			full := fullStore(mi.Info, data)
			for b.Loop() {
				seeder, addr := host(b, Config{})
				add(b, seeder, TorrentConfig{Info: mi.Info, PieceLayers: mi.PieceLayers, Store: full})
				leecher, _ := host(b, Config{})
				tor := add(b, leecher, TorrentConfig{
					Info: mi.Info, PieceLayers: mi.PieceLayers, Store: newMemStore(mi.Info), Prefetch: true, Peers: []netip.AddrPort{addr},
				})
				select {
				case <-tor.Complete():
				case <-time.After(60 * time.Second):
					b.Fatalf("not complete: %+v", tor.Stats())
				}
				leecher.Close()
				seeder.Close()
			}
			b.SetBytes(mi.Info.Size())
		})
	}
}
