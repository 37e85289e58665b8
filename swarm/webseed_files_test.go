package swarm

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"torrentfs/metainfo"
)

// One file of a server is not the torrent's: every piece without a byte of it comes
// from there all the same, and the rest from a peer.
func TestChangedFileOnWebSeed(t *testing.T) {
	for name, sizes := range map[string][]int64{"small": {1<<20 + 5, 3000, 1 << 20}, "large": {1<<20 + 5, 2 << 20, 1 << 20}} {
		t.Run(name, func(t *testing.T) {
			inV2World(t, metainfo.V1, 64<<10, sizes, Config{}, func(w *world) {
				s := w.serveWeb(wan(100, 10*ms), func(rw http.ResponseWriter, r *http.Request) bool {
					if !strings.HasSuffix(r.URL.Path, "f001") {
						return false
					}
					http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(make([]byte, sizes[1])))
					return true
				})
				changed := &w.info.Files[1]
				from, to := w.info.PieceOf(changed.Offset), w.info.PieceOf(changed.Offset+changed.Length-1)
				opt := w.options("has that file alone")
				opt.Have = func(piece metainfo.Piece) bool { return piece >= from && piece <= to }
				w.serve(wan(1, 40*ms), opt)
				tor := w.add(TorrentConfig{Prefetch: true, WebSeeds: openers(s)})
				r := tor.NewReader(nil)
				for p := range w.info.NumPieces() {
					if p < from || p > to {
						w.read(r, int64(p)*w.info.PieceLength(), int(w.info.PieceSize(p)), time.Minute)
					}
				}
				r.Close()
				if all := tor.WebSeeds(); all[0].Banned || all[0].Err != nil {
					t.Errorf("%+v", all)
				}
				w.await(tor, time.Hour)
			})
		})
	}
}
