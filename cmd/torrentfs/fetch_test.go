package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"torrentfs/metainfo"
)

const tinyTorrent = "d4:infod6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee"

// A .torrent comes from its URL, over a bounded number of redirects, and is no
// larger than a torrent may be.
func TestFetchTorrent(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/a.torrent", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, tinyTorrent) })
	mux.HandleFunc("/hop/{n}", func(w http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscan(r.PathValue("n"), &n)
		next := "/a.torrent"
		if n > 1 {
			next = fmt.Sprintf("/hop/%d", n-1)
		}
		http.Redirect(w, r, next, http.StatusFound)
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>log in first</html>") })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "d1:x%d:", 2*metainfo.DefaultBytes)
		for range 2 * metainfo.DefaultBytes >> 16 {
			w.Write(make([]byte, 1<<16))
		}
	})
	// Another host than the one that was named, and not a public one.
	mux.HandleFunc("/inside", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://localhost:"+r.Host[strings.LastIndex(r.Host, ":")+1:]+"/a.torrent", http.StatusFound)
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for _, c := range []struct {
		path, want string // want is in the error; "" is success
		code       exitCode
	}{
		{"/a.torrent", "", exitOK},
		{"/hop/5", "", exitOK},
		{"/hop/6", "redirects", exitNetwork},
		{"/none", "404", exitNetwork},
		{"/page", "parse torrent", exitTorrent},
		{"/large", "exceeds the limit", exitTorrent},
		{"/inside", "not allowed", exitNetwork},
	} {
		mi, err := fetchTorrent(context.Background(), nil, srv.URL+c.path)
		switch {
		case codeOf(err) != c.code:
			t.Errorf("%s: exit code %d, want %d (%v)", c.path, codeOf(err), c.code, err)
		case c.want == "" && mi.Info.Name != "a":
			t.Errorf("%s: fetched %+v", c.path, mi.Info)
		case c.want != "" && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v, want %q in it", c.path, err, c.want)
		}
	}
}

func TestRefer(t *testing.T) {
	hex40, hex64 := strings.Repeat("aB", 20), strings.Repeat("c1", 32)
	for _, c := range []struct {
		arg, hash, url string
	}{
		{"magnet:?xt=urn:btih:" + hex40, strings.ToLower(hex40), ""},
		{"MAGNET:?xt=urn:btih:" + hex40, strings.ToLower(hex40), ""},
		{hex40, strings.ToLower(hex40), ""},
		{strings.Repeat("A", 32), strings.Repeat("0", 40), ""},
		{hex64, hex64, ""},
		{"https://example.org/a.torrent", "", "https://example.org/a.torrent"},
	} {
		ref, err := (&app{}).refer(c.arg)
		switch {
		case err != nil:
			t.Errorf("%s: %v", c.arg, err)
		case ref.url != c.url, c.hash != "" && (ref.magnet == nil || ref.magnet.Hash.String() != c.hash):
			t.Errorf("%s: %+v", c.arg, ref)
		}
	}
	for _, arg := range []string{hex40[1:], hex40 + "a", "zz" + hex40[2:], "magnet:?dn=a"} {
		if ref, err := (&app{}).refer(arg); err == nil {
			t.Errorf("%s was taken as %+v", arg, ref)
		}
	}
}
