package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"torrentfs/metainfo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type content struct{ *bytes.Reader }

func (content) Close() error { return nil }

// makeTorrent writes files below dir and makes a torrent of them.
func makeTorrent(t interface {
	Helper()
	Fatal(...any)
}, dir string, v metainfo.Version, pieceLength int64, files map[string][]byte,
) *metainfo.MetaInfo {
	t.Helper()
	spec := metainfo.CreateSpec{Name: "set", Version: v, PieceLength: pieceLength}
	for name, data := range files {
		path := filepath.Join(dir, "set", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		spec.Files = append(spec.Files, metainfo.SourceFile{
			Path: strings.Split(name, "/"), Length: int64(len(data)),
			Open: func() (metainfo.Content, error) { return content{bytes.NewReader(data)}, nil },
		})
	}
	torrent, err := metainfo.Create(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	mi, err := metainfo.Parse(torrent, metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return mi
}

var versions = []metainfo.Version{metainfo.V1, metainfo.V2, metainfo.Hybrid}

// For all sizes, right data is right, and one wrong bit makes exactly the piece wrong that it lies
// in, and no file that it does not touch.
func TestOneWrongBit(t *testing.T) {
	base := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		dir := filepath.Join(base, fmt.Sprint(run))
		defer os.RemoveAll(dir) //nolint:errcheck // below a temporary directory
		version := rapid.SampledFrom(versions).Draw(t, "version")
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(16383, 16385), rapid.IntRange(0, 150_000)), 1, 5).Draw(t, "sizes")
		files, total := map[string][]byte{}, 0
		for i, n := range sizes {
			data := bytes.Repeat([]byte{byte(i + 1)}, n)
			for k := 0; k < n; k += 1000 {
				data[k] = byte(k / 1000)
			}
			files[fmt.Sprintf("d%d/f%d", i%2, i)] = data
			total += n
		}
		if total == 0 {
			t.Skip("no content")
		}
		mi := makeTorrent(t, dir, version, 32<<10, files)
		r, err := Data(context.Background(), mi, dir, Options{workers: 2})
		if err != nil || !r.OK() || r.Verified != int64(total) || r.Good != r.Pieces {
			t.Fatalf("right data: %+v, %v", r, err)
		}

		// Without piece layers, as a link has it, the roots tell.
		bare := *mi
		bare.PieceLayers = nil
		if r, err := Data(context.Background(), &bare, dir, Options{}); err != nil || !r.OK() || r.Verified != int64(total) {
			t.Fatalf("right data without layers: %+v, %v", r, err)
		}

		at := rapid.IntRange(0, total-1).Draw(t, "wrong byte")
		victim := flip(t, dir, mi.Info, int64(at))
		r, err = Data(context.Background(), &bare, dir, Options{})
		if err != nil || r.OK() {
			t.Fatalf("one wrong bit in %s without layers: %+v, %v", victim, r, err)
		}
		for _, f := range r.Files {
			if version != metainfo.V1 && (f.Path == victim) != errors.Is(f.Fault, ErrContent) {
				t.Fatalf("one wrong bit in %s without layers: %+v", victim, f)
			}
		}
		r, err = Data(context.Background(), mi, dir, Options{})
		if err != nil || r.OK() || r.Good != r.Pieces-1 {
			t.Fatalf("one wrong bit in %s: %+v, %v", victim, r, err)
		}
		for _, f := range r.Files {
			if f.Path == victim && !errors.Is(f.Fault, ErrContent) {
				t.Fatalf("%s has a wrong bit and no fault: %+v", victim, f)
			}
			if version != metainfo.V1 && f.Path != victim && f.Fault != nil {
				t.Fatalf("%s is right and has a fault: %v", f.Path, f.Fault)
			}
		}
	})
}

// flip changes a bit of the real file byte number at and returns the path.
func flip(t *rapid.T, dir string, info *metainfo.Info, at int64) string {
	for _, f := range info.Files {
		if f.Pad {
			continue
		}
		if at >= f.Length {
			at -= f.Length
			continue
		}
		name := filepath.Join(dir, filepath.FromSlash(f.Path))
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		data[at] ^= 0x40
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return f.Path
	}
	t.Fatal("no such byte")
	return ""
}

func TestFaults(t *testing.T) {
	files := map[string][]byte{
		"a": bytes.Repeat([]byte("a"), 40_000), "b": bytes.Repeat([]byte("b"), 40_000), "c": []byte("c"), "empty": {},
	}
	tests := []struct {
		name  string
		spoil func(dir string) error
		path  string
		want  error
	}{
		{"missing", func(d string) error { return os.Remove(filepath.Join(d, "b")) }, "set/b", ErrMissing},
		{"missing though empty", func(d string) error { return os.Remove(filepath.Join(d, "empty")) }, "set/empty", ErrMissing},
		{"too short", func(d string) error { return os.Truncate(filepath.Join(d, "b"), 39_999) }, "set/b", ErrLength},
		{"too long", func(d string) error { return os.Truncate(filepath.Join(d, "b"), 40_001) }, "set/b", ErrLength},
		{"a directory", func(d string) error {
			return errors.Join(os.Remove(filepath.Join(d, "c")), os.Mkdir(filepath.Join(d, "c"), 0o755))
		}, "set/c", ErrContent},
		{"holes", func(d string) error {
			return errors.Join(os.Truncate(filepath.Join(d, "a"), 0), os.Truncate(filepath.Join(d, "a"), 40_000))
		}, "set/a", ErrContent},
	}
	for _, v := range versions {
		for _, tt := range tests {
			t.Run(v.String()+" "+tt.name, func(t *testing.T) {
				dir := t.TempDir()
				mi := makeTorrent(t, dir, v, 0, files)
				if err := tt.spoil(filepath.Join(dir, "set")); err != nil {
					t.Fatal(err)
				}
				r, err := Data(context.Background(), mi, dir, Options{})
				if err != nil {
					t.Fatal(err)
				}
				if r.OK() {
					t.Error("the report says all is well")
				}
				for _, f := range r.Files {
					if f.Path == tt.path && !errors.Is(f.Fault, tt.want) {
						t.Errorf("%s: %v, want %v", f.Path, f.Fault, tt.want)
					}
				}
			})
		}
	}
}

// A link in the data directory leads nowhere outside of it.
func TestNoLinkOutside(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	data := bytes.Repeat([]byte("secret"), 10_000)
	mi := makeTorrent(t, dir, metainfo.V1, 0, map[string][]byte{"a": data})
	target := filepath.Join(outside, "a")
	if err := os.WriteFile(target, data, 0o644); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "set", "a")
	if err := errors.Join(os.Remove(name), os.Symlink(target, name)); err != nil {
		t.Fatal(err)
	}
	r, err := Data(context.Background(), mi, dir, Options{})
	if err != nil || r.OK() || r.Verified != 0 {
		t.Errorf("followed a link out of the data directory: %+v, %v", r, err)
	}
}

func TestProgressAndCancel(t *testing.T) {
	dir := t.TempDir()
	mi := makeTorrent(t, dir, metainfo.Hybrid, 16<<10, map[string][]byte{"a": make([]byte, 1<<20), "b": {1}})
	last := int64(0)
	r, err := Data(context.Background(), mi, dir, Options{Progress: func(done, total int64) {
		if done <= last || total != mi.Info.Size() {
			t.Errorf("progress went from %d to %d of %d", last, done, total)
		}
		last = done
	}})
	if err != nil || !r.OK() || last != mi.Info.Size() {
		t.Errorf("progress ended at %d of %d; %v", last, mi.Info.Size(), err)
	}

	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("enough")
	cancel(stop)
	if _, err := Data(ctx, mi, dir, Options{}); !errors.Is(err, stop) {
		t.Errorf("cancelled: %v, want %v", err, stop)
	}
	if _, err := Data(context.Background(), mi, filepath.Join(dir, "nowhere"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

var _ io.ReaderAt = content{}
