package metainfo

import (
	"bytes"
	"context"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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

// Piece layers may be missing, of some files or of all: peers prove them. So it
// is in torrents that came by magnet links and were kept.
func TestPartOfTheLayers(t *testing.T) {
	for _, version := range []Version{V2, Hybrid} {
		data, err := Create(context.Background(), CreateSpec{
			Name: "set", Version: version, PieceLength: 32 << 10,
			Files: []SourceFile{source("a", 160_000, new(atomic.Int32)), source("b", 50_000, new(atomic.Int32)), source("c", 5, new(atomic.Int32))},
		})
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(data, Limits{})
		if err != nil || len(m.PieceLayers) != 2 {
			t.Fatalf("%d layers, %v", len(m.PieceLayers), err)
		}
		for len(m.PieceLayers) > 0 {
			for root := range m.PieceLayers {
				delete(m.PieceLayers, root)
				break
			}
			bare, err := m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse(bare, Limits{})
			if err != nil {
				t.Fatalf("%v with %d layers: %v", version, len(m.PieceLayers), err)
			}
			if d := cmp.Diff(m.PieceLayers, got.PieceLayers, cmpopts.EquateEmpty()); d != "" || got.Info.Hash != m.Info.Hash {
				t.Errorf("%v: %s", version, d)
			}
		}
	}
}
