package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"

	"torrentfs/library"
	"torrentfs/metainfo"
	"torrentfs/metainfo/bencode"
)

// refer finds out what a torrent argument is and reads it if it is a file; "-"
// is standard input. It asks nobody.
func (a *app) refer(name string) (ref library.Ref, err error) {
	if name == "-" {
		ref, err = library.ReadRef(a.stdin, "from standard input")
	} else {
		ref, err = library.ParseRef(name)
	}
	return ref, refFailure(err)
}

// fetchTorrent gets a .torrent by its URL, or the magnet link that the URL leads to.
func fetchTorrent(ctx context.Context, network *library.Network, url string) (library.Ref, error) {
	ref, err := network.Fetch(ctx, url)
	return ref, refFailure(err)
}

// refFailure tells what to do about a name that leads to no torrent.
func refFailure(err error) error {
	var fetch *library.FetchError
	var ref *library.RefError
	switch {
	case err == nil, errors.Is(err, errInterrupted):
		return err
	case errors.Is(err, library.ErrNoName):
		return fail(exitUsage, "name a .torrent file, a URL, a magnet link or an info-hash", "%w", err)
	case errors.As(err, &fetch):
		return fetchFailure(fetch)
	}
	hint := fileHint(err, "the .torrent file")
	switch {
	case errors.Is(err, library.ErrURL):
		hint = "check it"
	case errors.Is(err, library.ErrFileURL), errors.Is(err, library.ErrOtherMachine):
		hint = "write file:///path/to/it"
	case errors.Is(err, library.ErrEmpty):
		hint = "get it again"
	case errors.Is(err, library.ErrWebPage):
		hint = "open it in a browser, and give the link of the torrent or the magnet link that it shows"
	case errors.As(err, &ref) && (errors.Is(err, bencode.ErrSyntax) || errors.Is(err, bencode.ErrTruncated)):
		hint = "it is no .torrent file, or not all of one: get it again"
	}
	return fail(exitTorrent, hint, "%w", err)
}

// fetchFailure tells what to do about a URL that could not be fetched.
func fetchFailure(err *library.FetchError) error {
	hint := serverHint(err)
	if errors.Is(err, library.ErrForbidden) {
		hint = "give the address that it leads to yourself"
	}
	return fail(exitNetwork, hint, "%w", err)
}

// blocklistFailure tells what to do about a list of --blocklist.
func blocklistFailure(err error) error {
	var fetch *library.FetchError
	switch {
	case err == nil, errors.Is(err, errInterrupted):
		return err
	case errors.As(err, &fetch):
		return fetchFailure(fetch)
	case errors.Is(err, library.ErrURL):
		return fail(exitUsage, "check --blocklist", "%w", err)
	}
	return fail(exitGeneral, cmp.Or(fileHint(err, "a file with --blocklist"), "check --blocklist"), "%w", err)
}

// fileName is what a file about a torrent may be called before there is metadata.
func fileName(r library.Ref) string {
	switch {
	case r.Meta != nil:
		return r.Meta.Info.Hash.String()
	case r.Magnet != nil:
		return r.Magnet.Hash.String()
	}
	sum := sha256.Sum256([]byte(r.URL)) // a URL may hold a secret
	return "url-" + hex.EncodeToString(sum[:10])
}

// errUnknownMetadata is about a link whose metadata nobody has sought yet.
var errUnknownMetadata = errors.New("a magnet link has no file list, and its metadata is not here")

// knownMetadata is what a source leads to without asking peers: of a link the
// metadata that an earlier command kept.
func knownMetadata(ref library.Ref) (*metainfo.MetaInfo, error) {
	if ref.Magnet == nil {
		return ref.Meta, nil
	}
	mi, err := keptMetadata(ref.Magnet)
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
func (a *app) loadSource(ctx context.Context, f networkFlags, name string) (library.Ref, error) {
	ref, err := a.refer(name)
	if err != nil || ref.URL == "" {
		return ref, err
	}
	network, err := a.openNetwork(ctx, f)
	if err != nil {
		return library.Ref{}, err
	}
	defer network.Close() //nolint:errcheck // only stops looking
	return fetchTorrent(ctx, network, ref.URL)
}
