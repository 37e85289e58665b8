package webseed

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"torrentfs/metainfo"
	"torrentfs/metainfo/bencode"
	"torrentfs/swarm/netguard"
)

// location builds the URLs of one seed. It is immutable.
type location struct {
	base  *url.URL
	raw   string // the same without what is not sent
	local bool   // written as a loopback or private address
	info  *metainfo.Info
	name  string // as the torrent spells it
}

// parseLocation checks a URL as a torrent spells it. A server inside the
// user's network is allowed if the torrent spells its address out, but not
// with a query, which would be a way to press buttons there.
func parseLocation(raw string, info *metainfo.Info, pieces bool) (location, error) {
	raw = strings.TrimSpace(raw)
	raw, _, _ = strings.Cut(raw, "#")
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return location{}, fmt.Errorf("parse web seed URL: %w", ErrURL)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return location{}, fmt.Errorf("parse web seed URL: scheme %.20q: %w", u.Scheme, ErrURL)
	}
	if err := netguard.CheckName(u.Hostname()); err != nil {
		return location{}, fmt.Errorf("parse web seed URL: %w: %w", ErrURL, err)
	}
	l := location{base: u, raw: raw, local: netguard.IsLocalName(u.Hostname()), info: info, name: rawName(info)}
	if l.local && (pieces || u.RawQuery != "") {
		return location{}, fmt.Errorf("parse web seed URL: query for a private address: %w", netguard.ErrForbidden)
	}
	return l, nil
}

// rawName is the torrent's name before it was made safe for a file system.
func rawName(info *metainfo.Info) string {
	for _, key := range []string{"name.utf-8", "name"} {
		from, to, err := bencode.Span(info.Bytes, key)
		if err != nil {
			continue
		}
		if b, err := bencode.NewCursor(info.Bytes[from:to]).Bytes(); err == nil && len(b) > 0 {
			return string(b)
		}
	}
	return info.Name
}

// file is the URL of a file (BEP 19): below the base and the torrent's name,
// or for a single file the base itself, unless it ends like a directory. ok is
// false for names that would lead elsewhere.
func (l *location) file(i int) (u *url.URL, ok bool) {
	var b strings.Builder
	b.WriteString(l.raw)
	if l.info.Single {
		if !strings.HasSuffix(l.raw, "/") {
			return l.base, true
		}
		if !writeElement(&b, l.name) {
			return nil, false
		}
	} else {
		if !strings.HasSuffix(l.raw, "/") {
			b.WriteByte('/')
		}
		for k, elem := range append([]string{l.name}, l.info.Files[i].Raw...) {
			if k > 0 {
				b.WriteByte('/')
			}
			if !writeElement(&b, elem) {
				return nil, false
			}
		}
	}
	u, err := url.Parse(b.String())
	return u, err == nil
}

// part is the URL of a part of a piece (BEP 17).
func (l *location) part(piece int, begin, length int64) *url.URL {
	var q strings.Builder
	if q.WriteString(l.base.RawQuery); q.Len() > 0 {
		q.WriteByte('&')
	}
	q.WriteString("info_hash=")
	hash := l.info.Hash.Wire()
	writeEscaped(&q, string(hash[:]))
	q.WriteString("&piece=" + strconv.Itoa(piece))
	if begin != 0 || length != l.info.PieceSize(piece) {
		fmt.Fprintf(&q, "&ranges=%d-%d", begin, begin+length-1)
	}
	u := *l.base
	u.RawQuery = q.String()
	return &u
}

func writeElement(b *strings.Builder, elem string) bool {
	if elem == "" || elem == "." || elem == ".." {
		return false
	}
	writeEscaped(b, elem)
	return true
}

// writeEscaped percent-encodes all but RFC 3986's unreserved characters.
func writeEscaped(w *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '.', c == '_', c == '~':
			w.WriteByte(c)
		default:
			w.WriteByte('%')
			w.WriteByte(hex[c>>4])
			w.WriteByte(hex[c&15])
		}
	}
}
