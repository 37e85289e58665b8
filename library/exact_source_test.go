package library

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"torrentfs/metainfo"
	"torrentfs/net/guard"
)

// A link without a peer is resolved by the .torrent that it names (xs), if that is
// the torrent of the link, and only by what the guard lets pass.
func TestExactSource(t *testing.T) {
	for name, mi := range versions(t) {
		t.Run(name, func(t *testing.T) {
			raw, err := mi.Encode()
			if err != nil {
				t.Fatal(err)
			}
			other, _ := testTorrent(t, "http://evil.example/announce")
			wrong, err := other.Encode()
			if err != nil {
				t.Fatal(err)
			}
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/other.torrent":
					w.Write(bytes.Replace(wrong, []byte("a.bin"), []byte("x.bin"), 1))
				case "/hop.torrent":
					http.Redirect(w, r, "/press.cgi?reboot=1", http.StatusFound)
				case "/right.torrent":
					w.Write(raw)
				case "/never.torrent":
					http.NotFound(w, r)
				default:
					t.Errorf("asked for %s", r.URL)
				}
			}))
			defer srv.Close()
			l := openLibrary(t, t.TempDir())
			m := &metainfo.Magnet{Hash: mi.Info.Hash, Trackers: []string{"udp://tracker.invalid:1"}, WebSeeds: []string{"http://w.invalid/"}}
			for _, path := range []string{"/never.torrent", "/hop.torrent", "/other.torrent", "/right.torrent"} {
				m.Sources = append(m.Sources, srv.URL+path)
			}
			got, err := l.Resolve(deadline(t), m, ResolveOptions{NoTrackers: true})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Info.Bytes, mi.Info.Bytes) || len(got.PieceLayers) != len(mi.PieceLayers) || got.WebSeeds[0] != m.WebSeeds[0] || len(got.Trackers) != 1 {
				t.Errorf("%+v", got)
			}
			// Nothing that could be a command to a server of this machine.
			for _, path := range []string{"/press.cgi?a.torrent", "/x.torrent?reboot=1", "/reboot"} {
				_, err := l.fetchSource(t.Context(), srv.URL+path)
				if err == nil || !strings.Contains(err.Error(), guard.ErrForbidden.Error()) {
					t.Errorf("%s: %v", path, err)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			m.Sources = m.Sources[:1]
			if _, err := l.Resolve(ctx, m, ResolveOptions{NoTrackers: true}); err == nil {
				t.Error("a search that was ended found something")
			}
		})
	}
}
