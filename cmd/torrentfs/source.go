package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/url"
	"os"
	"regexp"
	"strings"

	"torrentfs/library"
	"torrentfs/metainfo"
	"torrentfs/metainfo/bencode"
	"torrentfs/net/egress"
	"torrentfs/net/guard"
)

var (
	errEmptySource = errors.New("it is empty")
	errWebPage     = errors.New("it is a web page, not a torrent")
)

// readSource reads what is said to be a torrent: a .torrent, or a text or a web page
// that has a magnet link.
func readSource(r io.Reader) (torrentRef, error) {
	data, err := io.ReadAll(io.LimitReader(r, metainfo.DefaultBytes+1))
	if err != nil {
		return torrentRef{}, fmt.Errorf("read torrent: %w", err)
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))
	switch {
	case len(text) == 0:
		return torrentRef{}, errEmptySource
	case text[0] == '<':
		return linkOfPage(string(text))
	case metainfo.IsMagnet(string(text[:min(len(text), 1<<20)])):
		m, err := metainfo.ParseMagnet(string(text))
		return torrentRef{magnet: m}, err
	}
	mi, err := metainfo.Parse(data, metainfo.Limits{})
	return torrentRef{meta: mi}, err
}

var linkInPage = regexp.MustCompile(`(?i)magnet:[^\s"'<>]+`)

// linkOfPage is the magnet link of a web page, if it has just one.
func linkOfPage(page string) (torrentRef, error) {
	var found *metainfo.Magnet
	for _, link := range linkInPage.FindAllString(page, -1) {
		m, err := metainfo.ParseMagnet(html.UnescapeString(link))
		switch {
		case err != nil || found != nil && m.Hash == found.Hash:
		case found != nil:
			return torrentRef{}, fmt.Errorf("%w, and has more than one magnet link", errWebPage)
		default:
			found = m
		}
	}
	if found == nil {
		return torrentRef{}, errWebPage
	}
	return torrentRef{magnet: found}, nil
}

// sourceFailure is the failure of readSource: what is what the user named, as it may
// be shown.
func sourceFailure(what string, err error) error {
	hint := fileHint(err, "the .torrent file")
	switch {
	case hint != "":
		err = bareError(err)
	case errors.Is(err, errEmptySource):
		hint = "get it again"
	case errors.Is(err, errWebPage):
		hint = "open it in a browser, and give the link of the torrent or the magnet link that it shows"
	case errors.Is(err, bencode.ErrSyntax), errors.Is(err, bencode.ErrTruncated):
		hint = "it is no .torrent file, or not all of one: get it again"
	}
	return fail(exitTorrent, hint, "read torrent %s: %w", what, err)
}

// fetchTorrent gets a .torrent by its URL, or the magnet link that the URL leads to.
func (a *app) fetchTorrent(ctx context.Context, network *egress.Network, trust *guard.Trust, raw string) (torrentRef, error) {
	u, err := parseURL(raw)
	if err != nil {
		return torrentRef{}, err
	}
	var ref torrentRef
	foreign := true
	err = fetcher{network: network, trust: trust, timeout: fetchTimeout}.get(ctx, u, func(got answer) error {
		foreign = got.foreign
		if ref, err = readSource(got.body); err != nil {
			return sourceFailure(guard.Redact(raw), err)
		}
		return nil
	})
	if link := (magnetRedirect{}); errors.As(err, &link) {
		m, perr := metainfo.ParseMagnet(link.link)
		ref, err = torrentRef{magnet: m}, nil
		if perr != nil {
			return torrentRef{}, fail(exitTorrent, "", "fetch torrent %s: %w", guard.Redact(raw), perr)
		}
	}
	if err != nil {
		return torrentRef{}, err
	}
	if ref.magnet != nil {
		a.log.Info("the URL leads to a magnet link", "url", guard.Redact(raw), "info_hash", ref.magnet.Hash.String())
	}
	if foreign {
		a.leaveOutLocal(ref, trust)
	}
	return ref, nil
}

// leaveOutLocal takes from a torrent that came from the Internet the trackers and web
// seeds of this machine and network: whoever put it there cannot mean ours.
func (a *app) leaveOutLocal(ref torrentRef, trust *guard.Trust) {
	var left []string
	if ref.magnet != nil {
		left = library.LeaveOutLocalLink(ref.magnet, trust)
	} else {
		left = library.LeaveOutLocal(ref.meta, trust)
	}
	for _, u := range left[:min(len(left), 3)] {
		a.log.Warn("leave out what a torrent from the Internet names of this machine or network", "url", guard.RedactHost(u), "allow_with", "--trust-host")
	}
}

// parseURL reads the URL of an argument. No error quotes what may be secret.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Hostname() == "" {
		return nil, fail(exitTorrent, "check it", "open torrent: %s is no URL", shownURL(raw))
	}
	return u, nil
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
		return "", fail(exitTorrent, "write file:///path/to/it", "open torrent: %q is no file URL", name)
	case u.Host != "" && !strings.EqualFold(u.Host, "localhost"):
		return "", fail(exitTorrent, "write file:///path/to/it", "open torrent: %q is a file of another machine", name)
	}
	return u.Path, nil
}
