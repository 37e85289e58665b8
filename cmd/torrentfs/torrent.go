package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"torrentfs/library"
	"torrentfs/metainfo"
)

// torrentRef is a torrent as the command line names it: its metadata, or where
// that is to be had.
type torrentRef struct {
	meta   *metainfo.MetaInfo // nil unless it was a file
	magnet *metainfo.Magnet   // of a magnet link or an info-hash
	url    string             // of a .torrent
}

// refer finds out what a torrent argument is and reads it if it is a file; "-"
// is standard input. It asks nobody.
func (a *app) refer(name string) (torrentRef, error) {
	if strings.TrimSpace(name) == "" {
		return torrentRef{}, fail(exitUsage, "name a .torrent file, a URL, a magnet link or an info-hash", "open torrent: the name is empty")
	}
	if trimmed := strings.TrimSpace(name); isURL(trimmed) {
		return torrentRef{url: trimmed}, nil
	}
	link := name
	if !metainfo.IsMagnet(name) && !hasScheme(name, "magnet") {
		link = hashLink(name)
	}
	if link != "" {
		m, err := metainfo.ParseMagnet(link)
		if err != nil {
			return torrentRef{}, fail(exitTorrent, "", "open torrent: %w", err)
		}
		return torrentRef{magnet: m}, nil
	}
	path, err := filePath(name)
	if err != nil {
		return torrentRef{}, err
	}
	if path == "" {
		path = name
	}
	return a.readTorrent(path)
}

// name is what a file about the torrent may be called before there is metadata.
func (r torrentRef) name() string {
	switch {
	case r.meta != nil:
		return r.meta.Info.Hash.String()
	case r.magnet != nil:
		return r.magnet.Hash.String()
	}
	sum := sha256.Sum256([]byte(r.url)) // a URL may hold a secret
	return "url-" + hex.EncodeToString(sum[:10])
}

// errUnknownMetadata is about a link whose metadata nobody has sought yet.
var errUnknownMetadata = errors.New("a magnet link has no file list, and its metadata is not here")

// knownMetadata is what a source leads to without asking peers: of a link the
// metadata that an earlier command kept.
func knownMetadata(ref torrentRef) (*metainfo.MetaInfo, error) {
	if ref.magnet == nil {
		return ref.meta, nil
	}
	mi, err := keptMetadata(ref.magnet)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fail(exitTorrent, "mount or download it once, or get its .torrent file", "open torrent: %w", errUnknownMetadata)
	case err != nil:
		return nil, fail(exitTorrent, "mount or download it again", "open torrent: %w", err)
	}
	return mi, nil
}

// keptMetadata is what an earlier command has found of a link.
func keptMetadata(m *metainfo.Magnet) (*metainfo.MetaInfo, error) {
	dir := cacheFile("metadata")
	if dir == "" {
		return nil, fs.ErrNotExist
	}
	return library.KeptMetadata(dir, m)
}

// loadSource reads a .torrent file or link, or fetches it from its URL, for a
// command that talks to no peers.
func (a *app) loadSource(ctx context.Context, f networkFlags, name string) (torrentRef, error) {
	ref, err := a.refer(name)
	if err != nil || ref.url == "" {
		return ref, err
	}
	network, err := a.openNetwork(ctx, f)
	if err != nil {
		return torrentRef{}, err
	}
	defer network.Close() //nolint:errcheck // only stops looking
	return a.fetchTorrent(ctx, network, f.trust(), ref.url)
}

func (a *app) readTorrent(name string) (torrentRef, error) {
	var r io.Reader = a.stdin
	what := "from standard input"
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return torrentRef{}, missingFailure(err)
		}
		defer f.Close() //nolint:errcheck // nothing was written
		r, what = f, name
	}
	ref, err := readSource(r)
	if err != nil {
		return torrentRef{}, sourceFailure(what, err)
	}
	return ref, nil
}

func missingFailure(err error) error {
	return fail(exitTorrent, fileHint(err, "the .torrent file"), "open torrent: %w", err)
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
