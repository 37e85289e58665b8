package metainfo

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"testing"
	"time"
)

func TestEncodeKeepsEverything(t *testing.T) {
	for _, version := range []Version{V1, V2, Hybrid} {
		data, err := Create(context.Background(), CreateSpec{
			Name: "set", Version: version, PieceLength: 32 << 10,
			Files:    []SourceFile{source("a", 160_000, new(atomic.Int32)), source("b", 1, new(atomic.Int32))},
			Trackers: [][]string{{"http://a.example/announce"}, {"udp://b.example:1", "udp://c.example:2"}},
			WebSeeds: []string{"http://w.example/"}, Nodes: []string{"router.example:6881", "[2001:db8::1]:7"},
			Comment: "c", CreatedBy: "test", Created: time.Unix(1_700_000_000, 0),
		})
		if err != nil {
			t.Fatal(err)
		}
		want, err := Parse(data, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		again, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(again, Limits{})
		if err != nil {
			t.Fatalf("parse what was encoded: %v", err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("version %v: got %+v, want %+v", version, got, want)
		}
		if !bytes.Equal(again, data) {
			t.Errorf("version %v: encoded differently than created", version)
		}
	}
}

// A torrent by a magnet link comes without piece layers; who says so may keep it.
func TestPartLayers(t *testing.T) {
	data, err := Create(context.Background(), CreateSpec{
		Name: "set", Version: V2, PieceLength: 32 << 10,
		Files: []SourceFile{source("a", 160_000, new(atomic.Int32))},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(data, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	m.PieceLayers = nil
	bare, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(bare, Limits{}); !errors.Is(err, ErrLayers) {
		t.Errorf("without layers: %v, want %v", err, ErrLayers)
	}
	if got, err := Parse(bare, Limits{PartLayers: true}); err != nil || got.Info.Hash != m.Info.Hash {
		t.Errorf("without layers, allowed: %v", err)
	}
}
