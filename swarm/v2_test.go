package swarm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"path"
	"testing"
	"time"

	"torrentfs/metainfo"
)

type memContent struct{ *bytes.Reader }

func (memContent) Close() error { return nil }

// content makes a torrent of files of random bytes, and its piece space.
func content(t testing.TB, v metainfo.Version, pieceLength int64, sizes ...int64) (*metainfo.MetaInfo, []byte) {
	t.Helper()
	spec := metainfo.CreateSpec{Name: "content", Version: v, PieceLength: pieceLength, Workers: 1}
	bodies := map[string][]byte{}
	for i, size := range sizes {
		body := make([]byte, size)
		rand.NewChaCha8([32]byte{byte(i), byte(size), byte(size >> 8)}).Read(body)
		name := fmt.Sprintf("f%03d", i)
		bodies[name] = body
		spec.Files = append(spec.Files, metainfo.SourceFile{
			Path: []string{name}, Length: size,
			Open: func() (metainfo.Content, error) { return memContent{bytes.NewReader(body)}, nil },
		})
	}
	raw, err := metainfo.Create(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	mi, err := metainfo.Parse(raw, metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, mi.Info.Size())
	for i := range mi.Info.Files {
		f := &mi.Info.Files[i]
		if copy(data[f.Offset:], bodies[path.Base(f.Path)]) == 0 && f.Length > 0 && !f.Pad {
			t.Fatalf("no content for %q", f.Path)
		}
	}
	return mi, data
}

// boundarySizes are lengths of files around everything that has a length.
func boundarySizes(piece int64) []int64 {
	return []int64{0, 1, blockSize - 1, blockSize, blockSize + 1, piece - 1, piece, piece + 1, 3*piece + 5*blockSize/2, 2 * piece, 4096}
}

// Torrents of v2 and hybrids go from one session to another, whatever the
// lengths of their files; a reader gets the right bytes.
func TestV2DownloadOverLoopback(t *testing.T) {
	for _, v := range []metainfo.Version{metainfo.V2, metainfo.Hybrid} {
		for _, piece := range []int64{16 << 10, 32 << 10, 256 << 10, 1 << 20} {
			t.Run(fmt.Sprintf("%v/%d", v, piece), func(t *testing.T) {
				mi, data := content(t, v, piece, boundarySizes(piece)...)
				seeder, addr := host(t, Config{})
				add(t, seeder, TorrentConfig{Info: mi.Info, PieceLayers: mi.PieceLayers, Store: fullStore(mi.Info, data)})
				leecher, _ := host(t, Config{})
				store := newMemStore(mi.Info)
				tor := add(t, leecher, TorrentConfig{
					Info: mi.Info, PieceLayers: mi.PieceLayers, Store: store, Prefetch: true, Peers: []netip.AddrPort{addr},
				})
				r := tor.NewReader(nil)
				defer r.Close()
				for i := range mi.Info.Files {
					f := &mi.Info.Files[i]
					got := make([]byte, f.Length)
					if _, err := r.ReadAt(within(t, 20*time.Second), got, f.Offset); err != nil && err != io.EOF {
						t.Fatalf("read %s of %d bytes: %v", f.Path, f.Length, err)
					}
					if !bytes.Equal(got, data[f.Offset:f.Offset+f.Length]) {
						t.Errorf("%s of %d bytes: wrong bytes", f.Path, f.Length)
					}
				}
				select {
				case <-tor.Complete():
				case <-time.After(20 * time.Second):
					t.Fatalf("not complete: %+v", tor.Stats())
				}
				store.check(t, data)
			})
		}
	}
}
