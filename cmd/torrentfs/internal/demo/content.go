package demo

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

const (
	torrentName = "demo"
	largeFile   = "film.bin"
	// probeSize is what is read from the middle of the large file.
	probeSize = 64 << 10
)

// file is what a file of the demo must be.
type file struct {
	size int64
	sum  [sha256.Size]byte
}

// content is the data of the demo.
type content struct {
	total int64
	files map[string]file // by path below the torrent's directory
}

// makeContent writes about total bytes in the shapes that torrents have:
// one large file, a folder of middling ones, tiny ones, an empty one, and names
// in several scripts. The bytes are random, so that nothing compresses them.
func makeContent(dir string, total int64) (*content, error) {
	c := &content{files: map[string]file{}}
	now := uint64(time.Now().UnixNano())
	source := rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, now)))
	sizes := map[string]int64{
		largeFile:                total * 3 / 4,
		"README":                 173,
		"empty":                  0,
		"one byte":               1,
		"album/Größe – ☂ 傘.flac": total / 20,
	}
	const tracks = 24
	for i := range tracks {
		sizes[fmt.Sprintf("album/track %02d.flac", i+1)] = total/5/tracks - int64(i)*7
	}
	for name, size := range sizes {
		f, err := writeRandom(filepath.Join(dir, torrentName, filepath.FromSlash(name)), size, source)
		if err != nil {
			return nil, err
		}
		c.files[name] = f
		c.total += size
	}
	return c, nil
}

func writeRandom(name string, size int64, source io.Reader) (f file, err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return f, err
	}
	out, err := os.Create(name)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	h := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(out, h), 1<<20)
	if _, err := io.CopyN(w, source, size); err != nil {
		return f, fmt.Errorf("write %s: %w", name, err)
	}
	if err := w.Flush(); err != nil {
		return f, fmt.Errorf("write %s: %w", name, err)
	}
	return file{size, [sha256.Size]byte(h.Sum(nil))}, nil
}

// list checks that dir shows exactly the files, with their sizes.
func (c *content) list(dir string) error {
	seen := 0
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		f, ok := c.files[filepath.ToSlash(rel)]
		if !ok || st.Size() != f.size {
			return fmt.Errorf("the mount shows %s with %d bytes, which is not in the torrent", rel, st.Size())
		}
		seen++
		return nil
	})
	if err == nil && seen != len(c.files) {
		err = fmt.Errorf("the mount shows %d of %d files", seen, len(c.files))
	}
	return err
}

// compare reads every file below dir and compares its hash.
func (c *content) compare(dir string) error {
	buf := make([]byte, 1<<20)
	for name, want := range c.files {
		h := sha256.New()
		f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, buf)
		err = errors.Join(err, f.Close())
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if n != want.size || [sha256.Size]byte(h.Sum(nil)) != want.sum {
			return fmt.Errorf("%s differs: %d bytes read", name, n)
		}
	}
	return nil
}

// compareMiddle reads a little from the middle of the large file in both
// directories and compares it.
func (c *content) compareMiddle(dir, original string) (n int, err error) {
	off := c.files[largeFile].size / 2
	got, want := make([]byte, probeSize), make([]byte, probeSize)
	for _, r := range []struct {
		dir string
		buf []byte
	}{{dir, got}, {original, want}} {
		f, err := os.Open(filepath.Join(r.dir, largeFile))
		if err != nil {
			return 0, err
		}
		_, err = f.ReadAt(r.buf, off)
		if err = errors.Join(err, f.Close()); err != nil {
			return 0, fmt.Errorf("read %s at %d: %w", largeFile, off, err)
		}
	}
	if !bytes.Equal(got, want) {
		return 0, fmt.Errorf("%s differs at %d", largeFile, off)
	}
	return len(got), nil
}
