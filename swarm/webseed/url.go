package webseed

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"torrentfs/metainfo"
	"torrentfs/metainfo/bencode"
	"torrentfs/net/guard"
)

// location builds the URLs of one seed. It is immutable.
type location struct {
	base  *url.URL
	alt   *url.URL // what the torrent may have meant instead; nil: nothing
	raw   string   // base without what is not sent
	local bool     // written as a loopback or private address that the user did not name
	info  *metainfo.Info
	name  string // as the torrent spells it
}

// parseLocation checks a URL as a torrent spells it. A server inside the user's network is allowed
// if the torrent spells its address out, but it is only asked for what can be nothing but a file
// ([guard.IsFile]), so that a torrent cannot send commands to it.
func parseLocation(raw string, info *metainfo.Info, pieces bool, trusts func(host string) bool) (location, error) {
	raw, alt := cleanURL(strings.TrimSpace(raw), info)
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return location{}, fmt.Errorf("parse web seed URL: %w", ErrURL)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return location{}, fmt.Errorf("parse web seed URL: scheme %.20q: %w", u.Scheme, ErrURL)
	}
	if err := guard.CheckName(u.Hostname()); err != nil {
		return location{}, fmt.Errorf("parse web seed URL: %w: %w", ErrURL, err)
	}
	l := location{base: u, raw: raw, info: info, name: rawName(info)}
	if alt != "" {
		if l.alt, err = url.Parse(alt); err != nil {
			l.alt = nil
		}
	}
	l.local = guard.IsLocalName(u.Hostname()) && !trusts(u.Hostname())
	if l.local && (pieces || u.RawQuery != "" || u.ForceQuery) {
		return location{}, fmt.Errorf("parse web seed URL: query for a private address: %w (--trust-host %s allows it)", guard.ErrForbidden, u.Hostname())
	}
	return l, nil
}

// errCommand: the URL of a file could be a command to a server of this network.
var errCommand = fmt.Errorf("could be more than a file to a server of this machine or network (--trust-host allows it): %w", ErrMissing)

// cleanURL percent-encodes what people write into URLs as it is: spaces, brackets, bytes beyond
// ASCII, and a % that encodes nothing. The URL of a single file often ends with the file's name,
// not encoded at all: the end is encoded then, and alt is the other thing that it can mean, if
// there is one.
func cleanURL(raw string, info *metainfo.Info) (clean, alt string) {
	scheme, rest, found := strings.Cut(raw, "://")
	end := strings.IndexAny(rest, "/?#")
	if !found || end < 0 {
		return raw, ""
	}
	host, path := scheme+"://"+rest[:end], rest[end:]
	if name := rawName(info); info.Single && strings.HasSuffix(path, "/"+name) && name != "" {
		dir := host + cleaned(strings.TrimSuffix(path, name))
		var b strings.Builder
		writeEscaped(&b, name)
		if strings.ContainsAny(name, "%?#") {
			before, _, _ := strings.Cut(name, "#")
			alt = dir + cleaned(before)
		}
		return dir + b.String(), alt
	}
	if before, fragment, found := strings.Cut(path, "#"); found && !strings.HasSuffix(fragment, "/") { // no fragment is a folder
		path = before
	}
	return host + cleaned(path), ""
}

// cleaned is a path with its query, and with what cannot be in one percent-encoded.
// What is encoded stays.
func cleaned(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		encodes := c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2])
		if c == '%' && !encodes || c <= ' ' || c >= 0x7f || strings.IndexByte("#\"<>[]\\^`{|}", c) >= 0 {
			writeEscaped(&b, s[i:i+1])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
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
func (l *location) part(piece metainfo.Piece, begin, length int64) *url.URL {
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
