package swarm

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"torrentfs/metainfo"
)

// Wrong data costs the pieces of one file as long as that explains it.
func TestWebFaults(t *testing.T) {
	inV2World(t, metainfo.V1, 64<<10, []int64{1 << 20, 1 << 20, 3000, 1 << 20}, Config{}, func(w *world) {
		info := w.info // pieces 0 to 15, 16 to 31, 32 (with the small file), 33 to 47, 48
		var f webFaults
		if pieces, files, ban := f.failed(info, 32); !slices.Equal(pieces, []int{32}) || files != nil || ban {
			t.Errorf("a piece of two files: %v, %v, %v", pieces, files, ban)
		}
		if pieces, files, ban := f.failed(info, 3); !slices.Equal(pieces, []int{3}) || files != nil || ban {
			t.Errorf("one wrong piece: %v, %v, %v", pieces, files, ban)
		}
		pieces, files, ban := f.failed(info, 5)
		if len(pieces) != 15 || !slices.Equal(files, []int{0}) || ban || f.lost.Count() != 17 {
			t.Errorf("two wrong pieces of a file: %v, %v, %v", pieces, files, ban)
		}
		for p := range 16 { // were asked for before that was known
			if _, _, ban := f.failed(info, p); ban {
				t.Fatal("banned for one file")
			}
		}
		for p := 17; p < 30; p++ {
			f.passed(info, p)
		}
		if _, files, ban := f.failed(info, 30); files != nil || ban {
			t.Errorf("one wrong piece beside 13 right ones: %v, %v", files, ban)
		}
		var liar webFaults
		n := 0
		for _, p := range []int{1, 2, 20, 21, 40} {
			n++
			if _, _, ban := liar.failed(info, p); ban {
				break
			}
		}
		if n != webStrikes {
			t.Errorf("a server that sends nothing right is banned after %d pieces", n)
		}
	})
}

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
				opt.Have = func(piece int) bool { return piece >= from && piece <= to }
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
