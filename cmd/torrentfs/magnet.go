package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"torrentfs/cmd/torrentfs/internal/ui"
	"torrentfs/metainfo"
)

// magnetDescription is the object that info --json prints for a magnet link.
type magnetDescription struct {
	Name       string   `json:"name,omitempty"`
	InfoHashV1 string   `json:"info_hash_v1,omitempty"`
	InfoHashV2 string   `json:"info_hash_v2,omitempty"`
	Trackers   []string `json:"trackers,omitempty"`
	WebSeeds   []string `json:"web_seeds,omitempty"`
	Sources    []string `json:"sources,omitempty"` // of its .torrent
	Peers      []string `json:"peers,omitempty"`
}

func describeMagnet(m *metainfo.Magnet) magnetDescription {
	d := magnetDescription{Name: m.Name, Trackers: m.Trackers, WebSeeds: m.WebSeeds, Sources: m.Sources, Peers: m.Peers}
	if m.Hash.HasV1 {
		d.InfoHashV1 = hex.EncodeToString(m.Hash.V1[:])
	}
	if m.Hash.HasV2 {
		d.InfoHashV2 = hex.EncodeToString(m.Hash.V2[:])
	}
	return d
}

func printMagnet(w io.Writer, m *metainfo.Magnet) error {
	d := describeMagnet(m)
	var b strings.Builder
	row := func(name string, values ...string) {
		for _, v := range values {
			if v != "" {
				fmt.Fprintf(&b, "%-14s %s\n", name, ui.Printable(v))
			}
		}
	}
	row("name", d.Name)
	row("info-hash v1", d.InfoHashV1)
	row("info-hash v2", d.InfoHashV2)
	row("tracker", d.Trackers...)
	row("web seed", d.WebSeeds...)
	row("source", d.Sources...)
	row("peer", d.Peers...)
	_, err := io.WriteString(w, b.String())
	return err
}
