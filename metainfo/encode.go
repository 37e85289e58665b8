package metainfo

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"torrentfs/metainfo/bencode"
)

// Encode returns the torrent as a .torrent file. The info dictionary goes into
// it byte for byte, so that the info-hash stays what it is.
func (m *MetaInfo) Encode() ([]byte, error) {
	fields := m.fields()
	keys := slices.Sorted(maps.Keys(fields))
	at, _ := slices.BinarySearch(keys, "info")
	b := []byte{'d'}
	for _, key := range slices.Insert(keys, at, "info") {
		if key == "info" {
			b = append(append(b, "4:info"...), m.Info.Bytes...)
			continue
		}
		field, err := bencode.Encode(map[string]any{key: fields[key]})
		if err != nil {
			return nil, fmt.Errorf("encode torrent: %s: %w", key, err)
		}
		b = append(b, field[1:len(field)-1]...) // without its d and e
	}
	return append(b, 'e'), nil
}

// fields are the keys beside the info dictionary.
func (m *MetaInfo) fields() map[string]any {
	d := map[string]any{}
	putString(d, "comment", m.Comment)
	putString(d, "created by", m.CreatedBy)
	if !m.Created.IsZero() {
		d["creation date"] = m.Created.Unix()
	}
	putTrackers(d, m.Trackers)
	if len(m.WebSeeds) > 0 {
		d["url-list"] = m.WebSeeds
	}
	if len(m.HTTPSeeds) > 0 {
		d["httpseeds"] = m.HTTPSeeds
	}
	putNodes(d, m.Nodes)
	if len(m.PieceLayers) > 0 {
		layers := make(map[string]any, len(m.PieceLayers))
		for root, layer := range m.PieceLayers {
			flat := make([]byte, 0, len(layer)*len(SHA256{}))
			for _, h := range layer {
				flat = append(flat, h[:]...)
			}
			layers[string(root[:])] = flat
		}
		d["piece layers"] = layers
	}
	return d
}

// putNodes writes the DHT nodes of BEP 5, given as "host:port".
func putNodes(d map[string]any, nodes []string) {
	var pairs []any
	for _, n := range nodes {
		if host, port, err := net.SplitHostPort(n); err == nil {
			if p, err := strconv.Atoi(port); err == nil {
				pairs = append(pairs, []any{host, p})
			}
		}
	}
	if len(pairs) > 0 {
		d["nodes"] = pairs
	}
}
