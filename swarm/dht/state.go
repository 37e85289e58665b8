package dht

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"torrentfs/metainfo/bencode"
)

const (
	maxSaved     = 300     // nodes of one family
	maxStateFile = 1 << 20 // bytes read
	stateVersion = 1
)

// saved is the state that one family keeps between runs.
type saved struct {
	id    nodeID
	nodes []nodeInfo
}

// encodeState writes a dictionary and its SHA-256.
func encodeState(v4, v6 saved) ([]byte, error) {
	b, err := bencode.Encode(map[string]any{
		"version": stateVersion,
		"id":      string(v4.id[:]),
		"nodes":   compactNodes(v4.nodes),
		"id6":     string(v6.id[:]),
		"nodes6":  compactNodes(v6.nodes),
	})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

func decodeState(b []byte) (v4, v6 saved, err error) {
	d, n, err := bencode.DecodeDict(b, messageLimits)
	if err != nil {
		return v4, v6, err
	}
	if sum := sha256.Sum256(b[:n]); string(b[n:]) != string(sum[:]) {
		return v4, v6, errors.New("checksum does not match")
	}
	if _, err := d.IntIn("version", stateVersion, stateVersion); err != nil {
		return v4, v6, err
	}
	for _, f := range []struct {
		to        *saved
		id, nodes string
		ipLen     int
	}{{&v4, "id", "nodes", 4}, {&v6, "id6", "nodes6", 16}} {
		if f.to.id, err = idOf(d, f.id); err != nil {
			return saved{}, saved{}, err
		}
		if f.to.nodes, err = nodesOf(d, f.nodes, f.ipLen, maxSaved); err != nil {
			return saved{}, saved{}, err
		}
	}
	return v4, v6, nil
}

// readState reads a state file; one that is not there is empty.
func readState(path string) (v4, v6 saved, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return v4, v6, nil
	}
	if err != nil {
		return v4, v6, fmt.Errorf("read DHT state: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxStateFile))
	if err == nil {
		v4, v6, err = decodeState(b)
	}
	if err != nil {
		return v4, v6, fmt.Errorf("read DHT state: %w", err)
	}
	return v4, v6, nil
}

// writeState replaces a state file: after a crash it is the old or the new one.
func writeState(path string, v4, v6 saved) error {
	b, err := encodeState(v4, v6)
	if err == nil {
		err = renameio.WriteFile(path, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write DHT state: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write DHT state: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("write DHT state: sync directory: %w", err)
	}
	return nil
}
