package vfs

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// plain hides the operating system's file, so that bytes are copied here.
type plain struct{ File }

func (plain) OS() *os.File { return nil }

func TestCopy(t *testing.T) {
	dir := t.TempDir()
	data := make([]byte, 3*copyBuffer+12345)
	rand.NewChaCha8([32]byte{3}).Read(data)
	if err := os.WriteFile(filepath.Join(dir, "src"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	fsys, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	src, err := fsys.OpenFile("src", os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	size := int64(len(data))
	for _, c := range []struct {
		to, from, n int64
		err         error
	}{
		{0, 0, size, nil},
		{4096, 8192, 2 * copyBuffer, nil},
		{7, 4097, copyBuffer + 1, nil},
		{0, size - 1, 1, nil},
		{0, 0, 0, nil},
		{0, size - 10, 11, io.ErrUnexpectedEOF},
		{0, size, 1, io.ErrUnexpectedEOF},
	} {
		for _, hidden := range []bool{false, true} {
			dst, err := fsys.OpenFile("dst", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			var to, from File = dst, src
			if hidden {
				to, from = plain{dst}, plain{src}
			}
			err = Copy(to, c.to, from, c.from, c.n)
			got, rerr := os.ReadFile(filepath.Join(dir, "dst"))
			if !errors.Is(err, c.err) || rerr != nil {
				t.Errorf("%+v, hidden %v: %v, %v", c, hidden, err, rerr)
			}
			if want := append(make([]byte, c.to), data[c.from:min(c.from+c.n, size)]...); c.err == nil && c.n > 0 && !bytes.Equal(got, want) {
				t.Errorf("%+v, hidden %v: wrong bytes", c, hidden)
			}
			if err := dst.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
