package metainfo

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"torrentfs/metainfo/bencode"
)

// Parse parses a whole .torrent. Bytes behind its dictionary are ignored, as
// other clients do. The result aliases data, which must not change afterwards.
func Parse(data []byte, lim Limits) (*MetaInfo, error) {
	m, err := parse(data, lim.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("parse torrent: %w", err)
	}
	return m, nil
}

// ParseInfo parses an info dictionary alone, as peers send it for a magnet
// link (BEP 9). The caller compares its hash; bytes behind the dictionary are
// an error. The result aliases data, which must not change afterwards.
func ParseInfo(data []byte, lim Limits) (*Info, error) {
	lim = lim.withDefaults()
	info, err := func() (*Info, error) {
		if int64(len(data)) > lim.infoBytes {
			return nil, fmt.Errorf("%d bytes: %w of %d", len(data), ErrLimit, lim.infoBytes)
		}
		if err := bencode.ScanAll(data, lim.bencode()); err != nil {
			return nil, err
		}
		return parseInfo(data, lim)
	}()
	if err != nil {
		return nil, fmt.Errorf("parse info: %w", err)
	}
	return info, nil
}

func parse(data []byte, lim Limits) (*MetaInfo, error) {
	if int64(len(data)) > lim.Bytes {
		return nil, fmt.Errorf("%d bytes: %w of %d", len(data), ErrLimit, lim.Bytes)
	}
	end, err := bencode.Scan(data, lim.bencode())
	if err != nil {
		return nil, err
	}
	fields, raw, err := split(data[:end], []string{"info", "piece layers"}, []string{
		"announce", "announce-list", "url-list", "httpseeds", "nodes",
		"comment", "comment.utf-8", "created by", "creation date",
	})
	if err != nil {
		return nil, err
	}
	if raw["info"] == nil {
		return nil, fmt.Errorf("info: %w", bencode.ErrMissing)
	}
	info, err := parseInfo(raw["info"], lim)
	if err != nil {
		return nil, err
	}
	m := &MetaInfo{
		Info:      info,
		Trackers:  trackers(fields),
		WebSeeds:  stringOrList(fields["url-list"]),
		HTTPSeeds: stringOrList(fields["httpseeds"]),
		Nodes:     nodes(fields),
	}
	twin, hasTwin := bencode.Get[string](fields, "comment.utf-8")
	m.Comment, _ = bencode.Get[string](fields, "comment")
	m.Comment = preferUTF8(m.Comment, twin, hasTwin)
	m.CreatedBy, _ = bencode.Get[string](fields, "created by")
	if t, ok := bencode.Get[int64](fields, "creation date"); ok {
		m.Created = unixTime(t)
	}
	if info.Hash.HasV2 {
		if m.PieceLayers, err = parseLayers(raw["piece layers"], info); err != nil {
			return nil, fmt.Errorf("piece layers: %w", err)
		}
	}
	return m, nil
}

// unixTime is the time at t seconds of the epoch, or none if that is no date that a file system
// shows.
func unixTime(t int64) time.Time {
	const end = 253402300800 // the year 10000
	if t <= 0 || t >= end {
		return time.Time{}
	}
	return time.Unix(t, 0).UTC()
}

// split takes a scanned dictionary apart: it decodes the values of the keys in
// decode, and returns the bytes of those in keep. Other keys are skipped, so
// that they cost no memory.
func split(data []byte, keep, decode []string) (bencode.Dict, map[string][]byte, error) {
	c := bencode.NewCursor(data)
	if err := c.OpenDict(); err != nil {
		return nil, nil, err
	}
	fields, raw := bencode.Dict{}, map[string][]byte{}
	for c.More() {
		key, err := c.Bytes()
		if err != nil {
			return nil, nil, err
		}
		value, err := c.Skip()
		if err != nil {
			return nil, nil, err
		}
		name := string(key[:min(len(key), 32)]) // longer than any that we know
		switch {
		case slices.Contains(keep, name):
			raw[name] = value
		case slices.Contains(decode, name):
			v, _, err := bencode.Decode(value, bencode.Limits{Items: maxFieldItems})
			if errors.Is(err, bencode.ErrItems) {
				return nil, nil, fmt.Errorf("%s: number of values %w of %d", name, ErrLimit, maxFieldItems)
			}
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", name, err)
			}
			fields[name] = v
		}
	}
	return fields, raw, nil
}

// trackers returns the tiers of announce-list, or announce if there are none (BEP 12). Entries that
// are no strings are skipped: a torrent is usable without one of its trackers.
func trackers(fields bencode.Dict) (tiers [][]string) {
	seen := map[string]bool{}
	take := func(tier []string, v any) []string {
		s, ok := v.(string)
		if s = strings.TrimSpace(s); !ok || s == "" || seen[s] {
			return tier
		}
		seen[s] = true
		return append(tier, s)
	}
	list, _ := fields.List("announce-list")
	for _, e := range list {
		var tier []string
		if urls, ok := e.([]any); ok {
			for _, u := range urls {
				tier = take(tier, u)
			}
		} else {
			tier = take(tier, e) // a flat list: seen in the wild
		}
		if len(tier) > 0 {
			tiers = append(tiers, tier)
		}
	}
	if len(tiers) == 0 {
		if tier := take(nil, fields["announce"]); len(tier) > 0 {
			tiers = [][]string{tier}
		}
	}
	return tiers
}

// stringOrList returns the strings of a key that is one string or a list of
// them (BEP 19), without empty ones and duplicates.
func stringOrList(v any) (out []string) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	seen := map[string]bool{}
	for _, e := range list {
		if s, ok := e.(string); ok && s != "" && !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// nodes returns the DHT nodes of BEP 5: a list of [host, port].
func nodes(fields bencode.Dict) (out []string) {
	list, _ := fields.List("nodes")
	for _, e := range list {
		pair, _ := e.([]any)
		if len(pair) != 2 {
			continue
		}
		host, ok1 := pair[0].(string)
		port, ok2 := pair[1].(int64)
		if ok1 && ok2 && host != "" && port > 0 && port <= 65535 {
			out = append(out, net.JoinHostPort(host, strconv.FormatInt(port, 10)))
		}
	}
	return out
}

// parseLayers reads the key "piece layers" (BEP 52) and checks each layer that
// a file needs against the file's root. Those that are missing are for peers to
// prove; one of a root that no file has is an error.
func parseLayers(raw []byte, info *Info) (map[SHA256][]SHA256, error) {
	given, err := givenLayers(raw)
	if err != nil {
		return nil, err
	}
	layers := map[SHA256][]SHA256{}
	owned := map[SHA256]bool{} // roots in given that a file has
	for i := range info.Files {
		f := &info.Files[i]
		value, ok := given[f.PiecesRoot]
		if !ok || f.Pad || f.Length == 0 {
			continue
		}
		owned[f.PiecesRoot] = true
		if f.Length <= info.pieceLength {
			continue // its root is all that is needed
		}
		pieces := ceilDiv(f.Length, info.pieceLength)
		if int64(len(value)) != pieces*int64(len(SHA256{})) {
			return nil, fmt.Errorf("%q: %w: %d bytes for %d pieces", f.Path, ErrLayers, len(value), pieces)
		}
		if _, done := layers[f.PiecesRoot]; done {
			continue // a second file of the same content, or a wrong length caught above
		}
		layer := make([]SHA256, pieces)
		for k := range layer {
			layer[k] = SHA256(value[k*32:])
		}
		root := LayerRoot(layer, LevelOf(info.pieceLength))
		if !bytes.Equal(root[:], f.PiecesRoot[:]) {
			return nil, fmt.Errorf("%q: %w: hashes do not combine to the pieces root", f.Path, ErrLayers)
		}
		layers[f.PiecesRoot] = layer
	}
	for root := range given {
		if !owned[root] {
			return nil, fmt.Errorf("root %v: %w: no file has it", root, ErrLayers)
		}
	}
	return layers, nil
}

// givenLayers are the values of "piece layers" by root; none if there is no
// such key.
func givenLayers(raw []byte) (map[SHA256][]byte, error) {
	given := map[SHA256][]byte{}
	if raw == nil {
		return given, nil
	}
	c := bencode.NewCursor(raw)
	if err := c.OpenDict(); err != nil {
		return nil, err
	}
	for c.More() {
		key, err := c.Bytes()
		if err != nil {
			return nil, err
		}
		value, err := c.Bytes()
		if err != nil {
			return nil, err
		}
		if len(key) != len(SHA256{}) {
			return nil, fmt.Errorf("key of %d bytes: %w", len(key), ErrLayers)
		}
		given[SHA256(key)] = value
	}
	return given, nil
}
