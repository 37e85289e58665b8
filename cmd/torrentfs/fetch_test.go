package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"torrentfs/library"
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
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "\r\n") })
	mux.HandleFunc("/other", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "PK\x03\x04") })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, tinyTorrent)
	})
	mux.HandleFunc("/two", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "<html><a href='magnet:?xt=urn:btih:%s'>a</a><a href='magnet:?xt=urn:btih:%s'>b</a>", strings.Repeat("1", 40), strings.Repeat("2", 40))
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
		{"/page", "it is a web page, not a torrent — open it in a browser", exitTorrent},
		{"/two", "more than one magnet link", exitTorrent},
		{"/empty", "it is empty", exitTorrent},
		{"/other", "parse torrent", exitTorrent},
		{"/cut", "read answer: unexpected EOF", exitNetwork},
		{"/large", "exceeds the limit", exitTorrent},
		{"/inside", "not allowed", exitNetwork},
	} {
		ref, err := fetchTorrent(t.Context(), nil, srv.URL+c.path)
		switch {
		case codeOf(err) != c.code:
			t.Errorf("%s: exit code %d, want %d (%v)", c.path, codeOf(err), c.code, err)
		case c.want == "" && c.code == exitOK && ref.Magnet == nil && ref.Meta.Info.Name != "a":
			t.Errorf("%s: fetched %+v", c.path, ref.Meta)
		case c.want != "" && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v, want %q in it", c.path, err, c.want)
		}
	}
}

// A URL that leads to a magnet link, by a redirect, as text or on a web page, is that
// link.
func TestFetchLink(t *testing.T) {
	link := "magnet:?xt=urn:btih:" + strings.Repeat("aB", 20) + "&dn=a"
	mux := http.NewServeMux()
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, link, http.StatusFound) })
	mux.HandleFunc("/hop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/redirect", http.StatusFound) })
	mux.HandleFunc("/text", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "\ufeff"+link+"\n") })
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "<!doctype html><a href=\"%s\">get</a> <p data-link='%s'>", strings.ReplaceAll(link, "&", "&amp;"), link)
	})
	mux.HandleFunc("/bad", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "magnet:?xt=urn:btih:1", http.StatusFound)
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for _, path := range []string{"/redirect", "/hop", "/text", "/page"} {
		ref, err := fetchTorrent(t.Context(), nil, srv.URL+path)
		if err != nil || ref.Magnet == nil || ref.Magnet.Name != "a" || ref.Magnet.Hash.String() != strings.Repeat("ab", 20) {
			t.Errorf("%s: %+v, %v", path, ref, err)
		}
	}
	if _, err := fetchTorrent(t.Context(), nil, srv.URL+"/bad"); codeOf(err) != exitTorrent {
		t.Errorf("a bad link: %v", err)
	}
}

// No error shows what a URL may hold of secrets.
func TestFetchErrors(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/nowhere":
			w.Header().Set("Location", "http://hush:hush@[::1/?passkey=hush")
			w.WriteHeader(http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop?passkey=hush", http.StatusFound)
		default:
			http.Error(w, "no", http.StatusForbidden)
		}
	}))
	defer srv.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for _, base := range []string{srv.URL + "/x", srv.URL + "/loop", srv.URL + "/nowhere", closed.URL + "/x"} {
		raw := strings.Replace(base, "http://", "http://hush:hush@", 1) + "?passkey=hush&pin=hush"
		_, err := fetchTorrent(t.Context(), nil, raw)
		_, berr := (*library.Network)(nil).ReadBlocklists(t.Context(), []string{raw})
		berr = blocklistFailure(berr)
		for _, err := range []error{err, berr} {
			if codeOf(err) != exitNetwork || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "passkey=***") {
				t.Errorf("%s: %v", base, err)
			}
		}
	}
	if _, err := fetchTorrent(t.Context(), nil, "http://hush@/?passkey=hush"); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("no URL: %v", err)
	}
}

// The proxy of the environment is the user's word, wherever it is; what it is asked
// for in a redirect is a stranger's.
func TestFetchByProxyOfTheEnvironment(t *testing.T) {
	if os.Getenv("FETCH_BY_PROXY") == "" { // net/http reads the environment once
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Host != "torrent.example":
				t.Errorf("the proxy was asked for %s", r.URL)
			case r.URL.Path == "/inside":
				http.Redirect(w, r, "http://10.0.0.1/a.torrent", http.StatusFound)
			default:
				fmt.Fprint(w, tinyTorrent)
			}
		}))
		defer proxy.Close()
		cmd := exec.Command(os.Args[0], "-test.run=^TestFetchByProxyOfTheEnvironment$")
		cmd.Env = append(os.Environ(), "FETCH_BY_PROXY=1", "HTTP_PROXY="+proxy.URL, "NO_PROXY=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	if ref, err := fetchTorrent(t.Context(), nil, "http://torrent.example/a.torrent"); err != nil || ref.Meta.Info.Name != "a" {
		t.Errorf("%+v, %v", ref, err)
	}
	_, err := fetchTorrent(t.Context(), nil, "http://torrent.example/inside")
	if codeOf(err) != exitNetwork || !strings.Contains(err.Error(), "not allowed") {
		t.Errorf("a redirect inside: %v", err)
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
		{" https://example.org/a.torrent\n", "", "https://example.org/a.torrent"},
		{" magnet:///?xt=urn:btih:" + hex40 + "&amp;dn=a\n", strings.ToLower(hex40), ""},
		{"magnet%3A%3Fxt%3Durn%3Abtih%3A" + hex40, strings.ToLower(hex40), ""},
	} {
		ref, err := (&app{}).refer(c.arg)
		switch {
		case err != nil:
			t.Errorf("%s: %v", c.arg, err)
		case ref.URL != c.url, c.hash != "" && (ref.Magnet == nil || ref.Magnet.Hash.String() != c.hash):
			t.Errorf("%s: %+v", c.arg, ref)
		}
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"a b#1.torrent": tinyTorrent, "link.magnet": "magnet:?xt=urn:btih:" + hex40 + "\n", "page.torrent": "<!doctype html>404", "empty.torrent": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, arg := range []string{"file://" + dir + "/a%20b%231.torrent", "FILE://localhost" + dir + "/a%20b%231.torrent", "file:" + dir + "/a%20b%231.torrent"} {
		if ref, err := (&app{}).refer(arg); err != nil || ref.Meta == nil || ref.Meta.Info.Name != "a" {
			t.Errorf("%s: %+v, %v", arg, ref, err)
		}
	}
	if ref, err := (&app{}).refer(filepath.Join(dir, "link.magnet")); err != nil || ref.Magnet == nil {
		t.Errorf("a file with a link: %+v, %v", ref, err)
	}
	for arg, want := range map[string]string{
		"": "the name is empty", " ": "the name is empty",
		filepath.Join(dir, "page.torrent"):  "page.torrent: it is a web page, not a torrent",
		filepath.Join(dir, "empty.torrent"): "empty.torrent: it is empty",
		"file://nas/a.torrent":              "a file of another machine",
		"file:":                             "",
		"file://" + dir + "/none.torrent":   "no such file",
	} {
		if _, err := (&app{}).refer(arg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", arg, err)
		}
	}
	for _, arg := range []string{hex40[1:], hex40 + "a", "zz" + hex40[2:], "magnet:?dn=a"} {
		if ref, err := (&app{}).refer(arg); err == nil {
			t.Errorf("%s was taken as %+v", arg, ref)
		}
	}
}
