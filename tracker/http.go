package tracker

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// scratch is what one HTTP answer needs; the server keeps it for the next one.
type scratch struct {
	reply reply
	out   []byte
}

// ServeHTTP answers /announce, /scrape and, for people, /.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	sc := s.scratch.Get().(*scratch)
	defer s.scratch.Put(sc)
	var err error
	switch r.URL.Path {
	case "/announce":
		sc.out, err = s.announceHTTP(sc.out[:0], &sc.reply, r.URL.RawQuery, r.RemoteAddr)
	case "/scrape":
		sc.out, err = s.scrapeHTTP(sc.out[:0], r.URL.RawQuery)
	case "/":
		s.servePage(w)
		return
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		// Clients look for the reason in the body, and some only if the status is 200.
		s.totals.refused.Add(1)
		sc.out = appendFailure(sc.out[:0], err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(sc.out)))
	w.Write(sc.out)
}

func appendFailure(b []byte, err error) []byte {
	reason, ok := errors.AsType[refusal](err)
	if !ok {
		reason = "internal error"
	}
	b = appendString(append(b, 'd'), "failure reason")
	return append(appendString(b, string(reason)), 'e')
}

// announceHTTP appends the answer to an announce.
func (s *Server) announceHTTP(b []byte, r *reply, query, remote string) ([]byte, error) {
	from, err := netip.ParseAddrPort(remote)
	if err != nil {
		return b, errNoSource
	}
	a, err := parseAnnounce(query, from.Addr())
	if err != nil {
		return b, err
	}
	if err := s.announce(&a.announcement, r, true); err != nil {
		return b, err
	}
	s.totals.announcesHTTP.Add(1)
	return s.appendAnnounce(b, &a, r), nil
}

// appendAnnounce appends the answer's dictionary, its keys sorted.
func (s *Server) appendAnnounce(b []byte, a *httpAnnounce, r *reply) []byte {
	b = append(b, 'd')
	b = appendInt(appendString(b, "complete"), r.seeders)
	b = appendString(b, "external ip") // BEP 24
	ip := a.addr.Addr().AsSlice()
	b = append(appendLength(b, len(ip)), ip...)
	b = appendInt(appendString(b, "incomplete"), r.leechers)
	b = appendInt(appendString(b, "interval"), int(s.cfg.Interval/time.Second))
	b = appendInt(appendString(b, "min interval"), int(s.cfg.MinInterval/time.Second))
	b = appendString(b, "peers")
	if a.compact {
		b = appendLength(b, 6*len(r.peers[ipv4]))
		b = appendContacts(b, r.peers[ipv4])
		if len(r.peers[ipv6]) > 0 { // BEP 7
			b = appendString(b, "peers6")
			b = appendLength(b, 18*len(r.peers[ipv6]))
			b = appendContacts(b, r.peers[ipv6])
		}
		return append(b, 'e')
	}
	b = append(b, 'l')
	for _, group := range r.peers {
		for _, c := range group {
			b = appendString(append(b, 'd'), "ip")
			b = appendString(b, c.addr.Addr().String())
			if !a.noID {
				b = appendString(b, "peer id")
				b = append(appendLength(b, len(c.id)), c.id[:]...)
			}
			b = appendInt(appendString(b, "port"), int(c.addr.Port()))
			b = append(b, 'e')
		}
	}
	return append(b, 'e', 'e')
}

// appendContacts appends peers in the compact form (BEP 23, BEP 7, BEP 15).
func appendContacts(b []byte, peers []contact) []byte {
	for _, c := range peers {
		if a := c.addr.Addr(); a.Is4() {
			ip := a.As4()
			b = append(b, ip[:]...)
		} else {
			ip := a.As16()
			b = append(b, ip[:]...)
		}
		b = append(b, byte(c.addr.Port()>>8), byte(c.addr.Port()))
	}
	return b
}

// scrapeHTTP appends the answer to a scrape (BEP 48). Torrents that the tracker
// does not know are left out.
func (s *Server) scrapeHTTP(b []byte, query string) ([]byte, error) {
	hashes, err := parseScrape(query)
	if err != nil {
		return b, err
	}
	s.totals.scrapes.Add(1)
	slices.SortFunc(hashes, func(x, y [20]byte) int { return bytes.Compare(x[:], y[:]) })
	b = append(appendString(append(b, 'd'), "files"), 'd')
	for _, h := range slices.Compact(hashes) {
		c, ok := s.scrape(h)
		if !ok {
			continue
		}
		b = append(appendLength(b, len(h)), h[:]...)
		b = appendInt(appendString(append(b, 'd'), "complete"), c.seeders)
		b = appendInt(appendString(b, "downloaded"), c.completed)
		b = appendInt(appendString(b, "incomplete"), c.leechers)
		b = append(b, 'e')
	}
	return append(b, 'e', 'e'), nil
}

// The encoders append; answers are made without building a tree first.

func appendLength(b []byte, n int) []byte { return append(strconv.AppendInt(b, int64(n), 10), ':') }

func appendString(b []byte, s string) []byte { return append(appendLength(b, len(s)), s...) }

func appendInt(b []byte, n int) []byte {
	return append(strconv.AppendInt(append(b, 'i'), int64(n), 10), 'e')
}

// servePage shows people that it works. It names no torrent: with an info-hash its peers can be
// found.
func (s *Server) servePage(w http.ResponseWriter) {
	st := s.Stats()
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	row := func(name string, v any) { fmt.Fprintf(w, "<tr><th>%s</th><td>%v</td></tr>\n", name, v) }
	fmt.Fprint(w, pageHead)
	row("Torrents", st.Torrents)
	row("Seeders", st.Seeders)
	row("Leechers", st.Leechers)
	row("Downloads completed", st.Completed)
	row("Announces over HTTP", st.AnnouncesHTTP)
	row("Announces over UDP", st.AnnouncesUDP)
	row("Scrapes", st.Scrapes)
	row("Requests refused", st.Refused)
	row("Up for", st.Uptime.Round(time.Second))
	fmt.Fprint(w, "</table>\n")
}

const pageHead = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>BitTorrent tracker</title>
<meta name="viewport" content="width=device-width">
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:3em auto;padding:0 1em}
th{text-align:left;font-weight:normal;padding-right:2em}td{text-align:right}</style>
<h1>BitTorrent tracker</h1>
<p>Announce to <code>/announce</code>, or over UDP.</p>
<table>
`
