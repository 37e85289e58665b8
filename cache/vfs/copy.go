package vfs

import (
	"errors"
	"io"
)

// copyBuffer is how much is copied at a time where the system does not copy by itself.
const copyBuffer = 256 << 10

// Copy puts n bytes of src at from into dst at to. Where the file system can,
// the two then share their blocks on disk until either is written to; else the
// bytes are copied. It fails with [io.ErrUnexpectedEOF] where src ends before.
func Copy(dst File, to int64, src File, from, n int64) error {
	if d, s := dst.OS(), src.OS(); d != nil && s != nil {
		done, err := copyRange(d, to, s, from, n)
		if err == nil && done == n {
			return nil
		}
		if err == nil {
			return io.ErrUnexpectedEOF
		}
		to, from, n = to+done, from+done, n-done // errors that matter come again
	}
	buf := make([]byte, min(n, copyBuffer))
	for n > 0 {
		b := buf[:min(n, int64(len(buf)))]
		k, err := src.ReadAt(b, from)
		if k < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if _, err := dst.WriteAt(b, to); err != nil {
			return err
		}
		to, from, n = to+int64(k), from+int64(k), n-int64(k)
	}
	return nil
}
