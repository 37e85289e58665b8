package fs

import (
	"context"
	"os"
	"strings"
	"testing"
)

// hintedFile records hints.
type hintedFile struct {
	ready bool
	hints [][2]int64
}

func (f *hintedFile) ReadAt(context.Context, []byte, int64) (int, error) { return 0, ErrUnavailable }
func (f *hintedFile) Close() error                                       { return nil }
func (f *hintedFile) Ready(int64, int) bool                              { return f.ready }
func (f *hintedFile) PrefetchUrgent(int64, int)                          {}
func (f *hintedFile) WillNeed(off int64, n int)                          { f.hints = append(f.hints, [2]int64{off, int64(n)}) }

type oneFile struct {
	entry Entry
	file  *hintedFile
}

func (s oneFile) Name() string           { return "one" }
func (s oneFile) ID() [20]byte           { return [20]byte{1} }
func (s oneFile) Entries() []Entry       { return []Entry{s.entry} }
func (s oneFile) Open(int) (File, error) { return s.file, nil }

// When a film's head is read, its end is prefetched, once; small files, other files, other places
// and what is here already cause nothing.
func TestMediaHint(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name  string
		size  int64
		off   int64
		ready bool
		want  [2]int64
	}{
		{"film.mkv", 1024 * mib, 0, false, [2]int64{1022 * mib, 2 * mib}},
		{"dir/FILM.MP4", 1024 * mib, 128 << 10, false, [2]int64{1022 * mib, 2 * mib}},
		{"short.mp4", 8 * mib, 0, false, [2]int64{8*mib - 64<<10, 64 << 10}},
		{"long.mkv", 100_000 * mib, 0, false, [2]int64{99_996 * mib, 4 * mib}},
		{"film.mkv", 1024 * mib, 512 * mib, false, [2]int64{}},
		{"film.mkv", 1024 * mib, 0, true, [2]int64{}},
		{"tiny.mp4", mib, 0, false, [2]int64{}},
		{"data.bin", 1024 * mib, 0, false, [2]int64{}},
		{"mkv", 1024 * mib, 0, false, [2]int64{}},
	} {
		file := &hintedFile{ready: c.ready}
		f, err := newFileSystem(oneFile{Entry{Path: c.name, Size: c.size}, file}, Options{}.withDefaults())
		if err != nil {
			t.Fatal(err)
		}
		i, _ := f.tree.lookup(f.tree.node(0), strings.Split(c.name, "/")[0])
		if strings.Contains(c.name, "/") {
			i, _ = f.tree.lookup(f.tree.node(i), strings.Split(c.name, "/")[1])
		}
		h := newHandle(f, makeNodeID(i, false), f.tree.node(i), file, nil)
		for range 3 {
			h.media.note(h, uint32(os.Getpid()), c.off)
		}
		switch {
		case c.want == [2]int64{} && len(file.hints) == 0:
		case len(file.hints) != 1 || file.hints[0] != c.want:
			t.Errorf("%s of %d bytes, read at %d: hints %v, want %v", c.name, c.size, c.off, file.hints, c.want)
		}
	}
}

// A program that copies the whole file comes to its end soon enough.
func TestWholeReadersAreNoPlayers(t *testing.T) {
	for _, c := range []struct {
		p    program
		want bool
	}{
		{program{comm: "cp"}, true},
		{program{comm: "coreutils", exe: "md5sum"}, true},
		{program{comm: "mpv", exe: "mpv"}, false},
		{program{}, false},
	} {
		if _, got := c.p.isAny(wholeReaders()); got != c.want {
			t.Errorf("%+v reads files whole: %v, want %v", c.p, got, c.want)
		}
	}
}
