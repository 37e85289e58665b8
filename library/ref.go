package library

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net/url"
	"os"
	"regexp"
	"strings"

	"torrentfs/metainfo"
	"torrentfs/net/guard"
)

// Ref is a torrent as users name it: its metadata, or where that is to be had. One field is set.
type Ref struct {
	Meta   *metainfo.MetaInfo // of a .torrent
	Magnet *metainfo.Magnet   // of a magnet link or an info-hash: see [Library.Resolve]
	URL    string             // of a .torrent or a page: see [Network.Fetch]
}

// What is wrong with a name or with what it leads to.
var (
	ErrNoName       = errors.New("the name is empty")
	ErrURL          = errors.New("is no URL")
	ErrFileURL      = errors.New("is no file URL")
	ErrOtherMachine = errors.New("is a file of another machine")
	ErrEmpty        = errors.New("it is empty")
	ErrWebPage      = errors.New("it is a web page, not a torrent")
)

// RefError is why what a name leads to is no torrent. It wraps [ErrEmpty], [ErrWebPage], an error
// of package metainfo, or one of the system.
type RefError struct {
	Name string // without the secrets of a URL
	Err  error
}

func (e *RefError) Error() string { return "read torrent " + e.Name + ": " + e.Err.Error() }
func (e *RefError) Unwrap() error { return e.Err }

// ParseRef finds out what a user means: the path or file: URL of a .torrent, which it reads, a URL,
// a magnet link, or an info-hash in hex (v1, v2) or base32 (v1). A file of that name comes first.
// It asks nobody.
func ParseRef(name string) (Ref, error) {
	if strings.TrimSpace(name) == "" {
		return Ref{}, fmt.Errorf("open torrent: %w", ErrNoName)
	}
	if trimmed := strings.TrimSpace(name); isURL(trimmed) {
		return Ref{URL: trimmed}, nil
	}
	link := name
	if !metainfo.IsMagnet(name) && !hasScheme(name, "magnet") {
		link = hashLink(name)
	}
	if link != "" {
		m, err := metainfo.ParseMagnet(link)
		if err != nil {
			return Ref{}, fmt.Errorf("open torrent: %w", err)
		}
		return Ref{Magnet: m}, nil
	}
	path, err := filePath(name)
	if err != nil {
		return Ref{}, fmt.Errorf("open torrent: %q %w", name, err)
	}
	if path == "" {
		path = name
	}
	f, err := os.Open(path)
	if err != nil {
		return Ref{}, fmt.Errorf("open torrent: %w", err)
	}
	defer f.Close()
	return ReadRef(f, path)
}

// ReadRef reads what is said to be a torrent: a .torrent, or a text or a web page that has one
// magnet link. Its errors are [*RefError]s about name.
func ReadRef(r io.Reader, name string) (Ref, error) {
	ref, err := readRef(r)
	if err != nil {
		return Ref{}, &RefError{name, bareError(err)}
	}
	return ref, nil
}

func readRef(r io.Reader) (Ref, error) {
	data, err := io.ReadAll(io.LimitReader(r, metainfo.DefaultBytes+1))
	if err != nil {
		return Ref{}, fmt.Errorf("read torrent: %w", err)
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))
	switch {
	case len(text) == 0:
		return Ref{}, ErrEmpty
	case text[0] == '<':
		return linkOfPage(string(text))
	case metainfo.IsMagnet(string(text[:min(len(text), 1<<20)])):
		m, err := metainfo.ParseMagnet(string(text))
		return Ref{Magnet: m}, err
	}
	mi, err := metainfo.Parse(data, metainfo.Limits{})
	return Ref{Meta: mi}, err
}

var linkInPage = regexp.MustCompile(`(?i)magnet:[^\s"'<>]+`)

// linkOfPage is the magnet link of a web page, if it has just one.
func linkOfPage(page string) (Ref, error) {
	var found *metainfo.Magnet
	for _, link := range linkInPage.FindAllString(page, -1) {
		m, err := metainfo.ParseMagnet(html.UnescapeString(link))
		switch {
		case err != nil || found != nil && m.Hash == found.Hash:
		case found != nil:
			return Ref{}, fmt.Errorf("%w, and has more than one magnet link", ErrWebPage)
		default:
			found = m
		}
	}
	if found == nil {
		return Ref{}, ErrWebPage
	}
	return Ref{Magnet: found}, nil
}

// Fetch gets a .torrent by its URL, or the magnet link that the URL leads to. What comes from the
// Internet loses the trackers and web seeds that are written as addresses of this machine or
// network, unless the user trusts them. Errors are [*FetchError]s about the way there and
// [*RefError]s about what was got; if ctx ends, its cause.
func (n *Network) Fetch(ctx context.Context, raw string) (Ref, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Hostname() == "" {
		return Ref{}, fmt.Errorf("open torrent: %s %w", shownURL(raw), ErrURL)
	}
	var ref Ref
	foreign := true
	err = n.fetch(ctx, u, fetchTimeout, func(got answer) error {
		foreign = got.foreign
		if ref, err = ReadRef(got.body, guard.Redact(raw)); err != nil {
			return &readError{err}
		}
		return nil
	})
	if link := (magnetRedirect{}); errors.As(err, &link) {
		m, perr := metainfo.ParseMagnet(link.link)
		if perr != nil {
			return Ref{}, &RefError{guard.Redact(raw), perr}
		}
		ref, err = Ref{Magnet: m}, nil
	}
	if err != nil {
		return Ref{}, err
	}
	if ref.Magnet != nil {
		n.logger().Info("the URL leads to a magnet link", "url", guard.Redact(raw), "info_hash", ref.Magnet.Hash.String())
	}
	if foreign {
		n.leaveOutLocal(ref)
	}
	return ref, nil
}

// leaveOutLocal takes from a torrent that came from the Internet the trackers and web
// seeds of this machine and network: who put it there cannot mean ours.
func (n *Network) leaveOutLocal(ref Ref) {
	var left []string
	if ref.Magnet != nil {
		left = leaveOutLocalLink(ref.Magnet, n.trust())
	} else {
		left = leaveOutLocal(ref.Meta, n.trust())
	}
	for _, u := range left[:min(len(left), 3)] {
		n.logger().Warn("leave out what a torrent from the Internet names of this machine or network", "url", guard.RedactHost(u), "allow_with", "--trust-host")
	}
}

// shownURL is an argument that is no URL, as far as it holds no secret.
func shownURL(raw string) string {
	before, _, _ := strings.Cut(raw, "?")
	if i := strings.LastIndexByte(before, '@'); i >= 0 {
		before = before[i+1:]
	}
	return fmt.Sprintf("%.60q", before)
}

// filePath is the path of a file: URL (RFC 8089), "" for what is none.
func filePath(name string) (string, error) {
	if !hasScheme(name, "file") {
		return "", nil
	}
	if _, err := os.Lstat(name); err == nil {
		return "", nil // a file of that very name
	}
	u, err := url.Parse(name)
	switch {
	case err != nil || u.Opaque != "" || u.Path == "":
		return "", ErrFileURL
	case u.Host != "" && !strings.EqualFold(u.Host, "localhost"):
		return "", ErrOtherMachine
	}
	return u.Path, nil
}

// hashLink is the magnet link of a bare info-hash: 40 digits of hex or 32 of
// base32 (v1), 64 of hex (v2). A file of that name comes first.
func hashLink(s string) string {
	if _, err := os.Stat(s); err == nil {
		return ""
	}
	switch {
	case len(s) == 40 && only(s, "0123456789abcdefABCDEF"), len(s) == 32 && only(s, "234567abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"):
		return "magnet:?xt=urn:btih:" + s
	case len(s) == 64 && only(s, "0123456789abcdefABCDEF"):
		return "magnet:?xt=urn:btmh:1220" + s
	}
	return ""
}

func only(s, alphabet string) bool { return strings.Trim(s, alphabet) == "" }

func hasScheme(s, scheme string) bool {
	return len(s) > len(scheme) && s[len(scheme)] == ':' && strings.EqualFold(s[:len(scheme)], scheme)
}

func isURL(s string) bool { return hasScheme(s, "http") || hasScheme(s, "https") }

// bareError leaves the path out of an error of the system: it is named beside it.
func bareError(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
